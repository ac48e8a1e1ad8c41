//! The pages that people see: what the popup of an authorisation ends with, and the connect page. They are assembled here of files that are part of
//! the binary, without a template engine: what changes from answer to answer is text, and all of it is escaped.

mod document;
mod explanation;
mod outcome;

pub use outcome::{Connected, Failed, connected, failed};
