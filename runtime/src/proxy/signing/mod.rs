//! Signatures over a whole request that only the proxy makes: NetSuite's variant of OAuth 1.0a. Pure: time and nonce come in. A
//! signature is made last, over what is really sent, and anew for every attempt.

pub(super) mod tba;
