//! The two signatures of a body, as `@nangohq/node` checks them. Pure.

use std::fmt::Write as _;

use ring::{digest, hmac};

/// For the header `X-Nango-Hmac-Sha256`: HMAC-SHA256 of the body, in hex. `verifyIncomingWebhookRequest` checks it.
pub(super) fn hmac_sha256(key: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    hex(hmac::sign(&key, body.as_bytes()).as_ref())
}

/// For the header `X-Nango-Signature`: SHA-256 of the key and the body, in hex. Deprecated by Nango and open to length extension;
/// `verifyWebhookSignature` of older clients checks it. (Nango compatibility.)
pub(super) fn plain_sha256(key: &str, body: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(key.as_bytes());
    context.update(body.as_bytes());
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_standards() {
        // RFC 4231, test case 2.
        let (key, body) = ("Jefe", "what do ya want for nothing?");
        assert_eq!(
            hmac_sha256(key, body),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        // FIPS 180-2, "abc".
        assert_eq!(
            plain_sha256("a", "bc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
