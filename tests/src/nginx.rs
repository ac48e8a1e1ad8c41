//! nginx, started with the configuration that a test or a bench gives: an upstream that limits, cuts and refuses as real ones
//! do, and the proxy that ours is compared with.

use std::path::Path;
use std::process::Command;

use crate::process::Process;
use crate::repository;
use crate::upstream::closed_port;

/// A running nginx. Dropping it stops it.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    url: String,
}

impl Nginx {
    /// Starts it as one process, of which nothing outlives its end; `folder` is for its files. `http` goes into the block of that name, `server` into that of the one server,
    /// which listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When `scripts/test-deps nginx` has not brought it, or it refuses the configuration.
    #[must_use]
    pub fn start(folder: &Path, http: &str, server: &str) -> Self {
        // The system's name is written once it listens.
        Self::with_processes(folder, "master_process off;", "OS: ", http, server)
    }

    /// As [`Nginx::start`], with a master and `workers` processes.
    ///
    /// # Panics
    ///
    /// As [`Nginx::start`].
    #[must_use]
    pub fn with_workers(folder: &Path, workers: usize, http: &str, server: &str) -> Self {
        let processes = format!("worker_processes {workers};");
        Self::with_processes(folder, &processes, "start worker process", http, server)
    }

    fn with_processes(folder: &Path, processes: &str, ready: &str, http: &str, server: &str) -> Self {
        let program = repository::require(repository::cache().join("nginx/usr/sbin/nginx"), "nginx");
        // nginx takes no port 0; this one was free a moment ago.
        let port = closed_port();
        let at = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .collect();
        let configuration = format!(
            "daemon off;\n{processes}\npid {at}/nginx.pid;\nerror_log stderr notice;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n{temporary}access_log {at}/access.log;\n{http}\n\
             server {{\nlisten 127.0.0.1:{port};\n{server}\n}}\n}}\n"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, configuration).expect("the configuration can be written");
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(&file);
        let process = Process::start("nginx", &mut command);
        process.wait_for_line(|line| line.contains(ready).then_some(()));
        Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
        }
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Nginx {
    /// A master that is killed leaves its workers behind; one that is asked to end takes them with it.
    fn drop(&mut self) {
        self.process.signal("TERM");
        self.process.wait();
    }
}
