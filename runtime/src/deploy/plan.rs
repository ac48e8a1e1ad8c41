//! What a deploy would change: compares what is active with what is to be. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::canary::CanaryOptions;
use super::capability::Capability;
use crate::model::{Function, FunctionKind, FunctionManifest};

/// What becomes of the functions of some integrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub integrations: Vec<IntegrationPlan>,
    /// How what is updated is tried first; none when all connections run it at once.
    pub canary: Option<CanaryOptions>,
}

/// What becomes of the functions of one integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrationPlan {
    pub provider_config_key: String,
    /// By name.
    pub functions: Vec<FunctionPlan>,
    /// What the components can do.
    pub capabilities: BTreeSet<Capability>,
    /// What functions that are there can do then and could not before, and what has to be given of what new ones can do.
    pub gained: BTreeSet<Capability>,
    /// Models of its syncs, for those who are told what can be written.
    pub models: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionPlan {
    pub name: String,
    pub kind: FunctionKind,
    /// What it is now; none of one that is new.
    pub was: Option<FunctionKind>,
    pub change: Change,
    /// In words: what is different.
    pub differences: Vec<String>,
    /// In words: what is lost.
    pub losses: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Create,
    Update,
    /// The same component is active already.
    Keep,
    Remove,
}

impl Change {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Keep => "keep",
            Self::Remove => "remove",
        }
    }
}

/// A component that is to be active.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) digest: &'a str,
    pub(super) functions: &'a [FunctionManifest],
    /// What it imports; none when it says nothing of itself.
    pub(super) imported: Option<&'a BTreeSet<String>>,
}

impl Plan {
    /// What is lost, with its function and integration; empty when nothing is.
    #[must_use]
    pub fn losses(&self) -> Vec<String> {
        let mut losses = Vec::new();
        for integration in &self.integrations {
            for function in &integration.functions {
                let place = format!("{} {}", integration.provider_config_key, function.name);
                losses.extend(function.losses.iter().map(|loss| format!("{place}: {loss}")));
            }
        }
        losses
    }

    /// Whether a function gets a new version.
    pub(super) fn changes(&self, provider_config_key: &str, function: &str) -> bool {
        let of_key = self.integrations.iter();
        let mut functions = of_key
            .filter(|it| it.provider_config_key == provider_config_key)
            .flat_map(|it| &it.functions);
        functions.any(|it| it.name == function && it.change != Change::Keep)
    }

    /// What is gained anywhere.
    #[must_use]
    pub fn gained(&self) -> BTreeSet<Capability> {
        self.integrations.iter().flat_map(|it| it.gained.clone()).collect()
    }
}

