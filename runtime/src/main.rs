//! The binary: parses the command line, and decides how errors look and which exit code they mean.

use std::process::ExitCode;

use clap::Parser as _;
use nango_runtime::cli::{self, Cli, exit};

/// Of a request's instructions a quarter were glibc's `malloc` and `free`; this one takes a third of that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if exit::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit::code(&error);
            if json {
                eprintln!("{}", exit::error_json(&error, code));
            } else {
                eprint!("{}", exit::error_text(&error));
            }
            ExitCode::from(code)
        }
    }
}
