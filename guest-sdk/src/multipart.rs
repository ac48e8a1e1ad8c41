//! Bodies of type `multipart/form-data` (RFC 7578): fields and files in one request.

use std::fmt::Display;

/// Random bytes in a boundary: nobody can guess it, so that no file can hold it on purpose.
pub(crate) const BOUNDARY_BYTES: u32 = 16;

/// A form with fields and files, for [`Request::multipart`](crate::Request::multipart).
///
/// ```
/// # use nango_guest_sdk::prelude::*;
/// # use nango_guest_sdk::Multipart;
/// fn upload(nango: &Nango, png: Vec<u8>) -> Result<Value, Error> {
///     let form = Multipart::new().text("title", "A chart").file("file", "chart.png", "image/png", png);
///     nango.post("/files").multipart(form).send()?.json()
/// }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a form does nothing until it is part of a request"]
pub struct Multipart {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    name: String,
    file: Option<(String, String)>,
    content: Vec<u8>,
}

impl Multipart {
    /// A form without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    pub fn text(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.parts.push(Part {
            name: name.into(),
            file: None,
            content: value.to_string().into_bytes(),
        });
        self
    }

    /// Adds a file with its name and media type, as in `image/png`.
    pub fn file(
        mut self,
        name: impl Into<String>,
        file_name: impl Into<String>,
        content_type: impl Into<String>,
        content: impl Into<Vec<u8>>,
    ) -> Self {
        self.parts.push(Part {
            name: name.into(),
            file: Some((file_name.into(), content_type.into())),
            content: content.into(),
        });
        self
    }

    /// The body with these random bytes in its boundary, and its content type.
    pub(crate) fn write(self, random: &[u8]) -> (Vec<u8>, String) {
        let boundary: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let boundary = format!("nango-{boundary}");
        let mut body = Vec::with_capacity(self.parts.iter().map(|part| part.content.len() + 256).sum());
        for part in self.parts {
            let mut head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"",
                quotable(&part.name)
            );
            if let Some((file_name, content_type)) = part.file {
                // A line break would begin another header.
                let content_type: String = content_type.chars().filter(|letter| !letter.is_control()).collect();
                head.push_str(&format!(
                    "; filename=\"{}\"\r\nContent-Type: {content_type}",
                    quotable(&file_name)
                ));
            }
            head.push_str("\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(&part.content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        (body, format!("multipart/form-data; boundary={boundary}"))
    }
}

/// A name for within quotes, in UTF-8 with what would end it escaped as browsers do (WHATWG HTML, 4.10.21.8).
fn quotable(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_fields_and_files() {
        let (body, content_type) = Multipart::new()
            .text("count", 3)
            .file("file", "é \"x\"\r\n.bin", "application/octet-stream\r\nx: y", [0, 255])
            .write(&[1, 0xab]);
        assert_eq!(content_type, "multipart/form-data; boundary=nango-01ab");
        let mut expected =
            b"--nango-01ab\r\nContent-Disposition: form-data; name=\"count\"\r\n\r\n3\r\n--nango-01ab\r\n".to_vec();
        expected.extend_from_slice(
            "Content-Disposition: form-data; name=\"file\"; filename=\"é %22x%22%0D%0A.bin\"\r\n".as_bytes(),
        );
        expected.extend_from_slice(b"Content-Type: application/octet-streamx: y\r\n\r\n\x00\xff\r\n--nango-01ab--\r\n");
        assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(&expected));
        assert_eq!(body, expected);
    }

    #[test]
    fn an_empty_form_is_a_form() {
        assert_eq!(Multipart::new().write(&[0]).0, b"--nango-00--\r\n");
    }
}
