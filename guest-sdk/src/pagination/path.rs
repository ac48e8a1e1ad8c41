//! Where in an answer something is: `data.items`, as catalogues of providers write it, or a JSON pointer.

/// The JSON pointers (RFC 6901) that a path may mean, in the order to try. The empty path is the whole body, one that begins with
/// `/` is a pointer already. `response_metadata.next_cursor` leads through objects, `pages[0].next` through lists; names that
/// themselves have a dot (`@odata.nextLink`) are tried last.
pub(super) fn pointers(path: &str) -> Vec<String> {
    if path.is_empty() || path.starts_with('/') {
        return vec![path.to_owned()];
    }
    let mut steps = String::new();
    for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
        push_step(&mut steps, step);
    }
    let mut literal = String::new();
    push_step(&mut literal, path);
    if steps == literal {
        vec![steps]
    } else {
        vec![steps, literal]
    }
}

fn push_step(pointer: &mut String, step: &str) {
    pointer.push('/');
    for letter in step.chars() {
        match letter {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            _ => pointer.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_pointers() {
        assert_eq!(pointers(""), [""]);
        assert_eq!(pointers("/a~1b/0"), ["/a~1b/0"]);
        assert_eq!(pointers("items"), ["/items"]);
        assert_eq!(pointers("a.b"), ["/a/b", "/a.b"]);
        assert_eq!(pointers("a[0].b"), ["/a/0/b", "/a[0].b"]);
        assert_eq!(pointers("@odata.nextLink"), ["/@odata/nextLink", "/@odata.nextLink"]);
        assert_eq!(pointers("a/b~c"), ["/a~1b~0c"]);
    }
}
