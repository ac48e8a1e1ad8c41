//! Reads what `describe` gave. Only its form; what names and schemas must be like is for `deploy`.

use super::ComponentError;
use crate::model::Manifest;

/// Says where the fault is: `functions[0].kind`. Unknown names are ignored, so that components of newer SDKs deploy.
pub(super) fn parse(json: &str) -> Result<Manifest, ComponentError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let described = serde_path_to_error::deserialize(&mut deserializer);
    described
        .map(Manifest::with_fetch_of_all)
        .map_err(|error| ComponentError::Manifest {
            path: error.path().to_string(),
            reason: error.inner().to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_place_of_the_fault() {
        let fault = parse(r#"{"functions":[{"name":"a","kind":"actoin"}]}"#)
            .unwrap_err()
            .to_string();
        assert!(
            fault.starts_with("`describe` gave no manifest in JSON: at `functions[0].kind`: unknown variant `actoin`"),
            "{fault}"
        );
        assert!(
            parse("")
                .unwrap_err()
                .to_string()
                .starts_with("`describe` gave no manifest in JSON: at `.`: EOF")
        );
        let manifest = parse(r#"{"functions":[{"name":"a","kind":"sync","auto_start":true}],"newer":1}"#).unwrap();
        assert_eq!(manifest.functions.len(), 1);
        assert_eq!(manifest.functions[0].fetch, None);
    }

    #[test]
    fn one_that_declares_hosts_speaks_for_all() {
        let some = r#"{"functions":[{"name":"a","kind":"action","fetch":["a.test"]},{"name":"b","kind":"action"}]}"#;
        let manifest = parse(some).unwrap();
        let allowed = manifest
            .functions
            .iter()
            .map(|it| it.fetch.as_ref().unwrap().allow("a.test"));
        assert_eq!(allowed.collect::<Vec<_>>(), [true, false]);
    }
}
