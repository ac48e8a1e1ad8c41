//! Pages that wait at another process which shares the database. What they are to hear is left in the database, sealed, under the hash of
//! the page's id; each process looks for what is for its own pages while any wait, and takes it away.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::waiting::Outcome;
use super::{Authorize, FlowError, pending};
use crate::credentials::Secret;
use crate::model::EnvironmentId;

/// How often a process at which pages wait looks for what others have left for them.
const LOOK_INTERVAL_MS: u64 = 500;
/// How long something is left; nobody waits for it any more then.
const KEPT_MS: i64 = 120_000;
/// Of all that is left, as many are looked at in one go.
const LOOK_MAX: i64 = 1_000;
/// Where it is left, before the hash of the page's id. No hash of a `state` begins so.
const PLACE: &str = "page:";

/// What a page hears.
#[derive(Serialize, Deserialize)]
enum Note {
    /// An authorization was begun with its id.
    Begun,
    Ended(Outcome),
}

impl Authorize {
    /// Tells the page that waits under that id how its popup ended, wherever it waits: at another process only when the authorization is
    /// known to be of an environment.
    pub async fn tell(&self, popup_id: &str, environment_id: Option<&EnvironmentId>, outcome: Outcome) {
        let Some(outcome) = self.0.waiting.tell(popup_id, outcome) else {
            return;
        };
        if let Some(environment_id) = environment_id {
            self.leave(popup_id, environment_id, &Note::Ended(outcome)).await;
        }
    }

    /// Notes that an authorization was begun for the page that waits under that id.
    pub(super) async fn begun_for(&self, popup_id: &str, environment_id: &EnvironmentId) {
        if !self.0.waiting.begun(popup_id) {
            self.leave(popup_id, environment_id, &Note::Begun).await;
        }
    }

    async fn leave(&self, popup_id: &str, environment_id: &EnvironmentId, note: &Note) {
        let parts = &*self.0;
        // Other names are of those who listen to the popup itself.
        if !parts.shares_database || !pending::is_secret(popup_id) {
            return;
        }
        let kind = match note {
            Note::Begun => "begun",
            Note::Ended(_) => "ended",
        };
        let place = format!("{}:{kind}", place(popup_id));
        // Writing plain data as JSON to memory does not fail.
        let details = Secret::new(serde_json::to_vec(note).unwrap_or_default());
        let sealed = pending::seal(parts, &place, &details);
        let now_ms = parts.clock.now_ms();
        let times = (now_ms, now_ms.saturating_add(KEPT_MS));
        let left = parts
            .store
            .replace_authorization(&place, environment_id, &sealed, None, times);
        if let Err(error) = left.await {
            tracing::warn!(%error, "A page that waits for an authorization at another process does not hear of it: {error}");
        }
    }

    /// Tells pages that wait here what other processes have left for them. To be called twice a second.
    ///
    /// # Errors
    /// When the database fails, or what was left cannot be read.
    pub async fn look(&self, now_ms: i64) -> Result<(), FlowError> {
        let parts = &*self.0;
        let waiting = parts.waiting.ids();
        if !parts.shares_database || waiting.is_empty() {
            return Ok(());
        }
        let left = parts.store.authorizations_at(PLACE, LOOK_MAX).await?;
        if left.is_empty() {
            return Ok(());
        }
        for id in waiting {
            let place = place(&id);
            for found in left.iter().filter(|found| found.starts_with(&place)) {
                let Some(sealed) = parts.store.take_authorization(found, now_ms).await? else {
                    continue;
                };
                let details = pending::open(parts, found, &sealed)?;
                match serde_json::from_slice(details.expose()).map_err(FlowError::Stored)? {
                    Note::Begun => drop(parts.waiting.begun(&id)),
                    Note::Ended(outcome) => drop(parts.waiting.tell(&id, outcome)),
                }
            }
        }
        Ok(())
    }

    /// Looks until the future is dropped; not where this process has the database for itself.
    pub async fn run(&self) {
        if !self.0.shares_database {
            return;
        }
        loop {
            self.0.clock.sleep(Duration::from_millis(LOOK_INTERVAL_MS)).await;
            if let Err(error) = self.look(self.0.clock.now_ms()).await {
                tracing::warn!(%error, "What other processes know of authorizations was not looked for: {error}");
            }
        }
    }
}

fn place(popup_id: &str) -> String {
    format!("{PLACE}{}", URL_SAFE_NO_PAD.encode(pending::sha256(popup_id)))
}
