//! OAuth 1.0a signatures, and the spelling of queries that signatures are made over. Pure: time and nonce come in. The proxy signs
//! requests with it; requests for tokens are signed the same way, before there is a token.

pub(crate) mod oauth1;
pub(crate) mod query;
