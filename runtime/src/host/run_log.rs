//! The log of one run: its operation, and the messages a guest writes, within the limits of a run. Nothing here waits and nothing
//! fails.

use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::connections::{Connections, RunMasker};
use crate::logs::{self, Logs, TEXT_BYTES_MAX};
use crate::model::log::Source;
use crate::model::{ExecutionContext, Level, Message, Operation};

/// Longest panic message kept for the error of a trap, in bytes.
const PANIC_BYTES_MAX: usize = 2_000;
/// Begins the messages of the SDK's panic hook.
const PANIC_MARK: &str = "panicked";
/// A text is cut to its length when its secrets are masked; before that, to this: no secret is longer.
const RAW_TEXT_BYTES_MAX: usize = TEXT_BYTES_MAX + 64 * 1024;

/// What one run may still log, and what it said before it panicked.
pub(crate) struct RunLog {
    sink: Option<Sink>,
    messages_left: u32,
    bytes_left: usize,
    full: bool,
    panic: Option<String>,
}

struct Sink {
    to: RunSink,
    /// The operation while it is not written yet: a short run writes it once, at its end.
    opening: Option<Box<Operation>>,
}

/// Where the messages of a run go, and what is masked in them.
pub(crate) struct RunSink {
    pub(crate) logs: Logs,
    pub(crate) clock: Clock,
    pub(crate) ctx: ExecutionContext,
    pub(crate) masker: RunMasker,
    pub(crate) connections: Connections,
}

impl RunLog {
    /// Messages go to `operation`, which must be announced or finished.
    pub(crate) fn new(to: RunSink, operation: Operation, messages_max: u32, bytes_max: usize) -> Self {
        Self {
            sink: Some(Sink {
                to,
                opening: Some(Box::new(operation)),
            }),
            messages_left: messages_max,
            bytes_left: bytes_max,
            full: false,
            panic: None,
        }
    }

    /// For `describe`: nothing is kept but a panic.
    pub(crate) fn silent() -> Self {
        Self {
            sink: None,
            messages_left: 0,
            bytes_left: 0,
            full: true,
            panic: None,
        }
    }

    /// Writes the operation as running, once: before its first message, and when the run begins to do what takes time.
    pub(crate) fn announce(&mut self) {
        if let Some(sink) = &mut self.sink
            && let Some(operation) = sink.opening.take()
        {
            sink.to.logs.operation(*operation);
        }
    }

    /// The last panic message the guest wrote.
    pub(crate) fn take_panic(&mut self) -> Option<String> {
        self.panic.take()
    }

    pub(super) fn write(&mut self, level: Level, mut text: String, fields: Vec<(String, String)>) {
        if level == Level::Error && text.starts_with(PANIC_MARK) {
            let mut panic = text.clone();
            logs::cut(&mut panic, PANIC_BYTES_MAX);
            self.panic = Some(panic);
        }
        if self.full {
            return;
        }
        logs::cut(&mut text, RAW_TEXT_BYTES_MAX);
        let bytes = fields
            .iter()
            .fold(text.len().min(TEXT_BYTES_MAX), |sum, (name, value)| {
                sum + name.len() + value.len()
            });
        if self.messages_left == 0 || bytes > self.bytes_left {
            self.full = true;
            let notice = "The run has used up what it may log (limits.run_log_messages, limits.run_log_bytes): further messages are dropped";
            self.emit(Level::Warn, Source::Internal, notice.to_owned(), Vec::new());
            return;
        }
        self.messages_left -= 1;
        self.bytes_left -= bytes;
        self.emit(level, Source::User, text, fields);
    }

    /// What the host has to say to the function's author.
    pub(super) fn warn(&mut self, text: String) {
        if !self.full {
            self.emit(Level::Warn, Source::Internal, text, Vec::new());
        }
    }

    /// An upstream may have echoed a credential to the guest, which repeats it: what guests write is masked, too.
    fn emit(&mut self, level: Level, source: Source, text: String, fields: Vec<(String, String)>) {
        self.announce();
        let Some(Sink { to, .. }) = &self.sink else {
            return;
        };
        let masker = to.masker.with_those_of_now(&to.connections, &to.ctx);
        let operation_id = to.ctx.operation_id.clone();
        let created_at_us = to.clock.now_us();
        let bytes = fields
            .iter()
            .fold(text.len(), |sum, (name, value)| sum + name.len() + value.len());
        to.logs.message_later(bytes, move || {
            let mut fields = to_object(fields);
            if let Some(fields) = &mut fields {
                masker.mask_json(fields);
            }
            Message {
                operation_id,
                created_at_us,
                level,
                source,
                text: masker.mask(&text).into_owned(),
                fields: fields.as_ref().and_then(Message::fields),
            }
        });
    }
}

/// Values are JSON text; what is none is kept as a string.
fn to_object(fields: Vec<(String, String)>) -> Option<Value> {
    if fields.is_empty() {
        return None;
    }
    let fields: Map<String, Value> = fields
        .into_iter()
        .map(|(name, value)| (name, serde_json::from_str(&value).unwrap_or(Value::String(value))))
        .collect();
    Some(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_panic_though_nothing_else() {
        let mut log = RunLog::silent();
        log.write(Level::Info, "panicked at nothing".to_owned(), Vec::new());
        assert_eq!(log.take_panic(), None);
        log.write(Level::Error, "panicked at src/lib.rs:3: boom".to_owned(), Vec::new());
        assert_eq!(log.take_panic().as_deref(), Some("panicked at src/lib.rs:3: boom"));
    }

    #[test]
    fn fields_are_json_or_text() {
        let fields = to_object(vec![
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), "no json".to_owned()),
        ]);
        assert_eq!(fields, Some(serde_json::json!({"a": 1, "b": "no json"})));
    }
}
