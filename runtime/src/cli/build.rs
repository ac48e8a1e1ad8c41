//! `nango-runtime build`: from a crate of functions to a component. Compiles with cargo, then wraps the core module as a
//! component; the module says itself what it imports and exports. Needs no server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use wit_component::ComponentEncoder;

use super::output::{self, Output};

const TARGET: &str = "wasm32-unknown-unknown";
const RUSTFLAGS_VARIABLE: &str = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS";
/// A small stack, and memory for a heap from the start: a fresh instance then needs no growing.
const LINK_FLAGS: &str = "-Clink-args=-zstack-size=262144 -Clink-args=--initial-memory=1048576";

/// Compiles for wasm32-unknown-unknown and writes target/functions/NAME.wasm below the crate's target directory.
#[derive(Debug, clap::Args)]
pub struct Build {
    /// Folder of the crate
    #[arg(default_value = ".", conflicts_with = "component_from")]
    dir: PathBuf,
    /// Where to write the component
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only wrap this core module, whatever compiled it
    #[arg(long, value_name = "MODULE", requires = "output")]
    component_from: Option<PathBuf>,
}

pub fn run(build: &Build, output: Output) -> anyhow::Result<()> {
    let component = match (&build.component_from, &build.output) {
        (Some(module), Some(path)) => wrap(module, path)?,
        (Some(_) | None, path) => build_crate(&build.dir, path.as_deref(), output)?,
    };
    if output.json {
        output::print_json(&json!({"component": component}))?;
    } else {
        output::print(&component.display().to_string())?;
    }
    Ok(())
}

/// Builds the crate in `dir` and gives the path of its component.
pub fn build_crate(dir: &Path, path: Option<&Path>, output: Output) -> anyhow::Result<PathBuf> {
    if !dir.join("Cargo.toml").is_file() {
        bail!(
            "{} holds no Cargo.toml\nhint: `build` and `deploy` take the folder of a crate of functions",
            dir.display()
        );
    }
    output.note(&format!("compiling {} for {TARGET}", dir.display()));
    let module = compile(dir)?;
    let path = match path {
        Some(path) => path.to_owned(),
        None => default_path(&module).with_context(|| format!("{} is not in a target folder", module.display()))?,
    };
    wrap(&module, &path)
}

/// Runs cargo, whose messages for people go to stderr, and gives the path of the module it made.
fn compile(dir: &Path) -> anyhow::Result<PathBuf> {
    let flags = match std::env::var(RUSTFLAGS_VARIABLE) {
        Ok(flags) => format!("{flags} {LINK_FLAGS}"),
        Err(_) => LINK_FLAGS.to_owned(),
    };
    let cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(dir)
        .env(RUSTFLAGS_VARIABLE, flags)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo\nhint: install Rust with rustup")?;
    if !cargo.status.success() {
        if !has_std(dir) {
            bail!(
                "the standard library for {TARGET} is missing\nhint: rustup target add {TARGET} (or, where rustup cannot download, eval \"$(scripts/wasm-std)\" of the nango-runtime repository)"
            );
        }
        bail!("cargo could not build {}", dir.display());
    }
    match modules(&String::from_utf8_lossy(&cargo.stdout)).as_slice() {
        [module] => Ok(module.clone()),
        [] => bail!(
            "{} has no library that becomes a component\nhint: its Cargo.toml needs [lib] with crate-type = [\"cdylib\"]",
            dir.display()
        ),
        modules => bail!(
            "{} has {} crates of functions, but a component is made from one\nhint: run this in the folder of one of them",
            dir.display(),
            modules.len()
        ),
    }
}

/// Paths of the modules in cargo's JSON messages.
fn modules(messages: &str) -> Vec<PathBuf> {
    let artifacts = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    artifacts
        .filter(|message| {
            message
                .get("reason")
                .is_some_and(|reason| reason == "compiler-artifact")
        })
        .filter(|message| {
            output::list_at(message, "/target/crate_types")
                .iter()
                .any(|kind| kind == "cdylib")
        })
        .filter_map(|message| {
            let files = output::list_at(&message, "/filenames").iter().filter_map(Value::as_str);
            files
                .map(PathBuf::from)
                .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        })
        .collect()
}

/// Whether the compiler finds a standard library for the target by itself.
fn has_std(dir: &Path) -> bool {
    if std::env::var(RUSTFLAGS_VARIABLE).is_ok_and(|flags| flags.contains("--sysroot")) {
        return true;
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(dir)
        .output();
    printed.is_ok_and(|printed| Path::new(String::from_utf8_lossy(&printed.stdout).trim()).is_dir())
}

/// `<target>/functions/<name>.wasm` for `<target>/wasm32-unknown-unknown/release/<name>.wasm`.
fn default_path(module: &Path) -> Option<PathBuf> {
    let name = module.file_name()?.to_str()?.replace('_', "-");
    Some(module.ancestors().nth(3)?.join("functions").join(name))
}

fn wrap(module: &Path, path: &Path) -> anyhow::Result<PathBuf> {
    let bytes = std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = encode(&bytes).with_context(|| {
        format!(
            "{} cannot become a component; was it built with the guest SDK?",
            module.display()
        )
    })?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    // Renamed into place, so that nobody reads half a component.
    let unfinished = path.with_extension("wasm.tmp");
    std::fs::write(&unfinished, component)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.to_owned())
}

fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default().validate(true).module(module)?.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_among_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"crate_types":["lib"]},"filenames":["/t/libserde.rlib"]}
{"reason":"compiler-artifact","target":{"crate_types":["cdylib"]},"filenames":["/t/wasm32-unknown-unknown/release/my_functions.wasm"]}
{"reason":"build-finished","success":true}
no JSON"#;
        let expected = PathBuf::from("/t/wasm32-unknown-unknown/release/my_functions.wasm");
        assert_eq!(modules(messages), std::slice::from_ref(&expected));
        assert_eq!(
            default_path(&expected).unwrap(),
            PathBuf::from("/t/functions/my-functions.wasm")
        );
    }

    #[test]
    fn what_is_no_core_module_is_refused() {
        assert!(encode(b"hello").is_err());
    }
}
