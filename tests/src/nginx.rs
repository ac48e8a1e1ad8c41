//! nginx, started with the configuration that a test or a bench gives: an upstream that limits, cuts and refuses as real ones
//! do, and the proxy that ours is compared with.

use std::path::Path;
use std::process::Command;

use crate::process::Process;
use crate::repository;
use crate::upstream::closed_port;

/// A running nginx of one process, so that nothing of it outlives its end. Dropping it stops it.
#[derive(Debug)]
pub struct Nginx {
    _process: Process,
    url: String,
}

impl Nginx {
    /// Starts it; `folder` is for its files. `http` goes into the block of that name, `server` into that of the one server,
    /// which listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When `scripts/test-deps nginx` has not brought it, or it refuses the configuration.
    #[must_use]
    pub fn start(folder: &Path, http: &str, server: &str) -> Self {
        let program = repository::require(repository::cache().join("nginx/usr/sbin/nginx"), "nginx");
        // nginx takes no port 0; this one was free a moment ago.
        let port = closed_port();
        let at = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .collect();
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {at}/nginx.pid;\nerror_log stderr notice;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n{temporary}access_log {at}/access.log;\n{http}\n\
             server {{\nlisten 127.0.0.1:{port};\n{server}\n}}\n}}\n"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, configuration).expect("the configuration can be written");
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(&file);
        let process = Process::start("nginx", &mut command);
        // Written once it listens.
        process.wait_for_line(|line| line.contains("OS: ").then_some(()));
        Self {
            _process: process,
            url: format!("http://127.0.0.1:{port}"),
        }
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}
