//! What a canary may be like, and what becomes of one. Pure.

use super::error::listed;
use super::plan::{Change, FunctionPlan, Plan};
use crate::model::{Canary, CanaryFunction};
use crate::store::NewCanary;

/// Runs of a function after which its share of failures says something. Fewer count only when the time is over.
pub const CANARY_RUNS_MIN: i64 = 10;
/// The share of failed runs, in percent, above which a canary is rolled back unless the deploy says another.
pub const CANARY_ERRORS_PERCENT_DEFAULT: i64 = 10;
pub const CANARY_MINUTES_DEFAULT: i64 = 60;
/// A week.
pub const CANARY_MINUTES_MAX: i64 = 7 * 24 * 60;
const MINUTE_MS: i64 = 60_000;

/// How a deploy is tried before it is active for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryOptions {
    percent: i64,
    errors_percent: i64,
    minutes: i64,
}

/// Why there is no canary, and nothing was deployed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanaryError {
    #[error("a canary is for 1 to 99 % of the connections, not {percent}; deploy without it to reach all of them")]
    Percent { percent: i64 },
    #[error("the share of failed runs that a canary may have is 0 to 99 %, not {percent}")]
    ErrorsPercent { percent: i64 },
    #[error("a canary runs for 1 to {CANARY_MINUTES_MAX} minutes, not {minutes}")]
    Minutes { minutes: i64 },
    #[error(
        "a canary of {provider_config_key:?} is running: promote it or abort it first, with `nango-runtime canary promote|abort \
         {provider_config_key}`"
    )]
    Running { provider_config_key: String },
    #[error(
        "{} of {provider_config_key:?} would be new: there is no version that the other connections could run; deploy without a canary",
        listed(functions, ", ")
    )]
    New {
        provider_config_key: String,
        functions: Vec<String>,
    },
    #[error(
        "{} of {provider_config_key:?} would become another kind of function, which cannot be tried: deploy without a canary",
        listed(functions, ", ")
    )]
    Kind {
        provider_config_key: String,
        functions: Vec<String>,
    },
    #[error("there is nothing to try: these components are active already")]
    Nothing,
    #[error("a canary removes no functions: deploy without `prune`, and prune when it is promoted")]
    Prune,
}

impl CanaryOptions {
    /// `percent` of the connections, for so many minutes, until more than `errors_percent` of a function's runs have failed.
    ///
    /// # Errors
    /// [`CanaryError`]: what is out of its bounds.
    pub fn new(percent: i64, errors_percent: Option<i64>, minutes: Option<i64>) -> Result<Self, CanaryError> {
        let errors_percent = errors_percent.unwrap_or(CANARY_ERRORS_PERCENT_DEFAULT);
        let minutes = minutes.unwrap_or(CANARY_MINUTES_DEFAULT);
        if !(1..=99).contains(&percent) {
            return Err(CanaryError::Percent { percent });
        }
        if !(0..=99).contains(&errors_percent) {
            return Err(CanaryError::ErrorsPercent {
                percent: errors_percent,
            });
        }
        if !(1..=CANARY_MINUTES_MAX).contains(&minutes) {
            return Err(CanaryError::Minutes { minutes });
        }
        Ok(Self {
            percent,
            errors_percent,
            minutes,
        })
    }

    /// Of the connections, 1 to 99.
    #[must_use]
    pub fn percent(self) -> i64 {
        self.percent
    }

    /// Of a function's runs may fail, 0 to 99.
    #[must_use]
    pub fn errors_percent(self) -> i64 {
        self.errors_percent
    }

    /// After how long it is active for all.
    #[must_use]
    pub fn minutes(self) -> i64 {
        self.minutes
    }

    pub(super) fn begun_at(self, now_ms: i64) -> NewCanary {
        NewCanary {
            percent: self.percent,
            errors_percent: self.errors_percent,
            began_at_ms: now_ms,
            until_ms: now_ms.saturating_add(self.minutes.saturating_mul(MINUTE_MS)),
        }
    }
}

/// Whether a plan can be tried: each of its functions has a version for the connections that do not try it.
pub(super) fn check(plan: &Plan, prune: bool) -> Result<(), CanaryError> {
    if prune {
        return Err(CanaryError::Prune);
    }
    for integration in &plan.integrations {
        let provider_config_key = || integration.provider_config_key.clone();
        let named = |is_meant: fn(&FunctionPlan) -> bool| -> Vec<String> {
            let meant = integration.functions.iter().filter(|function| is_meant(function));
            meant.map(|function| function.name.clone()).collect()
        };
        let new = named(|function| function.change == Change::Create);
        if !new.is_empty() {
            return Err(CanaryError::New {
                provider_config_key: provider_config_key(),
                functions: new,
            });
        }
        let other = named(|function| function.was != Some(function.kind));
        if !other.is_empty() {
            return Err(CanaryError::Kind {
                provider_config_key: provider_config_key(),
                functions: other,
            });
        }
    }
    let mut functions = plan.integrations.iter().flat_map(|it| &it.functions);
    if functions.any(|function| function.change == Change::Update) {
        Ok(())
    } else {
        Err(CanaryError::Nothing)
    }
}

