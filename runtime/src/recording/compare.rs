//! What differs between two runs of the same recording: the first call that is another one, the output, records, checkpoint. Times and
//! log lines do not count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::effects::{List, id_of};
use super::{Call, Effects, Position, Recording, describe, import};
use crate::model::RunError;

/// Differences a comparison lists; it says how many more there are.
const DIFFERENCES_MAX: usize = 50;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Comparison {
    pub same: bool,
    /// The first call of the host that is not the recorded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_call: Option<CallDifference>,
    pub calls_before: usize,
    pub calls_after: usize,
    /// Of output, records, checkpoint and metadata.
    pub differences: Vec<Difference>,
    /// Differences that are not listed.
    #[serde(default)]
    pub more: usize,
}

/// Two calls that are not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallDifference {
    /// Its place among the calls, from 1.
    pub number: usize,
    /// None when the recorded run made no more calls.
    pub before: Option<String>,
    /// None when the new run made no more calls.
    pub after: Option<String>,
}

/// A value that is not the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// What it is about, such as `output` or `record Issue 7`, and the JSON pointer in it.
    pub place: String,
    /// None when it was not there.
    pub before: Option<Value>,
    /// None when it is not there any more.
    pub after: Option<Value>,
}

impl Comparison {
    #[must_use]
    pub fn of(before: &Recording, after: &Recording) -> Self {
        let mut differences = Vec::new();
        outputs(&before.output, &after.output, &mut differences);
        let (old, new) = (Effects::of(before), Effects::of(after));
        Self::effects(&old, &new, &mut differences);
        let (old_calls, new_calls) = (counted(before), counted(after));
        let first_call = first_call(&old_calls, &new_calls);
        let more = differences.len().saturating_sub(DIFFERENCES_MAX);
        differences.truncate(DIFFERENCES_MAX);
        Self {
            same: first_call.is_none() && differences.is_empty(),
            first_call,
            calls_before: old_calls.len(),
            calls_after: new_calls.len(),
            differences,
            more,
        }
    }

    fn effects(old: &Effects, new: &Effects, differences: &mut Vec<Difference>) {
        let models: std::collections::BTreeSet<&String> = old.records.keys().chain(new.records.keys()).collect();
        for model in models {
            let (old, new) = (old.records.get(model), new.records.get(model));
            let lists: [(&str, List); 3] = [
                ("record", |effects| &effects.saved),
                ("update of", |effects| &effects.updated),
                ("deletion of", |effects| &effects.deleted),
            ];
            for (what, list) in lists {
                records(
                    &format!("{what} {model}"),
                    old.map_or(&[], |effects| list(effects)),
                    new.map_or(&[], |effects| list(effects)),
                    differences,
                );
            }
        }
        let positions =
            [&old.checkpoint_after, &new.checkpoint_after].map(|position| position.as_ref().map(position_value));
        let [before, after] = positions;
        value("checkpoint", before.as_ref(), after.as_ref(), differences);
        value("metadata", old.metadata.as_ref(), new.metadata.as_ref(), differences);
    }
}

pub(super) fn position_value(position: &Position) -> Value {
    let json = position.json.as_deref();
    json.map_or(Value::Null, |json| {
        serde_json::from_str(json).unwrap_or_else(|_| Value::from(json))
    })
}

/// Calls that change something or depend on the world.
fn counted(recording: &Recording) -> Vec<&Call> {
    recording
        .calls
        .iter()
        .filter(|call| call.import != import::LOG)
        .collect()
}

fn first_call(before: &[&Call], after: &[&Call]) -> Option<CallDifference> {
    let same = |(a, b): &(&&Call, &&Call)| a.import == b.import && a.arguments == b.arguments;
    let equal = before.iter().zip(after).take_while(same).count();
    let (old, new) = (before.get(equal), after.get(equal));
    (old.is_some() || new.is_some()).then(|| CallDifference {
        number: equal + 1,
        before: old.map(|call| describe(call)),
        after: new.map(|call| describe(call)),
    })
}

pub(super) fn outputs(
    before: &Result<String, RunError>,
    after: &Result<String, RunError>,
    differences: &mut Vec<Difference>,
) {
    let shown = |output: &Result<String, RunError>| match output {
        Ok(json) => ("output", serde_json::from_str(json).unwrap_or(Value::Null)),
        Err(error) => (
            "error",
            serde_json::json!({"code": error.code, "message": error.message}),
        ),
    };
    let ((old_kind, old), (new_kind, new)) = (shown(before), shown(after));
    if old_kind == new_kind {
        value(old_kind, Some(&old), Some(&new), differences);
    } else {
        value(old_kind, Some(&old), None, differences);
        value(new_kind, None, Some(&new), differences);
    }
}

/// Records by id; of several with one id the last.
pub(super) fn records(what: &str, before: &[Value], after: &[Value], differences: &mut Vec<Difference>) {
    let by_id = |records: &[Value]| -> BTreeMap<String, Value> {
        records.iter().map(|record| (id_of(record), record.clone())).collect()
    };
    let (before, after) = (by_id(before), by_id(after));
    let ids: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for id in ids {
        value(&format!("{what} {id}"), before.get(id), after.get(id), differences);
    }
}

/// The smallest parts that differ.
pub(super) fn value(place: &str, before: Option<&Value>, after: Option<&Value>, differences: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                value(&format!("{place}/{name}"), old.get(name), new.get(name), differences);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                value(&format!("{place}/{index}"), old.get(index), new.get(index), differences);
            }
        }
        _ => differences.push(Difference {
            place: place.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}
