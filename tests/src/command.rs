//! The other subcommands of the binary, run to their end.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::process::Process;
use crate::server::{SECRET_KEY, Server, clean_command};

/// A subcommand to run.
#[derive(Debug)]
pub struct Cli {
    command: Command,
    input: Vec<u8>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Cli {
    /// `nango-runtime ARGUMENTS`, as a client of `server`.
    #[must_use]
    pub fn of(server: &Server, arguments: &[&str]) -> Self {
        let mut cli = Self::new(arguments);
        cli.command
            .env("NANGO_HOSTPORT", server.base_url())
            .env("NANGO_SECRET_KEY", SECRET_KEY);
        cli.command.current_dir(server.folder());
        cli
    }

    /// `nango-runtime ARGUMENTS`, without a server and without settings.
    #[must_use]
    pub fn new(arguments: &[&str]) -> Self {
        let mut command = clean_command();
        command.args(arguments);
        Self {
            command,
            input: Vec::new(),
        }
    }

    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads from stdin.
    #[must_use]
    pub fn input(mut self, input: &str) -> Self {
        self.input = input.into();
        self
    }

    /// Starts it and lets it run; it is killed when dropped.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut self) -> Process {
        Process::start("nango-runtime", &mut self.command)
    }

    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn run(mut self) -> Ended {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("nango-runtime can be started");
        // A child that does not read its input may end first.
        let _ = child.stdin.take().expect("stdin is piped").write_all(&self.input);
        let output = child.wait_with_output().expect("nango-runtime ends");
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// Stdout as JSON.
    ///
    /// # Panics
    ///
    /// When it is none, or the command failed.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "stderr: {}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in stdout: {}", self.stdout))
    }

    #[must_use]
    pub fn snapshot(&self) -> Value {
        json!({"code": self.code, "stdout": self.stdout, "stderr": self.stderr})
    }
}
