//! Bodies and options of requests.

use nango_guest_sdk::prelude::*;
use nango_guest_sdk::{Multipart, Request};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    Bytes(Vec<u8>),
    Form(Vec<(String, String)>),
    Multipart(Vec<Part>),
    /// A query string.
    Query(String),
    /// A list in the query.
    List(Vec<u32>),
}

#[derive(Deserialize, JsonSchema)]
pub struct Part {
    name: String,
    content: String,
    /// File name and content type; none for a field.
    file: Option<(String, String)>,
}

impl Body {
    fn put_into(self, request: Request) -> Request {
        match self {
            Self::Bytes(bytes) => request.header("content-type", "application/octet-stream").body(bytes),
            Self::Form(pairs) => request.form(pairs),
            Self::Multipart(parts) => {
                request.multipart(parts.into_iter().fold(Multipart::new(), |form, part| match part.file {
                    None => form.text(part.name, part.content),
                    Some((name, content_type)) => form.file(part.name, name, content_type, part.content),
                }))
            }
            Self::Query(query) => request.query_string(&query),
            Self::List(numbers) => {
                let each = numbers
                    .iter()
                    .fold(request, |request, number| request.query("each", number));
                each.query_list("joined", &numbers)
            }
        }
    }
}

/// Posts a body to `/post` and gives the answer.
#[action]
pub fn send_body(nango: &Nango, input: Body) -> Result<Value, ActionError> {
    Ok(input.put_into(nango.post("/post")).send()?.json()?)
}

#[derive(Deserialize, JsonSchema)]
pub struct Transfer {
    path: String,
    decompress: Option<bool>,
    forward_headers: Option<bool>,
    accept_encoding: Option<String>,
    /// A JSON pointer; only what is there is read.
    pointer: Option<String>,
}

/// Gets a path with options and gives status, content encoding and the first bytes, or what is at the pointer.
#[action]
pub fn transfer(nango: &Nango, input: Transfer) -> Result<Value, ActionError> {
    let mut request = nango.get(input.path);
    if let Some(decompress) = input.decompress {
        request = request.decompress(decompress);
    }
    if let Some(forward) = input.forward_headers {
        request = request.forward_headers_on_redirect(forward);
    }
    if let Some(encoding) = input.accept_encoding {
        request = request.header("accept-encoding", encoding);
    }
    let answer = request.send_any()?;
    if let Some(pointer) = input.pointer {
        return Ok(answer.json_at(&pointer)?);
    }
    let begin: Vec<u8> = answer.bytes().into_iter().take(2).collect();
    Ok(json!({"status": answer.status(), "encoding": answer.header("content-encoding"), "begin": begin}))
}