/// What becomes of a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    GoesOn,
    /// With the reason, for people.
    RollBack(String),
    Promote(String),
}

/// Judges a running canary by the runs of each of its functions. Above its share of failures it is rolled back, as soon as there are
/// [`CANARY_RUNS_MIN`] runs or its time is over. After its time it is promoted, but not before anything of it was run.
#[must_use]
pub fn judge(canary: &Canary, now_ms: i64) -> Verdict {
    let is_over = now_ms >= canary.until_ms;
    let is_bad = |function: &&CanaryFunction| {
        let all = function.runs.all();
        let enough = if is_over { 1 } else { CANARY_RUNS_MIN };
        all >= enough && function.runs.failed.saturating_mul(100) > canary.errors_percent.saturating_mul(all)
    };
    if let Some(function) = canary.functions.iter().find(is_bad) {
        return Verdict::RollBack(format!(
            "{} of {} runs of {} in version {} failed; {} % may",
            function.runs.failed,
            function.runs.all(),
            function.name,
            function.version,
            canary.errors_percent
        ));
    }
    let runs: i64 = canary.functions.iter().map(|function| function.runs.all()).sum();
    if !is_over || runs == 0 {
        return Verdict::GoesOn;
    }
    let failed: i64 = canary.functions.iter().map(|function| function.runs.failed).sum();
    Verdict::Promote(format!("its time is over: {failed} of {runs} runs failed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CanaryState, RunCounts};

    fn canary(runs: &[(i64, i64)]) -> Canary {
        let function = |(index, (succeeded, failed)): (usize, &(i64, i64))| CanaryFunction {
            name: format!("f{index}"),
            version: 2,
            runs: RunCounts {
                succeeded: *succeeded,
                failed: *failed,
            },
            active_version: Some(1),
            active_runs: RunCounts::default(),
        };
        Canary {
            environment_id: "env_1".into(),
            integration_id: "int_1".into(),
            provider_config_key: "github".to_owned(),
            state: CanaryState::Running,
            percent: 10,
            errors_percent: 10,
            began_at_ms: 0,
            until_ms: 1_000,
            ended_at_ms: None,
            reason: None,
            functions: runs.iter().enumerate().map(function).collect(),
        }
    }

    #[test]
    fn failures_count_for_each_function_and_when_there_are_enough() {
        let rolled_back = Verdict::RollBack("2 of 11 runs of f1 in version 2 failed; 10 % may".to_owned());
        assert_eq!(judge(&canary(&[(1_000, 0), (9, 2)]), 5), rolled_back);
        assert_eq!(judge(&canary(&[(0, 9)]), 5), Verdict::GoesOn, "too few to say");
        assert_eq!(judge(&canary(&[(9, 1)]), 5), Verdict::GoesOn, "as many as may");
        let one = judge(&canary(&[(0, 1)]), 1_000);
        assert!(matches!(one, Verdict::RollBack(_)), "the time is over: {one:?}");
    }

    #[test]
    fn a_good_one_is_promoted_when_its_time_is_over_and_it_was_run() {
        assert_eq!(judge(&canary(&[(5, 0), (0, 0)]), 999), Verdict::GoesOn);
        let reason = "its time is over: 1 of 15 runs failed".to_owned();
        assert_eq!(judge(&canary(&[(5, 0), (9, 1)]), 1_000), Verdict::Promote(reason));
        assert_eq!(judge(&canary(&[(0, 0)]), 9_000), Verdict::GoesOn, "nobody has tried it");
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let new = |percent, errors, minutes| CanaryOptions::new(percent, errors, minutes).map(drop);
        assert_eq!(new(1, None, None), Ok(()));
        assert_eq!(new(0, None, None), Err(CanaryError::Percent { percent: 0 }));
        assert_eq!(new(100, None, None), Err(CanaryError::Percent { percent: 100 }));
        assert_eq!(
            new(5, Some(100), None),
            Err(CanaryError::ErrorsPercent { percent: 100 })
        );
        assert_eq!(new(5, None, Some(0)), Err(CanaryError::Minutes { minutes: 0 }));
        assert_eq!(
            CanaryOptions::new(5, None, Some(2)).unwrap().begun_at(7).until_ms,
            120_007
        );
    }
}
