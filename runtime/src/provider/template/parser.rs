//! From a template's text to its parts.

use super::{DEPTH_MAX, Function, Now, Part, Parts, TemplateError, malformed};

/// Where a run of parts ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The end of the template; `||` divides alternatives.
    Template,
    /// `)}`: the end of a function's arguments; `||` is plain text.
    Arguments,
}

struct Parser<'a> {
    source: &'a str,
    rest: &'a str,
}

pub(super) fn alternatives(source: &str) -> Result<Box<[Parts]>, TemplateError> {
    if !source.contains("${") {
        let text = (!source.is_empty()).then(|| Part::Text(source.into()));
        let parts: Parts = text.into_iter().collect();
        return Ok(Box::new([parts]));
    }
    let mut parser = Parser { source, rest: source };
    let mut alternatives = vec![parser.parts(End::Template, 0)?];
    while let Some(rest) = parser.rest.strip_prefix("||") {
        parser.rest = rest;
        alternatives.push(parser.parts(End::Template, 0)?);
    }
    if alternatives.len() > 1 {
        alternatives.iter_mut().for_each(trim);
    }
    Ok(alternatives.into_iter().map(Parts::from).collect())
}

impl<'a> Parser<'a> {
    /// Parts up to `end`, or up to `||` where that divides; leaves `||` in place and eats `)}`.
    fn parts(&mut self, end: End, depth: usize) -> Result<Vec<Part>, TemplateError> {
        if depth > DEPTH_MAX {
            return Err(malformed(self.source, "its placeholders are nested too deep"));
        }
        let stop = match end {
            End::Template => "||",
            End::Arguments => ")}",
        };
        let mut parts = Vec::new();
        loop {
            let placeholder_at = self.rest.find("${").unwrap_or(self.rest.len());
            let stop_at = self.rest.find(stop).unwrap_or(self.rest.len());
            let text = self.take(placeholder_at.min(stop_at));
            if !text.is_empty() {
                parts.push(Part::Text(text.into()));
            }
            if let Some(rest) = self.rest.strip_prefix("${") {
                self.rest = rest;
                parts.push(self.placeholder(depth)?);
                continue;
            }
            if end == End::Arguments {
                match self.rest.strip_prefix(stop) {
                    Some(rest) => self.rest = rest,
                    None => return Err(malformed(self.source, "a function's `(` has no `)}`")),
                }
            }
            return Ok(parts);
        }
    }

    /// What follows `${`, with its `}`.
    fn placeholder(&mut self, depth: usize) -> Result<Part, TemplateError> {
        let is_letter = |c: char| c.is_ascii_alphanumeric();
        let word_len = self.rest.find(|c: char| !is_letter(c)).unwrap_or(self.rest.len());
        if self.rest.get(word_len..).is_some_and(|after| after.starts_with('(')) {
            let word = self.take(word_len);
            self.take(1);
            let Some(function) = Function::named(word) else {
                return Err(malformed(self.source, "it calls a function that does not exist"));
            };
            let inner = self.parts(End::Arguments, depth + 1)?;
            return self.call(function, inner);
        }
        let Some(name_len) = self.rest.find('}') else {
            return Err(malformed(self.source, "a `${` has no `}`"));
        };
        let name = self.take(name_len).trim();
        self.take(1);
        if name.is_empty() {
            return Err(malformed(self.source, "a `${}` names nothing"));
        }
        if name.contains("${") || name.contains('|') {
            return Err(malformed(self.source, "a name holds `${` or `|`; write `${a} || ${b}`"));
        }
        if name == "random" {
            return Ok(Part::Random);
        }
        let moment = name.strip_prefix("now");
        if let Some(after) = moment.filter(|after| after.is_empty() || after.starts_with([':', '+', '-'])) {
            let now = Now::parse(after).map_err(|reason| malformed(self.source, reason))?;
            return Ok(Part::Now(now));
        }
        Ok(Part::Name(name.into()))
    }

    /// Arguments are divided by the commas of the template's own text, never by those of values.
    fn call(&self, function: Function, inner: Vec<Part>) -> Result<Part, TemplateError> {
        let arguments = match function {
            Function::Base64 | Function::Fingerprint | Function::Sha256Base64 | Function::Sha256Hex => vec![inner],
            Function::Ed25519Sign | Function::HmacSha1Hex => {
                let Some((message, mut key)) = split_at_last_comma(inner) else {
                    return Err(malformed(
                        self.source,
                        "it gives a function one argument that takes two, divided by a comma",
                    ));
                };
                trim(&mut key);
                vec![message, key]
            }
            Function::AwsSigV4 => {
                let mut arguments = split_at_commas(inner);
                arguments.iter_mut().for_each(trim);
                if !(4..=5).contains(&arguments.len()) {
                    return Err(malformed(
                        self.source,
                        "`awsSigV4` takes access key, secret key, region, service and, if it is not the request's, host",
                    ));
                }
                arguments
            }
        };
        Ok(Part::Call(function, arguments.into_iter().map(Parts::from).collect()))
    }

    /// The next `len` bytes. `len` comes from a search in `rest`, so it is within it and on a boundary.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

fn split_at_commas(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let mut arguments = vec![Vec::new()];
    for part in parts {
        let Part::Text(text) = &part else {
            if let Some(argument) = arguments.last_mut() {
                argument.push(part);
            }
            continue;
        };
        for (index, piece) in text.split(',').enumerate() {
            if index > 0 {
                arguments.push(Vec::new());
            }
            if let Some(argument) = arguments.last_mut().filter(|_| !piece.is_empty()) {
                argument.push(Part::Text(piece.into()));
            }
        }
    }
    arguments
}

fn split_at_last_comma(mut parts: Vec<Part>) -> Option<(Vec<Part>, Vec<Part>)> {
    let holds_comma = |part: &Part| matches!(part, Part::Text(text) if text.contains(','));
    let at = parts.iter().rposition(holds_comma)?;
    let mut after = parts.split_off(at);
    let Part::Text(text) = after.remove(0) else {
        return None;
    };
    let (end, begin) = text.rsplit_once(',')?;
    if !end.is_empty() {
        parts.push(Part::Text(end.into()));
    }
    if !begin.is_empty() {
        after.insert(0, Part::Text(begin.into()));
    }
    Some((parts, after))
}

/// `X || Y` and `f(x, y)` are written with spaces that belong to neither.
fn trim(parts: &mut Vec<Part>) {
    if let Some(Part::Text(text)) = parts.first_mut() {
        *text = text.trim_start().into();
    }
    if let Some(Part::Text(text)) = parts.last_mut() {
        *text = text.trim_end().into();
    }
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
}
