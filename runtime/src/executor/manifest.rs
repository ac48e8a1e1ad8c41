//! Reads what `describe` gave. Only its form; what names and schemas must be like is for `deploy`.

use super::ComponentError;
use crate::model::Manifest;

/// Says where the fault is: `functions[0].kind`. Unknown names are ignored, so that components of newer SDKs deploy.
pub(super) fn parse(json: &str) -> Result<Manifest, ComponentError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| ComponentError::Manifest {
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
    }
}
