//! Where things are: the repository, the cache that `scripts/test-deps` fills, and the built binary.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the repository")
        .to_path_buf()
}

/// What `scripts/test-deps` and `scripts/wasm-std` keep between runs.
#[must_use]
pub fn cache() -> PathBuf {
    let given = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    given("NANGO_CACHE_DIR").unwrap_or_else(|| {
        given("XDG_CACHE_HOME")
            .unwrap_or_else(|| given("HOME").expect("HOME is set").join(".cache"))
            .join("nango-runtime")
    })
}

/// The binary of the profile that the tests themselves were built with.
///
/// # Panics
///
/// When it has not been built.
#[must_use]
pub fn binary() -> PathBuf {
    let this = std::env::current_exe().expect("the running program has a path");
    // target/<profile>/deps/it-… for tests, target/<profile>/bench for the bench.
    let found = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("nango-runtime"))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "nango-runtime is not built beside {}; run `make test`, or `cargo build --workspace` first",
            this.display()
        )
    })
}

/// Gives `path` back if it is there.
///
/// # Panics
///
/// With the way to get it, when it is not.
#[must_use]
pub fn require(path: PathBuf, part: &str) -> PathBuf {
    assert!(
        path.exists(),
        "{} is missing; run `make test`, or `scripts/test-deps {part}` first",
        path.display()
    );
    path
}

/// The environment that a compiler of guests needs here, as `scripts/wasm-std` says.
///
/// # Panics
///
/// When the script fails.
#[must_use]
pub fn guest_compiler() -> Vec<(String, String)> {
    let script = root().join("scripts/wasm-std");
    let output = Command::new(&script).output().expect("scripts/wasm-std runs");
    assert!(
        output.status.success(),
        "scripts/wasm-std brings no standard library: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let exports = text
        .lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let mut variables: Vec<(String, String)> = exports
        .map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect();
    // Dependencies that the other guests have built are not built again.
    let target = root().join("target/guests");
    variables.push(("CARGO_TARGET_DIR".to_owned(), target.to_string_lossy().into_owned()));
    variables
}
