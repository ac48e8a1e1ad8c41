//! Signatures over a whole request: OAuth 1.0a, NetSuite's variant of it, and AWS Signature Version 4. Pure: time and nonce
//! come in. A signature is made last, over what is really sent, and anew for every attempt.

pub(super) mod aws_sigv4;
pub(super) mod oauth1;
pub(super) mod query;
pub(super) mod tba;
