//! The connections whose credentials a run was told: what it knows of them is masked in all that is written of it, also when they
//! have other ones by then. Who is told is decided in `host`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Target;

/// Credentials that a run and those it calls may be told; each has its masker, through which every text goes.
pub const TOLD_TOKENS_MAX: usize = 100;

/// Cheap to clone; clones are of the same run, and of those it calls.
#[derive(Clone, Debug, Default)]
pub struct ToldTokens(
    // A std mutex: held for a look-up, never across an await.
    Arc<Mutex<Vec<Arc<Target>>>>,
);

impl ToldTokens {
    /// Notes that the run is told the credentials of `target`, before it is. False when it knows [`TOLD_TOKENS_MAX`] others: then it
    /// may not be told.
    #[must_use]
    pub fn tell(&self, target: &Arc<Target>) -> bool {
        let mut told = self.told();
        if told.iter().any(|known| Arc::ptr_eq(known, target)) {
            return true;
        }
        let has_room = told.len() < TOLD_TOKENS_MAX;
        if has_room {
            told.push(Arc::clone(target));
        }
        has_room
    }

    pub(super) fn all(&self) -> Vec<Arc<Target>> {
        self.told().clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.told().is_empty()
    }

    fn told(&self) -> MutexGuard<'_, Vec<Arc<Target>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::target;
    use super::*;

    #[test]
    fn each_is_noted_once_and_not_too_many_are() {
        let told = ToldTokens::default();
        let targets: Vec<_> = (0..=TOLD_TOKENS_MAX)
            .map(|number| target("crm", &number.to_string()))
            .collect();
        let (last, others) = targets.split_last().unwrap();
        let run = told.clone();
        assert!(others.iter().chain(others).all(|target| run.tell(target)));
        assert!(!told.tell(last));
        assert_eq!(told.all().len(), TOLD_TOKENS_MAX);
    }
}
