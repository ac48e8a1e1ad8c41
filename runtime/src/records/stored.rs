//! Payloads that were stored in clear before the settings said to seal them: sealed in the background, a few at a time.

use super::{Records, RecordsError};
use crate::store::RecordKey;

/// Steps of one [`Records::seal_stored`] of the server: a batch of payloads, or the beginning or end of a model.
pub const SEALING_STEPS_MAX: usize = 1_000;

/// How far [`Records::seal_stored`] has come. One that is new begins again, and passes over what is sealed.
#[derive(Debug, Default)]
pub struct SealingPlace {
    /// The model that is being sealed, or the last one that was.
    key: Option<RecordKey>,
    /// The pass over that model and the last id it has seen, until it has seen all.
    pass: Option<(i64, String)>,
}

/// What one call has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealedStored {
    pub sealed: u64,
    /// There is more to be done now.
    pub more: bool,
}

impl Records {
    /// Seals payloads that are stored in clear, if payloads are sealed when they are written: from `place` on, in `steps_max` steps at
    /// most. To be called now and then; costs little when there are none.
    ///
    /// # Errors
    /// The store failed; what was sealed stays so, and the next call goes on.
    pub async fn seal_stored(&self, place: &mut SealingPlace, steps_max: usize) -> Result<SealedStored, RecordsError> {
        let mut done = SealedStored::default();
        if !self.sealer.is_on {
            return Ok(done);
        }
        for _ in 0..steps_max {
            let Some(sealed) = self.seal_next(place).await? else {
                *place = SealingPlace::default();
                return Ok(done);
            };
            done.sealed += sealed;
        }
        done.more = true;
        Ok(done)
    }

    /// One step; none when there is nothing left.
    async fn seal_next(&self, place: &mut SealingPlace) -> Result<Option<u64>, RecordsError> {
        let (Some(key), Some((pass, after))) = (&place.key, &mut place.pass) else {
            let Some(key) = self.store.next_model_in_clear(place.key.as_ref()).await? else {
                return Ok(None);
            };
            let pass = self.store.begin_sealing(&key).await?;
            place.pass = pass.map(|pass| (pass, String::new()));
            place.key = Some(key);
            return Ok(Some(0));
        };
        let sealing = self.sealer.sealing(key);
        if let Some((sealed, last)) = self.store.seal_payloads(key, after, &sealing).await? {
            *after = last;
            return Ok(Some(sealed));
        }
        self.store.end_sealing(key, *pass).await?;
        place.pass = None;
        Ok(Some(0))
    }
}
