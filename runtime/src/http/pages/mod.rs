//! The pages that people see: the connect page, and what the popup of an authorisation ends with. They are assembled of files
//! that are part of the binary, without a template engine: what changes from answer to answer is text, and all of it is escaped.

mod connect;
mod document;
mod explanation;
mod outcome;

pub use connect::connect;
pub use outcome::{Connected, Failed, connected, failed};
