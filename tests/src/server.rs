//! `nango-runtime serve` on a data folder of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::client::Client;
use crate::process::{Process, Stream, loopback_url};
use crate::repository;
use crate::told;

/// The API key of every test server.
pub const SECRET_KEY: &str = "5d8b8e3c-6f0a-4b7e-9a51-0c2f4d6e8a10";

/// How to start a server.
///
/// ```no_run
/// # async fn example() {
/// let server = nango_runtime_tests::TestRuntime::new().egress_loopback().start();
/// server.client().get("/health").await;
/// # }
/// ```
#[derive(Debug, Default)]
pub struct TestRuntime {
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    data: Option<PathBuf>,
    provider_yaml: Option<String>,
    port: u16,
    file_bytes_max: Option<u64>,
}

/// A running server. Dropping it kills it, looks through its log for panics, and through log and database for secrets ([`told`]).
#[derive(Debug)]
pub struct Server {
    process: Process,
    base_url: String,
    data: PathBuf,
    /// Deletes the folders of this server, when they are its own.
    folders: TempDir,
}

impl TestRuntime {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Upstreams on loopback may be reached.
    #[must_use]
    pub fn egress_loopback(self) -> Self {
        self.argument("--egress-allow").argument("127.0.0.0/8")
    }

    /// One more argument of `serve`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Providers besides those that ship with the binary.
    #[must_use]
    pub fn provider_yaml(mut self, yaml: &str) -> Self {
        self.provider_yaml = Some(yaml.to_owned());
        self
    }

    /// A port instead of any that is free: for a server that comes back where it was.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// As on a disk that is full: no file can grow beyond this. [`Server::free_disk`] ends it.
    #[must_use]
    pub fn full_disk(mut self, file_bytes_max: u64) -> Self {
        self.file_bytes_max = Some(file_bytes_max);
        self
    }

    /// A data folder that outlives the server.
    #[must_use]
    pub fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_owned());
        self
    }

    /// Starts it and waits until it says where it listens.
    ///
    /// # Panics
    ///
    /// When it ends before, or the binary is not built.
    #[must_use]
    pub fn start(self) -> Server {
        let (command, data, folders) = self.command();
        let process = start(command);
        let base_url = process.wait_for_line(loopback_url);
        Server {
            process,
            base_url,
            data,
            folders,
        }
    }

    /// Starts it, expecting that it ends by itself: gives its exit code and what it wrote to stderr.
    ///
    /// # Panics
    ///
    /// When it goes on running.
    #[must_use]
    pub fn fail(self) -> (Option<i32>, String) {
        let (command, _, _folders) = self.command();
        let mut process = start(command);
        let status = process.wait();
        (status.code(), process.text(Some(Stream::Stderr)))
    }

    fn command(self) -> (Command, PathBuf, TempDir) {
        let folders = TempDir::with_prefix("nango-runtime-test-").expect("a temporary folder can be made");
        let data = self.data.unwrap_or_else(|| folders.path().join("data"));
        let mut command = clean_command();
        if let Some(bytes) = self.file_bytes_max {
            // Units of 512 bytes (POSIX). The signal that comes with the error would end the process.
            let script = format!(r#"trap "" XFSZ; ulimit -S -f {}; exec "$@""#, bytes / 512);
            let program = command.get_program().to_owned();
            let mut limited = Command::new("sh");
            limited.args(["-c", &script, "sh"]).arg(program);
            for (name, _) in command.get_envs() {
                limited.env_remove(name);
            }
            command = limited;
        }
        let listen = format!("127.0.0.1:{}", self.port);
        command.args(["serve", "--listen", &listen, "--data"]).arg(&data);
        command.current_dir(folders.path()).env("NANGO_SECRET_KEY", SECRET_KEY);
        if let Some(yaml) = self.provider_yaml {
            let file = folders.path().join("providers.yaml");
            std::fs::write(&file, yaml).expect("the provider file can be written");
            command.arg("--providers").arg(file);
        }
        command.args(self.arguments).envs(self.environment);
        (command, data, folders)
    }
}

/// The binary without any setting of the surrounding environment.
#[must_use]
pub fn clean_command() -> Command {
    let mut command = Command::new(repository::binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NANGO_") {
            command.env_remove(name);
        }
    }
    command
}

fn start(mut command: Command) -> Process {
    Process::start("nango-runtime serve", &mut command)
}

impl Server {
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.base_url, Some(SECRET_KEY))
    }

    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A folder for files of the test, deleted with the server.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folders.path()
    }

    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// All it has written to stdout and stderr.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.text(None)
    }

    /// Ends [`TestRuntime::full_disk`].
    ///
    /// # Panics
    ///
    /// When `prlimit` of util-linux is missing or fails.
    pub fn free_disk(&self) {
        let status = Command::new("prlimit")
            .args(["--fsize=unlimited:unlimited", "--pid"])
            .arg(self.process.id().to_string())
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "prlimit (util-linux) is needed and must work"
        );
    }

    /// Resident memory now, in bytes.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most resident memory since the last [`Server::forget_peak`], in bytes.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    pub fn peak_resident_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Starts [`Server::peak_resident_bytes`] anew.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    pub fn forget_peak(&self) {
        // proc(5): 5 resets the high water mark.
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").expect("the server runs");
    }

    /// CPU time so far, user and system.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.process.id().to_string())
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kilobytes.expect("the kernel gives a number of kB") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill();
        if !std::thread::panicking() {
            let log = self.log();
            assert!(!log.contains("panicked at"), "the server panicked; it wrote:\n{log}");
            told::none_left(&log, &self.data);
        } else {
            eprintln!("--- the server wrote:\n{}", self.log());
        }
    }
}

/// CPU time of a process (`self` for this one) so far, user and system.
///
/// # Panics
///
/// When there is no such process.
#[must_use]
pub fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The name in parentheses may hold blanks; `utime` and `stime` are the 12th and 13th field after it, in ticks of 10 ms.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number of ticks");
    (ticks(11) + ticks(12)) / 100.0
}
