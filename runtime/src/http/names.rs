//! Which names the API accepts. The character sets are those of Nango, so that every name valid there is valid here.

/// Characters a name may have at most.
const NAME_CHARS_MAX: usize = 255;

/// Is this a provider-config-key: `[a-zA-Z0-9~:.@ _-]+`?
pub fn is_provider_config_key(name: &str) -> bool {
    is_name(name, |byte| byte.is_ascii_alphanumeric() || b"~:.@ _-".contains(&byte))
}

/// Is this a connection-id: ``[a-zA-Z0-9,.;:=+~[]|@${}"'\/_ -]+``?
pub fn is_connection_id(name: &str) -> bool {
    is_name(name, |byte| {
        byte.is_ascii_alphanumeric() || br#",.;:=+~[]|@${}"'\/_ -"#.contains(&byte)
    })
}

/// Is this the name of a function or of a variant: `[a-zA-Z0-9_-]+`?
pub fn is_function_name(name: &str) -> bool {
    is_name(name, |byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Is this the name of a model: `[A-Z][a-zA-Z0-9_-]+`?
pub fn is_model(name: &str) -> bool {
    name.len() > 1 && name.starts_with(|first: char| first.is_ascii_uppercase()) && is_function_name(name)
}

fn is_name(name: &str, allowed: impl Fn(u8) -> bool) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn character_sets() {
        assert!(is_provider_config_key("github-prod:2 (eu)".trim_end_matches(" (eu)")));
        assert!(!is_provider_config_key("a/b"));
        assert!(!is_provider_config_key(""));
        assert!(!is_provider_config_key(&"a".repeat(256)));
        assert!(is_connection_id(r#"a,b;c[0]{"x"}\/'$|"#));
        assert!(!is_connection_id("a<b"));
        assert!(!is_connection_id("ä"));
        assert!(is_function_name("create-issue_2"));
        assert!(!is_function_name("a::b"));
        assert!(is_model("GithubIssue"));
        assert!(!is_model("issue"));
        assert!(!is_model("I"));
    }
}
