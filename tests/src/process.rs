//! A child process that ends with its owner, and the lines it writes.
//!
//! Output is read by threads as it comes, so that a child never blocks on a full pipe and a test can wait for a line
//! instead of sleeping.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a child may take to say that it is ready.
pub const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Of a tied child: its end, seen by a shell, kills it.
    _tie: Option<ChildStdin>,
    output: Arc<Output>,
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<OutputState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct OutputState {
    /// Lines of both streams in order of arrival, the stream's name before each.
    lines: Vec<(Stream, String)>,
    /// Streams at their end; both are when the child is gone.
    ended: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Process {
    /// Starts `command`; `name` is for messages.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: &mut Command) -> Self {
        Self::spawn(name, command.stdin(Stdio::null()))
    }

    /// Starts `command` so that it dies with this process, however that ends. For servers which all tests share and so
    /// nobody drops: the child waits under a shell that reads a pipe whose other end is ours.
    #[must_use]
    pub fn start_tied(name: &str, command: &Command) -> Self {
        let mut tied = Command::new("sh");
        tied.args(["-c", r#""$@" & child=$!; cat >/dev/null; kill -9 $child"#, "sh"]);
        tied.arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => tied.env(name, value),
                None => tied.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            tied.current_dir(folder);
        }
        Self::spawn(name, &mut tied)
    }

    fn spawn(name: &str, command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error} ({command:?})"));
        let output = Arc::new(Output::default());
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        output.collect(Stream::Stdout, stdout);
        output.collect(Stream::Stderr, stderr);
        let tie = child.stdin.take();
        Self {
            name: name.to_owned(),
            child,
            _tie: tie,
            output,
        }
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that `find` makes something of.
    ///
    /// # Panics
    ///
    /// When the child ends or [`READY_TIMEOUT`] passes before.
    pub fn wait_for_line<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + READY_TIMEOUT;
        let mut state = self.output.lock();
        let mut seen = 0;
        loop {
            if let Some(found) = state.lines[seen..].iter().find_map(|(_, line)| find(line)) {
                return found;
            }
            seen = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended == 2 || left.is_zero() {
                let why = if left.is_zero() {
                    "was not ready in time"
                } else {
                    "ended before it was ready"
                };
                let text = text(&state.lines, |_| true);
                drop(state);
                panic!("{} {why}; it wrote:\n{text}", self.name);
            }
            state = self
                .output
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// All lines so far, of one stream or (none) of both.
    #[must_use]
    pub fn text(&self, stream: Option<Stream>) -> String {
        text(&self.output.lock().lines, |of| stream.is_none_or(|stream| stream == of))
    }

    /// `kill -9`; returns when the child is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the child to end by itself and for the rest of its output.
    ///
    /// # Panics
    ///
    /// When it has not ended after [`READY_TIMEOUT`].
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + READY_TIMEOUT;
        let mut state = self.output.lock();
        while state.ended < 2 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                self.kill();
                panic!("{} did not end in time; it wrote:\n{}", self.name, self.text(None));
            }
            state = self
                .output
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        drop(state);
        self.child
            .wait()
            .unwrap_or_else(|error| panic!("{} cannot be waited for: {error}", self.name))
    }

    /// Sends the signal of that name (`TERM`, `INT` …).
    ///
    /// # Panics
    ///
    /// When the child is gone.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.id().to_string())
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "{} is gone already",
            self.name
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, OutputState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(self: &Arc<Self>, stream: Stream, pipe: impl Read + Send + 'static) {
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                output.lock().lines.push((stream, text));
                output.changed.notify_all();
                line.clear();
            }
            output.lock().ended += 1;
            output.changed.notify_all();
        });
    }
}

fn text(lines: &[(Stream, String)], wanted: impl Fn(Stream) -> bool) -> String {
    lines
        .iter()
        .filter(|(stream, _)| wanted(*stream))
        .map(|(_, line)| format!("{line}\n"))
        .collect()
}

/// The first loopback address in a line, as `http://127.0.0.1:PORT`.
#[must_use]
pub fn loopback_url(line: &str) -> Option<String> {
    let start = line.find("http://127.0.0.1:")?;
    let port: String = line[start + "http://127.0.0.1:".len()..]
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    (!port.is_empty() && port != "0").then(|| format!("http://127.0.0.1:{port}"))
}
