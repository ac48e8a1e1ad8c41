//! Keys in text form (RFC 7468), as people paste them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Secret;

/// The bytes of all blocks with that label, in their order; none when one of them is no base64. As forgiving as [`pem_der`].
pub(super) fn pem_blocks(pem: &str, label: &str) -> Option<Vec<Vec<u8>>> {
    let unescaped = Secret::new(pem.replace("\\n", "\n"));
    let begin = format!("-----BEGIN {label}-----");
    let blocks = unescaped.expose().split(begin.as_str()).skip(1);
    blocks
        .map(|block| {
            let body = block.split_once("-----END ")?.0;
            let packed: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            STANDARD.decode(packed).ok()
        })
        .collect()
}

/// The first certificate of a PEM text, as DER; none when there is none.
#[must_use]
pub fn pem_certificate(pem: &str) -> Option<Vec<u8>> {
    pem_blocks(pem, "CERTIFICATE")?.into_iter().next()
}

/// The bytes of the first block of a PEM text; none when there is no block. Line ends that were lost, or are written as `\n`,
/// do not matter.
#[must_use]
pub fn pem_der(pem: &str) -> Option<Secret<Vec<u8>>> {
    let unescaped = Secret::new(pem.replace("\\n", "\n"));
    let begun = unescaped.expose().split_once("-----BEGIN ")?.1;
    let body = begun.split_once("-----")?.1;
    let body = body.split_once("-----END ")?.0;
    let packed: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(Secret::new(packed).expose()).ok().map(Secret::new)
}
