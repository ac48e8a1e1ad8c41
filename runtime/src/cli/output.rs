//! What commands print: JSON for machines, tables and sentences for people. Data goes to standard output, everything else
//! to standard error.

use std::io::{self, Write as _};

use serde_json::Value;

/// Characters of one cell; what is longer is cut.
const CELL_CHARS_MAX: usize = 80;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// The answer as JSON with `--json`, else as `human` makes it.
    pub fn show(self, answer: &Value, human: impl FnOnce(&Value) -> String) -> io::Result<()> {
        if self.json {
            print_json(answer)
        } else {
            print(&human(answer))
        }
    }

    /// Tells people how to get the page after `answer`, if there is one.
    pub fn note_next_page(self, answer: &Value) {
        let cursor = text_at(answer, "/next_cursor");
        if !cursor.is_empty() {
            self.note(&format!("there is more; the next page: --cursor {cursor}"));
        }
    }

    /// A remark for people; machines need none.
    pub fn note(self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }
}

/// Indented JSON to standard output.
pub fn print_json(value: &Value) -> io::Result<()> {
    print(&format!("{value:#}"))
}

pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Rows under a heading, columns aligned. `none` is shown when there are no rows.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]], none: &str) -> String {
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let lines: Vec<[String; N]> = std::iter::once(heading.map(str::to_uppercase))
        .chain(rows.iter().map(|row| row.clone().map(|text| cell(&text))))
        .collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let width = |line: &[String; N]| line.get(column).map_or(0, |text| text.chars().count());
        lines.iter().map(width).max().unwrap_or(0)
    });
    let mut out = String::new();
    for line in &lines {
        let padded: Vec<String> = line
            .iter()
            .zip(widths)
            .map(|(text, width)| format!("{text:width$}"))
            .collect();
        out.push_str(padded.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Names and values, one pair a line; those without a value are left out.
pub fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let shown = pairs.iter().filter(|(_, value)| !value.is_empty());
    shown
        .map(|(name, value)| format!("{name:width$}  {}\n", printable(value)))
        .collect()
}

/// A value at an RFC 6901 pointer as a person would write it; empty when it is not there.
pub fn text_at(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The array at a pointer; empty when it is not there.
pub fn list_at<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn cell(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= CELL_CHARS_MAX {
        return text;
    }
    let mut cut: String = text.chars().take(CELL_CHARS_MAX - 1).collect();
    cut.push('…');
    cut
}

/// Without control characters: names and records come from others, and a terminal would obey escape sequences in them.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let rows = [["github", "oct", ""], ["g", "zoë-1", "x"]].map(|row| row.map(str::to_owned));
        let expected = "INTEGRATION  ID     X\ngithub       oct\ng            zoë-1  x\n";
        assert_eq!(table(["integration", "id", "x"], &rows, "none"), expected);
        assert_eq!(table(["a"], &[], "No integrations"), "No integrations\n");
    }

    #[test]
    fn cells_are_cut_and_cannot_steer_the_terminal() {
        assert_eq!(cell("a\u{1b}[31mb\nc"), "a [31mb c");
        assert_eq!(cell(&"x".repeat(200)).chars().count(), CELL_CHARS_MAX);
    }

    #[test]
    fn fields_without_value_are_left_out() {
        assert_eq!(fields(&[("key", "a".into()), ("empty", String::new())]), "key    a\n");
    }

    #[test]
    fn values_at_pointers() {
        let value = json!({"a": {"b": "x", "n": 3, "null": null}, "list": [1]});
        let check = |pointer, expected| assert_eq!(text_at(&value, pointer), expected);
        check("/a/b", "x");
        check("/a/n", "3");
        check("/a/null", "");
        check("/nothing", "");
        assert_eq!(list_at(&value, "/list").len(), 1);
        assert!(list_at(&value, "/a").is_empty());
    }
}
