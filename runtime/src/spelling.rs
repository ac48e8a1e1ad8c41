//! What a misspelt name was probably meant to be. Pure.

/// Letters that may differ at most.
const EDITS_MAX: usize = 2;

/// The name that is nearest to `given`, if that is near: at most two letters are missing, added or others, and no more than half of them.
/// Capitals and small letters are the same.
#[must_use]
pub fn nearest<'n>(given: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let given = given.to_ascii_lowercase();
    let measured = names.into_iter().map(|name| {
        let edits = edits(given.as_bytes(), name.to_ascii_lowercase().as_bytes());
        (edits, name)
    });
    let near = measured.filter(|(edits, name)| *edits <= EDITS_MAX.min(name.len() / 2));
    near.min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

/// Levenshtein's distance, in bytes.
#[must_use]
pub fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b) {
            let replaced = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let check = |a: &str, b: &str, expected| assert_eq!(edits(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        check("listen", "listen", 0);
        check("listen", "lisen", 1);
        check("listen", "listne", 2);
        check("", "abc", 3);
        check("kitten", "sitting", 3);
    }

    #[test]
    fn only_what_is_near_is_meant() {
        let names = ["token", "log", "requests:GET"];
        for (given, expected) in [
            ("tokne", Some("token")),
            ("Token", Some("token")),
            ("request:get", Some("requests:GET")),
            ("lug", Some("log")),
            ("foo", None),
            ("to", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, names), expected, "{given}");
        }
    }
}
