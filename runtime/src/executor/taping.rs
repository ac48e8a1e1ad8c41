//! Runs that are written down: dry runs, and those that the operator wants recordings of. Decides which tape a run gets and what
//! becomes of it. A run that is not taped never comes here.

use std::sync::Arc;

use super::{Inner, RunOutcome, RunRequest};
use crate::clock::{Clock, Entropy};
use crate::host::{Kept, Reach, Services, Tape};
use crate::model::JsonObject;
use crate::recording::{FORMAT, Position, Recording, Seed, Subject};
use crate::recordings::Recordings;

/// Texts of a dry run's tape, in bytes: who looks at it can take no more, and what a run may hold of answers is bounded anyway.
pub const DRY_RUN_BYTES_MAX: usize = 64 << 20;

/// How a run is for real.
#[derive(Debug, Default)]
pub enum Mode {
    #[default]
    Live,
    /// Requests are for real; records, checkpoint and metadata are kept in memory, and gone at its end.
    Dry(DryRun),
}

/// What a dry run does differently.
#[derive(Debug, Default)]
pub struct DryRun {
    /// A component that is not deployed, of the digest that the function has.
    pub component: Option<Arc<[u8]>>,
    /// In the place of the connection's.
    pub metadata: Option<JsonObject>,
    /// In the place of the saved one.
    pub checkpoint: Option<Position>,
}

/// The tape of one run.
pub(super) struct Taping {
    tape: Arc<Tape>,
    seed: [u8; 32],
}

impl Taping {
    pub(super) fn of(mode: &Mode, recordings: &Recordings, clock: &Clock, entropy: &Entropy) -> Option<Self> {
        let bytes_max = match mode {
            Mode::Live => recordings.run_bytes_max()?,
            Mode::Dry(_) => DRY_RUN_BYTES_MAX,
        };
        Some(Self {
            tape: Arc::new(Tape::new(clock.clone(), bytes_max)),
            seed: entropy.bytes(),
        })
    }

    pub(super) fn reach(&self, services: &Arc<Services>, request: &RunRequest) -> Reach {
        let (services, tape) = (Arc::clone(services), Arc::clone(&self.tape));
        match &request.mode {
            Mode::Live => Reach::taped(services, tape),
            Mode::Dry(dry) => {
                let kept = Kept::new(metadata(request, dry), dry.checkpoint.clone());
                Reach::dry(services, tape, kept)
            }
        }
    }

    /// Random bytes that the same seed gives again.
    pub(super) fn entropy(&self) -> Entropy {
        Entropy::from_seed(self.seed)
    }
}

fn metadata(request: &RunRequest, dry: &DryRun) -> JsonObject {
    match &dry.metadata {
        Some(metadata) => metadata.clone(),
        None => request.target.connection.metadata.clone(),
    }
}

impl Inner {
    /// Hands the recording to who asked for it, without the connection's secrets.
    pub(super) fn keep_recording(&self, request: &RunRequest, outcome: &mut RunOutcome, taping: &Taping) {
        let is_dry = matches!(request.mode, Mode::Dry(_));
        if !is_dry && !self.recordings.wants(outcome.is_good()) {
            return;
        }
        let taped = taping.tape.finish();
        let (metadata, checkpoint) = match &request.mode {
            Mode::Live => (request.target.connection.metadata.clone(), None),
            Mode::Dry(dry) => (metadata(request, dry), dry.checkpoint.clone()),
        };
        let mut recording = Box::new(Recording {
            format: FORMAT,
            subject: Subject {
                function: request.function.name.clone(),
                kind: request.function.manifest.kind,
                digest: request.function.digest.clone(),
                provider_config_key: request.ctx.provider_config_key.as_ref().to_owned(),
                connection_id: request.ctx.connection_id.as_ref().to_owned(),
                provider: request.provider.as_ref().to_owned(),
                environment: request.environment_name.as_ref().to_owned(),
                input: request.input.clone(),
                for_webhook: request.is_for_webhook(),
                variant: request.sync.as_ref().map(|sync| sync.variant.clone()),
                run_id: request.ctx.run_id.as_ref().map(|id| id.as_str().to_owned()),
                metadata,
                checkpoint,
            },
            calls: taped.calls,
            time: taped.time,
            seed: Seed::new(taping.seed),
            output: outcome.output.clone(),
            duration_us: outcome.duration_us,
            complete: taped.complete,
        });
        let masker = request.chain.masker(Arc::clone(&request.target));
        let masker = masker.with_those_of_now(&self.services.connections, &request.ctx);
        recording.mask(|value| masker.mask_json(value), |text| masker.mask(text).into_owned());
        if let Err(error) = &mut recording.output {
            *error = super::outcome::masked(error, &masker);
        }
        if is_dry {
            outcome.recording = Some(recording);
        } else {
            self.recordings
                .keep(&request.ctx.environment_id, &request.connection_key, recording);
        }
    }
}
