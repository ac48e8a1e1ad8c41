//! A text as it reads once encodings are undone that need no knowledge of a secret, with the way back to the original.

use std::borrow::Cow;
use std::collections::VecDeque;

/// Encodings undone one within the other.
const DEPTH_MAX: u32 = 3;
/// Views of one text at most; they double with each level only where the text is encoded in two ways at once.
const VIEWS_MAX: usize = 16;

/// A text, or what it decodes to.
pub(super) struct View<'t> {
    bytes: Cow<'t, [u8]>,
    /// For each byte where it comes from in the original, and at last the original's length. None where both are the same.
    origins: Option<Vec<usize>>,
    depth: u32,
}

impl<'t> View<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self {
            bytes: Cow::Borrowed(text.as_bytes()),
            origins: None,
            depth: 0,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The range of the original that `start..end` of this view comes from.
    pub(super) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        (self.origin(start), self.origin(end))
    }

    pub(super) fn whole(&self) -> (usize, usize) {
        self.original(0, self.bytes.len())
    }

    fn origin(&self, at: usize) -> usize {
        match &self.origins {
            None => at,
            // Behind the end is the end.
            Some(origins) => origins.get(at).or(origins.last()).copied().unwrap_or(at),
        }
    }

    /// Undoes an encoding once. `decode` gives what the bytes begin with and how many it takes, or none to keep a byte.
    fn decode(&self, decode: impl Fn(&[u8]) -> Option<(Decoded, usize)>) -> Option<View<'static>> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut origins = Vec::with_capacity(self.bytes.len() + 1);
        let mut at = 0;
        let mut changed = false;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (decoded, taken) = match decode(rest) {
                Some(decoded) => {
                    changed = true;
                    decoded
                }
                None => (Decoded::byte(rest.first().copied().unwrap_or_default()), 1),
            };
            for byte in decoded.as_slice() {
                bytes.push(*byte);
                origins.push(self.origin(at));
            }
            at += taken;
        }
        origins.push(self.origin(at));
        changed.then(|| View {
            bytes: Cow::Owned(bytes),
            origins: Some(origins),
            depth: self.depth + 1,
        })
    }

    /// This view with one more encoding undone, in each way that changes it.
    fn further(&self) -> impl Iterator<Item = View<'static>> {
        let has = |wanted: u8| self.bytes.contains(&wanted);
        let percent = if has(b'%') { self.decode(percent) } else { None };
        // In a query a plus is a blank, elsewhere it is a plus.
        let form = if has(b'+') { self.decode(form) } else { None };
        let json = if has(b'\\') { self.decode(json) } else { None };
        [percent, form, json].into_iter().flatten()
    }
}

/// All views of a text but the text itself.
pub(super) fn decoded(text: &str) -> Vec<View<'static>> {
    let mut views = Vec::new();
    let mut open: VecDeque<View<'static>> = View::of(text).further().collect();
    while let Some(view) = open.pop_front() {
        if views.len() == VIEWS_MAX {
            break;
        }
        if view.depth < DEPTH_MAX {
            open.extend(view.further());
        }
        views.push(view);
    }
    views
}

/// Up to one character in UTF-8.
struct Decoded {
    bytes: [u8; 4],
    length: usize,
}

impl Decoded {
    fn byte(byte: u8) -> Self {
        Self {
            bytes: [byte, 0, 0, 0],
            length: 1,
        }
    }

    fn char(c: char) -> Self {
        let mut bytes = [0; 4];
        let length = c.encode_utf8(&mut bytes).len();
        Self { bytes, length }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// `%2F`, hex in either case.
fn percent(text: &[u8]) -> Option<(Decoded, usize)> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let byte = nibble(*high)? << 4 | nibble(*low)?;
    Some((Decoded::byte(byte), 3))
}

/// Percent-encoding as forms have it, where a plus is a blank.
fn form(text: &[u8]) -> Option<(Decoded, usize)> {
    match text {
        [b'+', ..] => Some((Decoded::byte(b' '), 1)),
        _ => percent(text),
    }
}

/// RFC 8259 §7: the escapes within a string.
fn json(text: &[u8]) -> Option<(Decoded, usize)> {
    let [b'\\', escaped, ..] = text else {
        return None;
    };
    let byte = match escaped {
        b'"' | b'\\' | b'/' => *escaped,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return unicode(text),
        _ => return None,
    };
    Some((Decoded::byte(byte), 2))
}

/// `\u00e9`, or two of them for what is beyond U+FFFF.
fn unicode(text: &[u8]) -> Option<(Decoded, usize)> {
    let unit = |from: usize| {
        let [b'\\', b'u', digits @ ..] = text.get(from..from + 6)? else {
            return None;
        };
        digits
            .iter()
            .try_fold(0_u16, |unit, digit| Some(unit << 4 | u16::from(nibble(*digit)?)))
    };
    let first = unit(0)?;
    if let Some(c) = char::from_u32(first.into()) {
        return Some((Decoded::char(c), 6));
    }
    let pair = [first, unit(6)?];
    let c = char::decode_utf16(pair).next()?.ok()?;
    Some((Decoded::char(c), 12))
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
