//! A call and the rate limit of its connection: it waits for its turn before each attempt, and what comes back is for all
//! who wait.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::{Answer, Call};
use crate::connections::Target;
use crate::model::log::Source;
use crate::model::{Level, Message};
use crate::proxy::ProxyError;
use crate::proxy::attempt_log::Note;
use crate::proxy::rate_limit::Entry;
use crate::proxy::retry::told::Told;

impl Call<'_> {
    /// Waits for the call's turn. True when it has come, false when it has come after a wait, so that the target is to be
    /// looked up again. Waiting counts against the call's budget; who would have to wait longer gets an error at once.
    pub(super) async fn line_up(&mut self, target: &Arc<Target>) -> Result<bool, ProxyError> {
        if self.pass.is_some() {
            return Ok(true);
        }
        let limits = &self.shared.rate_limits;
        let budget_ms = self.wait_ms_max().saturating_sub(self.spent.waited_ms);
        let waiting = match limits.enter(target, self.ctx, self.arrival, budget_ms) {
            Ok(None) => return Ok(true),
            Ok(Some(Entry::Passed(pass))) => {
                self.pass = Some(pass);
                return Ok(true);
            }
            Ok(Some(Entry::Waiting(waiting))) => waiting,
            Err(error) => return Err(self.say_refused(error)),
        };
        let (of, position, wait_ms) = (waiting.of().to_owned(), waiting.position, waiting.wait_ms);
        let how_long = wait_ms.map_or_else(|| format!("up to {budget_ms} ms"), |wait_ms| format!("{wait_ms} ms"));
        let text = format!("Waiting {how_long} in line for the rate limit of {of} (position {position})");
        let fields = json!({ "type": "rate_limit", "position": position, "wait_ms": wait_ms, "budget_ms": budget_ms });
        self.say(Level::Info, text, &fields);
        let (turn, waited_ms) = waiting.turn().await;
        self.spent.waited_ms = self.spent.waited_ms.saturating_add(waited_ms);
        match turn {
            Ok(pass) => {
                self.pass = Some(pass);
                Ok(false)
            }
            Err(refusal) => Err(self.say_refused(limits.refuse(refusal, &of, budget_ms))),
        }
    }

    /// Hands what an answer says about the rate limit to all who share it. True when it was a refusal, which the line waits
    /// out; `told` is then at least as long as the line stands still.
    pub(super) fn learn(&self, target: &Target, answer: &Answer, told: &mut Option<Told>) -> bool {
        let (status, headers) = (answer.parts.status, &answer.parts.headers);
        let told_ms = told.map(|(wait_ms, _)| wait_ms);
        let limits = &self.shared.rate_limits;
        let Some(closed_ms) = limits.learn(target, self.pass.as_ref(), status, headers, told_ms) else {
            return false;
        };
        if told_ms.is_none_or(|told_ms| told_ms < closed_ms) {
            let reason = told.map_or("rate_limited", |(_, reason)| reason);
            *told = Some((closed_ms, reason));
        }
        true
    }

    /// The error of a call that may not wait, after it was written down: no attempt was made that would show it.
    fn say_refused(&self, error: ProxyError) -> ProxyError {
        let code = StatusCode::TOO_MANY_REQUESTS.as_u16();
        let fields = json!({
            "type": "rate_limit", "error": { "code": error.code() }, "response": { "code": code },
            "retry": { "attempt": self.spent.attempts(), "waited_ms": self.spent.waited_ms },
        });
        self.say(Level::Error, format!("Not sent: {error}"), &fields);
        error
    }

    fn say(&self, level: Level, text: String, fields: &serde_json::Value) {
        (self.shared.log)(Note::Line(Message {
            operation_id: self.ctx.operation_id.clone(),
            created_at_us: self.shared.clock.now_us(),
            level,
            source: Source::Internal,
            text,
            fields: Message::fields(fields),
        }));
    }
}
