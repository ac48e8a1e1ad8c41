//! Reading provider files: YAML maps from name to entry, one after the other, later ones in the place of earlier ones. Does
//! not fetch anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use serde_norway::Mapping;

use super::entry::{self, EntryError};
use super::{Catalogue, shipped};
use crate::model::JsonObject;

/// Largest provider file, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Aliases of aliases, at most.
const ALIAS_DEPTH_MAX: usize = 8;

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
    #[error("provider {provider:?} in {path}: `alias` names {alias}, which is not defined")]
    UnknownAlias {
        path: String,
        provider: String,
        alias: String,
    },
    #[error("provider {provider:?} in {path}: its aliases go round in a circle, or more than {ALIAS_DEPTH_MAX} deep")]
    AliasDepth { path: String, provider: String },
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
    /// An entry with `alias: other` starts as a copy of `other`, of the same file wherever it stands there, else as known so
    /// far, and its own keys replace those of the copy whole; `github: {alias: github, …}` thus changes a shipped provider.
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
        let mut own = Map::new();
        for (name, entry) in entries {
            let name = provider_name(path, &name)?;
            let entry = ordered(entry);
            let json = serde_json::to_value(entry).map_err(|source| CatalogueError::NotJson {
                path: path.to_owned(),
                provider: name.clone(),
                source,
            })?;
            own.insert(name, json);
        }
        let mut added = Vec::with_capacity(own.len());
        for name in own.keys() {
            let mut json = self.resolve(path, &own, name, 0)?;
            if json.get("body_format").and_then(Value::as_str) != Some("xml") {
                json.retain(|key, _| !key.ends_with("token_params_order"));
            }
            let provider = entry::provider(name, Value::Object(json)).map_err(|source| CatalogueError::Entry {
                path: path.to_owned(),
                provider: name.clone(),
                source,
            })?;
            added.push((name.clone(), Arc::new(provider)));
        }
        self.providers.extend(added);
        Ok(())
    }

    /// An entry of the file laid over the one its alias names, if it has one: another of the file, or one known before.
    fn resolve(&self, path: &str, own: &JsonObject, name: &str, depth: usize) -> Result<JsonObject, CatalogueError> {
        let Some(Value::Object(entry)) = own.get(name) else {
            return Err(CatalogueError::NotAMap {
                path: path.to_owned(),
                provider: name.to_owned(),
            });
        };
        let mut entry = entry.clone();
        let Some(alias) = entry.remove("alias") else {
            return Ok(entry);
        };
        let target = alias.as_str().unwrap_or_default();
        let known = self.get(target).and_then(|target| target.json.as_object());
        let mut merged = if own.contains_key(target) && target != name {
            if depth == ALIAS_DEPTH_MAX {
                return Err(CatalogueError::AliasDepth {
                    path: path.to_owned(),
                    provider: name.to_owned(),
                });
            }
            self.resolve(path, own, target, depth + 1)?
        } else if let Some(known) = known {
            known.clone()
        } else {
            return Err(CatalogueError::UnknownAlias {
                path: path.to_owned(),
                provider: name.to_owned(),
                alias: alias.to_string(),
            });
        };
        merged.append(&mut entry);
        Ok(merged)
    }
}

/// The map, in the order of the file, with YAML's merge keys (`<<`) merged.
fn parse(text: &str) -> Result<Mapping, serde_norway::Error> {
    let mut value: serde_norway::Value = serde_norway::from_str(text)?;
    value.apply_merge()?;
    serde_norway::from_value(value)
}

/// An entry with the order of its parameters, as paths `a/b/c`: it is lost in JSON.
fn ordered(mut entry: serde_norway::Value) -> serde_norway::Value {
    let Some(map) = entry.as_mapping_mut() else {
        return entry;
    };
    for key in ["token_params", "refresh_token_params"] {
        let mut paths = Vec::new();
        if let Some(parameters) = map.get(key) {
            paths_of(parameters, "", &mut paths);
        }
        let order = format!("{key}_order");
        // One that somebody wrote counts: JSON has no order.
        if !paths.is_empty() && !map.contains_key(order.as_str()) {
            map.insert(order.into(), paths.into());
        }
    }
    if let Some(steps) = map
        .get_mut("additional_steps")
        .and_then(|steps| steps.as_sequence_mut())
    {
        for step in steps {
            if step.get("body_format").and_then(|format| format.as_str()) == Some("xml") {
                *step = ordered(std::mem::take(step));
            }
        }
    }
    entry
}

fn paths_of(value: &serde_norway::Value, before: &str, paths: &mut Vec<serde_norway::Value>) {
    for (name, value) in value.as_mapping().into_iter().flatten() {
        let path = format!("{before}{}", name.as_str().unwrap_or_default());
        paths_of(value, &format!("{path}/"), paths);
        paths.push(path.into());
    }
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
        catalogue
            .add("third.yaml", "z-early: {alias: z-late}\nz-late: {auth_mode: BASIC}")
            .unwrap();
        assert_eq!(catalogue.get("z-early").unwrap().auth_mode, AuthMode::Basic);
        let changed = catalogue.get("acme").unwrap();
        assert_eq!(changed.display_name, "Acme again");
        assert_eq!(
            changed.proxy.as_ref().unwrap().header("x").unwrap().template.source(),
            "y"
        );
    }

    #[test]
    fn what_is_written_as_xml_keeps_its_order() {
        let text = "
acme: {auth_mode: TWO_STEP, body_format: xml, token_params: {z: {b: 1, a: {d: 1, c: 1}}}}
acme-eu: {alias: acme}
acme-json: {alias: acme, body_format: json}
acme-two: {alias: acme, token_params: {y: {x: 1}}}
";
        let catalogue = catalogue(text).unwrap();
        let order = |name: &str| catalogue.get(name).unwrap().json["token_params_order"].clone();
        for name in ["acme", "acme-eu"] {
            assert_eq!(order(name), json!(["z/b", "z/a/d", "z/a/c", "z/a", "z"]), "{name}");
        }
        assert_eq!(order("acme-json"), json!(null));
        assert_eq!(order("acme-two"), json!(["y/x", "y"]));
    }

    #[test]
    fn mistakes_name_file_provider_and_key() {
        for (text, message) in [
            (
                "b: {alias: a}",
                "provider \"b\" in test.yaml: `alias` names \"a\", which is not defined",
            ),
            (
                "b: {alias: a}\na: {alias: c}\nc: {alias: a}",
                "its aliases go round in a circle, or more than 8 deep",
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
