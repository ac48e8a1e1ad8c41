//! Recordings of production runs: which runs get one, where they are kept, for how long. They hold what customers' systems answered, so
//! they are sealed; credentials were masked before they came here. Off unless the operator turns it on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::encryption::{EncryptionError, Keyring};
use crate::model::{ConnectionKey, EnvironmentId, RunId};
use crate::recording::{FORMAT, RecordRuns, Recording};
use crate::store::{Store, StoreError, StoredRecording};

/// Recordings that wait to be written; what comes on top is dropped, and the log says so.
const QUEUE_MAX: usize = 64;
/// How long [`Recordings::close`] waits for what is not written yet.
const CLOSE_WAIT_MS: u64 = 5_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct RecordingOptions {
    pub record_runs: RecordRuns,
    /// Of one run; a longer one is not kept.
    pub run_bytes_max: usize,
    pub retention_days: u32,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Recordings(Arc<Parts>);

struct Parts {
    store: Store,
    keyring: Keyring,
    clock: Clock,
    options: RecordingOptions,
    queue: mpsc::Sender<Entry>,
}

/// What the task that writes is told.
enum Entry {
    Recording(Queued),
    /// To say so when everything before is written.
    Flush(oneshot::Sender<()>),
}

/// A recording and whose it is.
struct Queued {
    environment_id: EnvironmentId,
    connection_key: ConnectionKey,
    recording: Box<Recording>,
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error(
        "there is no recording of the run {run_id:?}: runs are recorded from when `record_runs` is set to \"failed\" or \"all\", and kept \
         for limits.recording_retention_days"
    )]
    Unknown { run_id: String },
    #[error("the recording of the run {run_id:?} was made by another version of nango-runtime and cannot be played")]
    Format { run_id: String },
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Recordings {
    /// Starts the task that writes. Must be called on a tokio runtime.
    #[must_use]
    pub fn start(store: Store, keyring: Keyring, clock: Clock, options: RecordingOptions) -> Self {
        let (queue, mut queued) = mpsc::channel(QUEUE_MAX);
        let recordings = Self(Arc::new(Parts {
            store,
            keyring,
            clock,
            options,
            queue,
        }));
        // The task ends with the last sender.
        let parts = Arc::downgrade(&recordings.0);
        tokio::spawn(async move {
            while let Some(entry) = queued.recv().await {
                let Some(parts) = parts.upgrade() else { return };
                match entry {
                    Entry::Recording(queued) => parts.write(queued).await,
                    // Whoever asked may have stopped waiting.
                    Entry::Flush(written) => drop(written.send(())),
                }
            }
        });
        recordings
    }

    /// What a tape of a production run may hold; none when runs are not recorded.
    #[must_use]
    pub fn run_bytes_max(&self) -> Option<usize> {
        (self.0.options.record_runs != RecordRuns::Off).then_some(self.0.options.run_bytes_max)
    }

    /// Whether a run that ended so is kept.
    #[must_use]
    pub fn wants(&self, succeeded: bool) -> bool {
        match self.0.options.record_runs {
            RecordRuns::Off => false,
            RecordRuns::Failed => !succeeded,
            RecordRuns::All => true,
        }
    }

    /// Keeps a recording, behind the caller's back.
    pub fn keep(&self, environment_id: &EnvironmentId, connection_key: &ConnectionKey, recording: Box<Recording>) {
        if !recording.complete {
            tracing::info!(
                function = recording.subject.function,
                "A run of {:?} was longer than a recording may be (limits.recording_bytes) and is not kept",
                recording.subject.function
            );
            return;
        }
        let queued = Queued {
            environment_id: environment_id.clone(),
            connection_key: connection_key.clone(),
            recording,
        };
        if self.0.queue.try_send(Entry::Recording(queued)).is_err() {
            tracing::warn!("The recording of a run was dropped: the database does not keep up with them");
        }
    }

    /// # Errors
    /// [`RecordingError`]: there is none, or it cannot be opened or read.
    pub async fn open(&self, environment_id: &EnvironmentId, run_id: &str) -> Result<Recording, RecordingError> {
        let stored = self.0.store.recording(environment_id, run_id).await?;
        let stored = stored.ok_or_else(|| RecordingError::Unknown { run_id: run_id.into() })?;
        let place = place(environment_id, run_id);
        let json = self.0.keyring.open(&place, &stored.sealed)?;
        let recording: Option<Recording> = serde_json::from_slice(json.expose()).ok();
        let recording = recording.filter(|recording| recording.format == FORMAT);
        recording.ok_or_else(|| RecordingError::Format { run_id: run_id.into() })
    }

    /// Deletes what is older than it may be.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tick(&self, now_ms: i64) -> Result<(), StoreError> {
        let before_ms = now_ms - i64::from(self.0.options.retention_days).saturating_mul(DAY_MS);
        while self.0.store.delete_recordings_before(before_ms).await? > 0 {}
        Ok(())
    }

    /// Waits until all is written, for a bounded time.
    pub async fn close(&self) {
        let (written, all_written) = oneshot::channel();
        let flush = async {
            let sent = self.0.queue.send(Entry::Flush(written)).await;
            sent.is_ok() && all_written.await.is_ok()
        };
        if tokio::time::timeout(Duration::from_millis(CLOSE_WAIT_MS), flush).await == Ok(true) {
            return;
        }
        tracing::warn!("Some recordings of runs were not written within {CLOSE_WAIT_MS} ms");
    }
}

impl Parts {
    async fn write(&self, queued: Queued) {
        let Queued {
            environment_id,
            connection_key,
            recording,
        } = queued;
        // A run without an id is nobody's to ask for.
        let Some(run_id) = recording.subject.run_id.clone() else {
            return;
        };
        let json = match serde_json::to_vec(&recording) {
            Ok(json) => json,
            Err(error) => {
                tracing::error!(%error, "The recording of run {run_id} cannot be written: {error}");
                return;
            }
        };
        let stored = StoredRecording {
            sealed: self.keyring.seal(&place(&environment_id, &run_id), &json),
            run_id: RunId::from(run_id.as_str()),
            environment_id,
            connection_key,
            created_at_ms: self.clock.now_ms(),
        };
        if let Err(error) = self.store.insert_recording(&stored).await {
            tracing::warn!(%error, "The recording of run {run_id} was not written: {error}");
        }
    }
}

fn place(environment_id: &EnvironmentId, run_id: &str) -> String {
    format!("recording:{environment_id}:{run_id}")
}
