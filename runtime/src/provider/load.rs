//! Reading provider files: YAML maps from name to entry, one after the other, later ones in the place of earlier ones. Does
//! not fetch anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use serde_norway::Mapping;

use super::entry::{self, EntryError};
use super::{Catalogue, shipped};

/// Largest provider file, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("the provider file {path} cannot be read")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the provider file {path} has {bytes} bytes; at most {FILE_BYTES_MAX} are read")]
    TooLarge { path: String, bytes: u64 },
    #[error("the provider file {path} is no YAML map from provider name to entry")]
    Syntax {
        path: String,
        #[source]
        source: serde_norway::Error,
    },
    #[error("the provider file {path} names a provider {name}; a name is text of letters, digits, `-`, `_` and `.`")]
    Name { path: String, name: String },
    #[error("provider {provider:?} in {path} cannot be read as JSON")]
    NotJson {
        path: String,
        provider: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("provider {provider:?} in {path} must be a map")]
    NotAMap { path: String, provider: String },
    #[error("provider {provider:?} in {path}: `alias` names {alias}, which is not defined before it")]
    UnknownAlias {
        path: String,
        provider: String,
        alias: String,
    },
    #[error("provider {provider:?} in {path} is malformed")]
    Entry {
        path: String,
        provider: String,
        #[source]
        source: EntryError,
    },
}

impl Catalogue {
    /// The providers that ship with the binary, with those of `files` added or put in their place. Each is a file, or a
    /// folder whose `.yaml` and `.yml` files are read in the order of their names.
    ///
    /// An entry with `alias: other` starts as a copy of `other` as known so far, and its own keys replace those of the
    /// copy whole; `github: {alias: github, …}` thus changes a shipped provider.
    pub fn load(files: &[PathBuf]) -> Result<Self, CatalogueError> {
        let mut catalogue = Self::shipped()?;
        for path in files {
            for file in yaml_files(path)? {
                let text = read(&file)?;
                catalogue.add(&file.display().to_string(), &text)?;
            }
        }
        Ok(catalogue)
    }

    /// Only the providers that ship with the binary.
    pub fn shipped() -> Result<Self, CatalogueError> {
        let mut catalogue = Self::default();
        for (name, text) in shipped::FILES {
            catalogue.add(name, text)?;
        }
        Ok(catalogue)
    }

    fn add(&mut self, path: &str, text: &str) -> Result<(), CatalogueError> {
        let entries = parse(text).map_err(|source| CatalogueError::Syntax {
            path: path.to_owned(),
            source,
        })?;
        for (name, entry) in entries {
            let name = provider_name(path, &name)?;
            let json = serde_json::to_value(entry).map_err(|source| CatalogueError::NotJson {
                path: path.to_owned(),
                provider: name.clone(),
                source,
            })?;
            let json = self.resolve(path, &name, json)?;
            let provider = entry::provider(&name, json).map_err(|source| CatalogueError::Entry {
                path: path.to_owned(),
                provider: name.clone(),
                source,
            })?;
            self.providers.insert(name, Arc::new(provider));
        }
        Ok(())
    }

    /// Lays the entry over the one its alias names, if it has one.
    fn resolve(&self, path: &str, name: &str, json: Value) -> Result<Value, CatalogueError> {
        let Value::Object(mut own) = json else {
            return Err(CatalogueError::NotAMap {
                path: path.to_owned(),
                provider: name.to_owned(),
            });
        };
        let Some(alias) = own.remove("alias") else {
            return Ok(Value::Object(own));
        };
        let target = alias.as_str().and_then(|alias| self.get(alias));
        let Some(Value::Object(target)) = target.map(|target| &target.json) else {
            return Err(CatalogueError::UnknownAlias {
                path: path.to_owned(),
                provider: name.to_owned(),
                alias: alias.to_string(),
            });
        };
        let mut merged = target.clone();
        merged.append(&mut own);
        Ok(Value::Object(merged))
    }
}

/// The map, in the order of the file, with YAML's merge keys (`<<`) merged.
fn parse(text: &str) -> Result<Mapping, serde_norway::Error> {
    let mut value: serde_norway::Value = serde_norway::from_str(text)?;
    value.apply_merge()?;
    serde_norway::from_value(value)
}

fn provider_name(path: &str, name: &serde_norway::Value) -> Result<String, CatalogueError> {
    let is_name = |text: &&str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !text.is_empty() && text.bytes().all(allowed)
    };
    match name.as_str().filter(is_name) {
        Some(text) => Ok(text.to_owned()),
        None => Err(CatalogueError::Name {
            path: path.to_owned(),
            name: format!("{name:?}"),
        }),
    }
}

