//! `--follow`: asks again and again for what was written since the last answer. The server numbers what is written, so nothing
//! is missed or told twice, however long an operation takes, and also when the server was away in between.

use std::collections::HashMap;
use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::{FOLLOW_LIMIT_DEFAULT, Logs, lines};
use crate::cli::client::{Client, patiently};
use crate::cli::output::{self, Output, list_at, text_at};
use crate::clock::Clock;

const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// What one answer may hold.
const PAGE_MAX: usize = 500;

pub(super) async fn run(logs: &Logs, client: &Client, output: Output) -> anyhow::Result<()> {
    let follower = Follower {
        logs,
        client,
        output,
        clock: Clock::system(),
    };
    let following = async {
        match &logs.operation {
            Some(id) => follower.messages(id).await,
            None => follower.operations().await,
        }
    };
    tokio::select! {
        // First, so that the signal is listened for before anything else is done.
        biased;
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        ended = following => ended,
    }
}

struct Follower<'a> {
    logs: &'a Logs,
    client: &'a Client,
    output: Output,
    clock: Clock,
}

impl Follower<'_> {
    async fn operations(&self) -> anyhow::Result<()> {
        let limit = self.logs.limit.unwrap_or(FOLLOW_LIMIT_DEFAULT);
        let request = self.logs.operations_request(self.client);
        let before = request.query("limit", Some(limit)).answer().await?;
        // What is written between the number of the change and the list is in both.
        let mut told: HashMap<String, Value> = HashMap::new();
        for operation in list_at(&before, "/data").iter().rev() {
            output::print(&lines::operation(operation, self.output))?;
            told.insert(text_at(operation, "/id"), operation.clone());
        }
        let mut change = text_at(&before, "/change_cursor");
        loop {
            let request = || {
                let request = self.logs.operations_request(self.client);
                request
                    .query("changed_after", Some(&change))
                    .query("limit", Some(PAGE_MAX))
            };
            let answer = patiently(&self.clock, request).await?;
            let changed = list_at(&answer, "/data");
            for operation in changed {
                if told.remove(&text_at(operation, "/id")).as_ref() != Some(operation) {
                    output::print(&lines::operation(operation, self.output))?;
                }
            }
            change = text_at(&answer, "/change_cursor");
            if changed.len() < PAGE_MAX {
                self.clock.sleep(POLL_INTERVAL).await;
            }
        }
    }

    /// Ends when the operation has ended.
    async fn messages(&self, id: &str) -> anyhow::Result<()> {
        let operation = || self.client.request(Method::GET, &["logs", "operations", id]);
        // An unknown operation, or a server that is not there, is an error at the beginning only.
        let mut state = operation().answer().await?;
        let mut sequence = "0".to_owned();
        loop {
            let request = || {
                let request = self.logs.messages_request(self.client, id);
                request.query("cursor", Some(&sequence)).query("limit", Some(PAGE_MAX))
            };
            let answer = patiently(&self.clock, request).await?;
            let messages = list_at(&answer, "/data");
            for message in messages {
                output::print(&lines::message(message, self.output))?;
            }
            let is_full = messages.len() >= PAGE_MAX;
            if let Some(last) = messages.last() {
                sequence = text_at(last, "/sequence");
            }
            if is_full {
                continue;
            }
            if text_at(&state, "/state") != "running" {
                output::print(&lines::operation(&state, self.output))?;
                return Ok(());
            }
            self.clock.sleep(POLL_INTERVAL).await;
            // Before the messages: those of an operation that has ended are all there.
            state = patiently(&self.clock, operation).await?;
        }
    }
}