/// `active` are the functions that are there, `imported` what their components import, by digest. Functions that are in no wanted component
/// stay, unless `prune` is set.
pub(super) fn plan(
    provider_config_key: &str,
    wanted: &[Wanted<'_>],
    active: &[Function],
    imported: &BTreeMap<String, Option<BTreeSet<String>>>,
    prune: bool,
) -> IntegrationPlan {
    let by_name: BTreeMap<&str, &Function> = active.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut plan = IntegrationPlan {
        provider_config_key: provider_config_key.to_owned(),
        functions: Vec::new(),
        capabilities: BTreeSet::new(),
        gained: BTreeSet::new(),
        models: BTreeSet::new(),
    };
    let mut named = BTreeSet::new();
    for component in wanted {
        plan.capabilities
            .extend(Capability::of(component.imported, component.functions));
        for manifest in component.functions {
            named.insert(manifest.name.as_str());
            plan.models.extend(manifest.models.keys().cloned());
            let before = by_name.get(manifest.name.as_str()).copied();
            let able = Capability::of(component.imported, [manifest]).into_iter();
            match before {
                Some(before) if before.digest == component.digest => {}
                Some(before) => {
                    let could = imported.get(&before.digest).map(Option::as_ref);
                    let could = could
                        .map(|imported| Capability::of(imported, [&*before.manifest]))
                        .unwrap_or_default();
                    let had = |it: &Capability| could.iter().any(|could| could.covers(it));
                    plan.gained.extend(able.filter(|it| !had(it)));
                }
                None => plan.gained.extend(able.filter(Capability::is_granted)),
            }
            plan.functions.push(of_function(manifest, component.digest, before));
        }
    }
    if prune {
        let gone = active.iter().filter(|it| !named.contains(it.name.as_str()));
        plan.functions.extend(gone.map(|function| FunctionPlan {
            name: function.name.clone(),
            kind: function.manifest.kind,
            was: Some(function.manifest.kind),
            change: Change::Remove,
            differences: Vec::new(),
            losses: vec![match function.manifest.kind {
                FunctionKind::Action => "the action is removed".to_owned(),
                FunctionKind::Sync => "the sync is removed, with its schedules".to_owned(),
                FunctionKind::OnEvent => "the on-event function is removed".to_owned(),
            }],
        }));
    }
    plan.functions.sort_by(|a, b| a.name.cmp(&b.name));
    plan
}

fn of_function(manifest: &FunctionManifest, digest: &str, before: Option<&Function>) -> FunctionPlan {
    let mut plan = FunctionPlan {
        name: manifest.name.clone(),
        kind: manifest.kind,
        was: before.map(|before| before.manifest.kind),
        change: Change::Create,
        differences: Vec::new(),
        losses: Vec::new(),
    };
    let Some(before) = before else {
        return plan;
    };
    if before.digest == digest {
        plan.change = Change::Keep;
        return plan;
    }
    plan.change = Change::Update;
    let old = &before.manifest;
    if old.kind != manifest.kind {
        let change = format!("the {} becomes {}", old.kind.as_str(), manifest.kind.an());
        plan.losses.push(change);
    }
    for model in old.models.keys().filter(|model| !manifest.models.contains_key(*model)) {
        plan.losses.push(format!(
            "the model {model} is removed: its records are refreshed no more"
        ));
    }
    for (model, schema) in &manifest.models {
        match old.models.get(model) {
            None => plan.differences.push(format!("the model {model} is new")),
            Some(before) if before != schema => plan.differences.push(format!("the model {model} is another")),
            Some(_) => {}
        }
    }
    let parts: [(&str, &Option<Value>, &Option<Value>); 4] = [
        ("input", &old.input, &manifest.input),
        ("output", &old.output, &manifest.output),
        ("metadata", &old.metadata, &manifest.metadata),
        ("checkpoint", &old.checkpoint, &manifest.checkpoint),
    ];
    for (name, before, now) in parts {
        if before != now {
            plan.differences.push(format!("its {name} is another"));
        }
    }
    if old.frequency != manifest.frequency {
        let text = |frequency: &Option<String>| frequency.clone().unwrap_or_else(|| "on demand".to_owned());
        plan.differences.push(format!(
            "it runs {} instead of {}",
            text(&manifest.frequency),
            text(&old.frequency)
        ));
    }
    if let (Some(before), Some(now)) = (old.event, manifest.event)
        && before != now
    {
        let (before, now) = (before.as_str(), now.as_str());
        plan.differences.push(format!("it runs at {now} instead of {before}"));
    }
    if old.description != manifest.description {
        plan.differences.push("its description is another".to_owned());
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn manifest(json: Value) -> FunctionManifest {
        serde_json::from_value(json).unwrap()
    }

    fn function(digest: &str, manifest: FunctionManifest) -> Function {
        Function {
            environment_id: "env_1".into(),
            integration_id: "int_1".into(),
            provider_config_key: "github".to_owned(),
            name: manifest.name.clone(),
            version: 1,
            active_version: 1,
            canary: None,
            deployment_id: "dep_1".into(),
            digest: digest.to_owned(),
            manifest: Arc::new(manifest),
            deployed_at_ms: 0,
            is_enabled: true,
        }
    }

    fn imports(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn tells_what_is_new_other_lost_and_gained() {
        let issues =
            json!({"name": "issues", "kind": "sync", "frequency": "every hour", "models": {"Issue": {}, "Label": {}}});
        let active = [
            function("d1", manifest(issues)),
            function("d1", manifest(json!({"name": "old", "kind": "action"}))),
            function("d2", manifest(json!({"name": "same", "kind": "action"}))),
        ];
        let able = BTreeMap::from([("d1".to_owned(), Some(imports(&["nango.get"])))]);
        let now = [
            manifest(
                json!({"name": "issues", "kind": "sync", "frequency": "every day", "models": {"Issue": {"type": "object"}}}),
            ),
            manifest(json!({"name": "new", "kind": "action"})),
        ];
        let same = [manifest(json!({"name": "same", "kind": "action"}))];
        let more = imports(&["nango.get", "nango.post"]);
        let wanted = [
            Wanted {
                digest: "d3",
                functions: &now,
                imported: Some(&more),
            },
            Wanted {
                digest: "d2",
                functions: &same,
                imported: Some(&more),
            },
        ];
        let kept = plan("github", &wanted, &active, &able, false);
        assert!(kept.functions.iter().all(|function| function.name != "old"));
        let plan = plan("github", &wanted, &active, &able, true);
        let changes: Vec<_> = plan
            .functions
            .iter()
            .map(|function| (function.name.as_str(), function.change.as_str()))
            .collect();
        assert_eq!(
            changes,
            [
                ("issues", "update"),
                ("new", "create"),
                ("old", "remove"),
                ("same", "keep")
            ]
        );
        assert_eq!(
            plan.functions[0].differences,
            ["the model Issue is another", "it runs every day instead of every hour"]
        );
        let gained: Vec<&str> = plan.gained.iter().map(Capability::as_str).collect();
        assert_eq!(gained, ["requests:POST"]);
        let plan = Plan {
            integrations: vec![plan],
            canary: None,
        };
        assert_eq!(
            plan.losses(),
            [
                "github issues: the model Label is removed: its records are refreshed no more",
                "github old: the action is removed"
            ]
        );
    }

    #[test]
    fn a_function_that_is_new_gains_what_has_to_be_given_and_nothing_else() {
        let now = [manifest(json!({"name": "new", "kind": "action"}))];
        let all = imports(&["nango.proxy"]);
        let wanted = [Wanted {
            digest: "d1",
            functions: &now,
            imported: Some(&all),
        }];
        assert!(plan("github", &wanted, &[], &BTreeMap::new(), false).gained.is_empty());
        let with_token = imports(&["nango.proxy", "token.get"]);
        let wanted = [Wanted {
            imported: Some(&with_token),
            ..wanted[0]
        }];
        let gained = plan("github", &wanted, &[], &BTreeMap::new(), false).gained;
        assert_eq!(gained.iter().map(Capability::as_str).collect::<Vec<_>>(), ["token"]);
        let again = [function("d1", now[0].clone())];
        assert!(
            plan("github", &wanted, &again, &BTreeMap::new(), false)
                .gained
                .is_empty(),
            "it is as it was"
        );
    }

    #[test]
    fn another_host_is_gained_and_one_below_those_it_had_is_not() {
        let before = [function(
            "d1",
            manifest(json!({"name": "rates", "kind": "action", "fetch": ["*.example.org"]})),
        )];
        let fetches = imports(&["fetch.send"]);
        let had = BTreeMap::from([("d1".to_owned(), Some(fetches.clone()))]);
        let gained = |hosts: Value| {
            let now = [manifest(json!({"name": "rates", "kind": "action", "fetch": hosts}))];
            let wanted = [Wanted {
                digest: "d2",
                functions: &now,
                imported: Some(&fetches),
            }];
            let gained = plan("github", &wanted, &before, &had, false).gained;
            gained.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(gained(json!(["a.example.org"])).is_empty());
        assert_eq!(
            gained(json!(["a.example.org", "b.example.com"])),
            ["fetch:b.example.com"]
        );
        assert_eq!(gained(Value::Null), ["fetch"], "any host");
    }
}
