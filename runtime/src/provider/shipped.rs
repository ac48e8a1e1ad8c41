//! The provider files that are part of the binary, `runtime/providers/*.yaml`, in the order they are read. Written from the
//! vendors' public documentation, to which each file links.

/// File names with their text.
pub(super) const FILES: &[(&str, &str)] = &[
    ("github.yaml", include_str!("../../providers/github.yaml")),
    (
        "private-api-basic.yaml",
        include_str!("../../providers/private-api-basic.yaml"),
    ),
    (
        "private-api-bearer.yaml",
        include_str!("../../providers/private-api-bearer.yaml"),
    ),
    (
        "private-api-generic.yaml",
        include_str!("../../providers/private-api-generic.yaml"),
    ),
    ("slack.yaml", include_str!("../../providers/slack.yaml")),
    (
        "unauthenticated.yaml",
        include_str!("../../providers/unauthenticated.yaml"),
    ),
];

#[cfg(test)]
mod tests {
    use super::super::template::UrlTemplate;
    use super::super::{AuthMode, Catalogue};
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_listed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let listed: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, listed);
    }

    #[test]
    fn what_ships_loads() {
        let catalogue = Catalogue::shipped().unwrap();
        let modes = [
            ("github", AuthMode::OAuth2),
            ("github-pat", AuthMode::ApiKey),
            ("private-api-basic", AuthMode::Basic),
            ("private-api-bearer", AuthMode::ApiKey),
            ("private-api-generic", AuthMode::ApiKey),
            ("slack", AuthMode::OAuth2),
            ("unauthenticated", AuthMode::None),
        ];
        let found: Vec<_> = catalogue
            .providers
            .values()
            .map(|p| (p.name.as_str(), p.auth_mode))
            .collect();
        assert_eq!(found, modes);
        for provider in catalogue.providers.values() {
            assert!(provider.json["categories"].is_array(), "{}", provider.name);
            assert!(
                provider.json["docs"]
                    .as_str()
                    .is_some_and(|docs| docs.starts_with("https://")),
                "{}",
                provider.name
            );
        }
        for name in ["github", "github-pat"] {
            let github = catalogue.get(name).unwrap().proxy.as_ref().unwrap();
            let base_url = github.base_url.as_ref().map(UrlTemplate::source);
            assert_eq!(base_url, Some("https://api.github.com"), "{name}");
            assert_eq!(
                github.retry.remaining.as_deref(),
                Some("x-ratelimit-remaining"),
                "{name}"
            );
            assert_eq!(github.header("authorization").is_some(), name == "github-pat");
            assert!(github.header("user-agent").is_some(), "{name}");
        }
    }
}
