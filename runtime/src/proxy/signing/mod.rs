//! Signatures over a whole request: NetSuite's variant of OAuth 1.0a, and AWS Signature Version 4. Pure: time and nonce come in. A
//! signature is made last, over what is really sent, and anew for every attempt.

pub(super) mod aws_sigv4;
pub(super) mod tba;
