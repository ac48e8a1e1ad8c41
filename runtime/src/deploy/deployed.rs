//! What a deploy did with one component, and how it is told.

use std::collections::BTreeSet;
use std::fmt;

use super::Capability;
use crate::model::Function;

/// What a deploy did with one component.
#[derive(Debug)]
pub struct Deployed {
    pub provider_config_key: String,
    /// SHA-256 of the component's bytes, in lower-case hex.
    pub digest: String,
    /// The functions of the component, in the versions that are active now.
    pub functions: Vec<Function>,
    /// How many of them got a new version.
    pub changed: usize,
    /// The interfaces the component imports.
    pub imports: Vec<String>,
    /// What it can do.
    pub capabilities: BTreeSet<Capability>,
}

/// In a sentence, for the log.
impl fmt::Display for Deployed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = match self.changed {
            0 => return f.write_str("Nothing new was deployed: the component is active already"),
            1 => "1 function".to_owned(),
            many => format!("{many} functions"),
        };
        match self.functions.iter().find_map(|function| function.canary) {
            Some(tried) => write!(f, "Deployed {changed}, tried by {} % of the connections", tried.percent),
            None => write!(f, "Deployed {changed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{CanaryShare, FunctionManifest};

    #[test]
    fn a_sentence_says_for_whom_and_whether_anything_is_new() {
        let manifest = serde_json::from_str::<FunctionManifest>(r#"{"name": "a", "kind": "action"}"#);
        let function = Function {
            environment_id: "env_1".into(),
            integration_id: "int_1".into(),
            provider_config_key: "github".into(),
            name: "a".into(),
            version: 1,
            active_version: 1,
            canary: None,
            deployment_id: "dep_1".into(),
            digest: "abc".into(),
            manifest: Arc::new(manifest.unwrap()),
            deployed_at_ms: 0,
            is_enabled: true,
        };
        let of = |changed, canary| {
            let functions = vec![Function {
                canary,
                ..function.clone()
            }];
            let deployed = Deployed {
                provider_config_key: "github".to_owned(),
                digest: "abc".to_owned(),
                functions,
                changed,
                imports: Vec::new(),
                capabilities: BTreeSet::new(),
            };
            deployed.to_string()
        };
        let share = CanaryShare {
            version: 2,
            percent: 40,
        };
        assert_eq!(of(1, None), "Deployed 1 function");
        assert_eq!(
            of(2, Some(share)),
            "Deployed 2 functions, tried by 40 % of the connections"
        );
        assert_eq!(of(0, None), "Nothing new was deployed: the component is active already");
    }
}
