//! Who may deploy: a public key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BYTES: usize = 32;
/// What comes before the key itself in an RFC 8410 `SubjectPublicKeyInfo`, as `openssl pkey -pubout` writes it.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An Ed25519 public key (RFC 8032) whose owner may deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployKey(pub [u8; BYTES]);

impl DeployKey {
    /// From base64 of the 32 bytes, or of the `SubjectPublicKeyInfo` around them: the one line between those of
    /// `openssl pkey -in deploy.pem -pubout`. None when it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim()).ok()?;
        let key = bytes.strip_prefix(&SPKI_PREFIX).unwrap_or(&bytes);
        key.try_into().ok().map(Self)
    }
}