fn yaml_files(path: &Path) -> Result<Vec<PathBuf>, CatalogueError> {
    let failed = |source| CatalogueError::Read {
        path: path.display().to_string(),
        source,
    };
    if !path.metadata().map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for file in path.read_dir().map_err(failed)? {
        let file = file.map_err(failed)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(file);
        }
    }
    // `acme.yaml` before `acme-eu.yaml`, which may be an alias of it.
    files.sort_by(|a, b| (a.file_stem(), a).cmp(&(b.file_stem(), b)));
    Ok(files)
}

fn read(path: &Path) -> Result<String, CatalogueError> {
    let failed = |source| CatalogueError::Read {
        path: path.display().to_string(),
        source,
    };
    let bytes = path.metadata().map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(CatalogueError::TooLarge {
            path: path.display().to_string(),
            bytes,
        });
    }
    std::fs::read_to_string(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::AuthMode;

    fn catalogue(text: &str) -> Result<Catalogue, CatalogueError> {
        let mut catalogue = Catalogue::default();
        catalogue.add("test.yaml", text).map(|()| catalogue)
    }

    #[test]
    fn an_alias_is_a_shallow_copy_whose_own_keys_replace() {
        let text = "
acme:
  display_name: Acme
  auth_mode: OAUTH2
  scope_separator: ','
  proxy: {base_url: 'https://a.test', headers: {x: y}}
acme-eu: {alias: acme, display_name: Acme EU, proxy: {base_url: 'https://eu.a.test'}}
acme-eu-2: {alias: acme-eu, auth_mode: BASIC}
acme: {alias: acme, display_name: Acme again}
";
        // A duplicate key is a mistake in one file, so the last line belongs to another one.
        let (first, second) = text.split_at(text.rfind("acme: {").unwrap());
        let mut catalogue = catalogue(first).unwrap();
        catalogue.add("second.yaml", second).unwrap();
        let eu = catalogue.get("acme-eu").unwrap();
        let mut expected = json!({"name": "acme-eu", "display_name": "Acme EU", "auth_mode": "OAUTH2"});
        expected["scope_separator"] = json!(",");
        expected["proxy"] = json!({"base_url": "https://eu.a.test"});
        assert_eq!(eu.json, expected);
        assert!(eu.proxy.as_ref().unwrap().headers.is_empty());
        let chained = catalogue.get("acme-eu-2").unwrap();
        assert_eq!(
            (chained.auth_mode, chained.display_name.as_str()),
            (AuthMode::Basic, "Acme EU")
        );
        let changed = catalogue.get("acme").unwrap();
        assert_eq!(changed.display_name, "Acme again");
        assert_eq!(changed.proxy.as_ref().unwrap().headers["x"], "y");
    }

    #[test]
    fn mistakes_name_file_provider_and_key() {
        for (text, message) in [
            (
                "b: {alias: a}\na: {auth_mode: NONE}",
                "provider \"b\" in test.yaml: `alias` names \"a\", which is not defined before it",
            ),
            (
                "a: {auth_mode: NOPE}",
                "provider \"a\" in test.yaml is malformed: `auth_mode` is not as expected: unknown variant `NOPE`",
            ),
            ("a: 5", "provider \"a\" in test.yaml must be a map"),
            (
                "a: {auth_mode: NONE}\na: {auth_mode: NONE}",
                "the provider file test.yaml is no YAML map",
            ),
            ("- a", "the provider file test.yaml is no YAML map"),
            ("a b: {auth_mode: NONE}", "a name is text of letters, digits"),
        ] {
            let error = crate::provider::tests::chain(&catalogue(text).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn files_and_folders_are_laid_over_what_ships() {
        let folder = std::env::temp_dir().join(format!("nango-runtime-providers-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("2.yml"), "mine: {auth_mode: BASIC, display_name: Two}").unwrap();
        std::fs::write(
            folder.join("1.yaml"),
            "mine: {auth_mode: BASIC, display_name: One}\ngithub: {alias: github, display_name: G}",
        )
        .unwrap();
        std::fs::write(folder.join("readme.txt"), "no yaml: [").unwrap();
        let catalogue = Catalogue::load(std::slice::from_ref(&folder));
        let missing = Catalogue::load(&[folder.join("nope.yaml")]);
        std::fs::remove_dir_all(&folder).unwrap();
        let catalogue = catalogue.unwrap();
        assert_eq!(catalogue.get("mine").unwrap().display_name, "Two");
        let github = catalogue.get("github").unwrap();
        assert_eq!(
            (github.display_name.as_str(), github.auth_mode),
            ("G", AuthMode::OAuth2)
        );
        assert!(missing.unwrap_err().to_string().contains("nope.yaml cannot be read"));
    }
}
