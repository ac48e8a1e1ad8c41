//! OAuth 1.0a signatures, those of AWS (Signature Version 4), and the spelling of queries that signatures are made over. Pure: time
//! and nonce come in. The proxy signs requests with them; requests for tokens are signed the same way, before there is a token.

pub(crate) mod aws_sigv4;
pub(crate) mod oauth1;
pub(crate) mod query;
pub(crate) mod rsa_sha1;
