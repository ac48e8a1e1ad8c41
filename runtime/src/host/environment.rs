//! The interface `environment`: the environment's variables, which are secrets. A run is told their values, and nothing that is written
//! of it: on a tape they are masked from the start, in all other texts once they were read.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::bindings::nango::functions::environment::Host;
use super::fault::Fault;
use super::state::{GuestState, Services};
use crate::credentials::Secret;
use crate::recording::import;
use crate::redaction::MASK;
use crate::variables::EnvironmentVariable;

impl Host for GuestState {
    async fn get(&mut self, name: String) -> Result<Option<String>, Fault> {
        let run = self.run(import::VARIABLE)?;
        let live = async |services: &Services| {
            let environment = &run.ctx().environment_id;
            let variables = run.chain.variables().read(&services.variables, environment).await?;
            Ok(variables.get(&name).map(Told::of))
        };
        let arguments = || json!({ "name": name });
        let told = run
            .reach
            .ask(import::VARIABLE, arguments, live, |_, found| found)
            .await?;
        Ok(told.map(Told::into_text))
    }

    async fn all(&mut self) -> Result<Vec<(String, String)>, Fault> {
        let run = self.run(import::VARIABLES)?;
        let live = async |services: &Services| {
            let environment = &run.ctx().environment_id;
            let variables = run.chain.variables().read(&services.variables, environment).await?;
            let told = variables.all().iter().map(|it| (it.name.clone(), Told::of(it)));
            Ok(told.collect::<Vec<_>>())
        };
        let told = run
            .reach
            .ask(import::VARIABLES, || Value::Null, live, |_, found| found)
            .await?;
        Ok(told
            .into_iter()
            .map(|(name, value)| (name, value.into_text()))
            .collect())
    }
}

/// A value on its way to the guest: whoever writes it down gets the mask.
struct Told(Secret<String>);

impl Told {
    fn of(variable: &EnvironmentVariable) -> Self {
        Self(variable.value.clone())
    }

    fn into_text(self) -> String {
        self.0.expose().clone()
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// Of a recording, which holds masks, or of a fixture, which holds what its author gave.
impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_written_down_masked() {
        let told: Vec<(String, Told)> = serde_json::from_value(json!([["A", "in clear"]])).unwrap();
        assert_eq!(serde_json::to_value(&told).unwrap(), json!([["A", MASK]]));
        let text = told.into_iter().map(|(_, value)| value.into_text()).next();
        assert_eq!(text.as_deref(), Some("in clear"));
    }
}
