//! House rules as tests: walls, file length, words, and that nothing is left untested or unbuilt.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nango_runtime_tests::repository;

/// Lines of a source file at most.
const FILE_LINES_MAX: usize = 600;

/// A module of the runtime and the others it may use. `model` and `clock` are open to all. What is not named here is no
/// module.
const WALLS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &[]),
    ("schema", &["model"]),
    ("encryption", &["credentials"]),
    ("provider", &["credentials"]),
    ("credentials", &[]),
    ("spelling", &[]),
    // `recording` and `schema` for the plain words that say which runs get one, and what is checked.
    ("config", &["credentials", "recording", "schema", "spelling"]),
    ("telemetry", &["config"]),
    ("metrics", &[]),
    ("store", &[]),
    ("logs", &["store"]),
    ("redaction", &["credentials"]),
    // `credentials` for the one type that a key is.
    ("records", &["store", "encryption", "credentials", "logs"]),
    // Plain data: what runs leave when they are taped, and fixtures.
    ("recording", &["spelling"]),
    ("recordings", &["recording", "store", "encryption"]),
    (
        "connections",
        // `variables` for the secrets that a run knows besides those of its connection.
        &[
            "store",
            "provider",
            "credentials",
            "encryption",
            "redaction",
            "variables",
        ],
    ),
    ("egress", &[]),
    (
        "oauth",
        &[
            "store",
            "connections",
            "provider",
            "credentials",
            "egress",
            "logs",
            "signing",
            "webhooks",
            // Its tests make connections whose secrets are sealed.
            "encryption",
        ],
    ),
    ("signing", &["provider", "credentials"]),
    (
        "proxy",
        &[
            "signing",
            "connections",
            "provider",
            "credentials",
            "oauth",
            "egress",
            "logs",
            "metrics",
            "redaction",
        ],
    ),
    (
        "connect",
        &[
            "store",
            "connections",
            "provider",
            "credentials",
            "encryption",
            "oauth",
            "proxy",
            "logs",
            "webhooks",
            // Its tests make a proxy, which counts.
            "metrics",
        ],
    ),
    (
        "authorize",
        &[
            "store",
            "connections",
            "connect",
            "provider",
            "credentials",
            "encryption",
            "oauth",
            "logs",
            // Its tests make a proxy, which counts.
            "proxy",
            "metrics",
        ],
    ),
    (
        "deletion",
        &[
            "store",
            "connections",
            "credentials",
            "oauth",
            "logs",
            // Its tests make connections whose secrets are sealed, of providers of their own, and webhooks that nobody hears.
            "encryption",
            "webhooks",
            "provider",
        ],
    ),
    ("engine", &[]),
    (
        "host",
        &[
            "engine",
            "proxy",
            "connections",
            "records",
            "recording",
            "logs",
            "store",
            "config",
            "schema",
            "variables",
            // For the mask, and the type that what it hides has.
            "redaction",
            "credentials",
        ],
    ),
    // It hands proxy, records and variables to the host and calls none of them.
    (
        "executor",
        &[
            "engine",
            "host",
            "store",
            "logs",
            "connections",
            "config",
            "proxy",
            "records",
            "recording",
            "recordings",
            "metrics",
            "schema",
            "variables",
        ],
    ),
    (
        "deploy",
        &[
            "engine",
            "executor",
            "store",
            "connections",
            "credentials",
            "schema",
            "config",
            "spelling",
        ],
    ),
    ("data_dir", &[]),
    // `credentials` for the one type that a key is.
    ("rotation", &["store", "encryption", "credentials"]),
    ("variables", &["store", "encryption", "credentials", "redaction"]),
    // `credentials` for the one type that a key is.
    ("webhooks", &["store", "egress", "encryption", "credentials", "logs"]),
    (
        "ingress",
        &[
            "claimer",
            "executor",
            "authorize",
            "store",
            "connections",
            "provider",
            "credentials",
            "encryption",
            "config",
            "logs",
            "webhooks",
        ],
    ),
    ("claimer", &["store"]),
    (
        "actions",
        &["claimer", "executor", "store", "connections", "config", "webhooks"],
    ),
    (
        "scheduler",
        &[
            "claimer",
            "executor",
            "store",
            "deploy",
            "connections",
            "config",
            "logs",
            "webhooks",
        ],
    ),
    // `records` for the one form in which a record is shown.
    ("http", &["runtime", "config", "records"]),
    ("cli", &["runtime", "http", "config", "credentials", "telemetry"]),
];

/// Modules that may name what others let through: the composition root, and the two edges, which map errors.
const ROOT: &[&str] = &["runtime", "lib", "main"];

/// A crate and the modules that may use it.
const OWNERS: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("wasmtime", &["engine", "host", "executor"]),
    ("reqwest", &["oauth", "webhooks", "cli"]),
    ("axum", &["http"]),
    ("clap", &["cli", "main"]),
    ("anyhow", &["cli", "main"]),
    ("prometheus_client", &["metrics"]),
];

/// What does the work of a part. The edges may name the plain types that the API of `Runtime` speaks of, but none of these.
const DOERS: &[&str] = &[
    "Store",
    "OAuth",
    "Connect",
    "Proxy",
    "Engine",
    "Connections",
    "Records",
    "Logs",
    "Executor",
    "Keyring",
    "Rotation",
    "Variables",
    "Scheduler",
    "Webhooks",
    "Ingress",
    "Actions",
    "Claimer",
    "*",
];

fn is_plain(path: &str) -> bool {
    path.rsplit("::")
        .next()
        .is_some_and(|name| name.starts_with(char::is_uppercase) && !DOERS.contains(&name))
}

#[test]
fn walls_stand() {
    let mut faults = Vec::new();
    for file in runtime_sources() {
        let module = module_of(&file);
        let text = std::fs::read_to_string(&file).expect("a source file can be read");
        let place = |used: &str| format!("{}: `{module}` uses `{used}`", relative(&file));
        for (name, owners) in OWNERS {
            if crate_paths(&text, name) && !owners.contains(&module.as_str()) {
                faults.push(format!("{}; it belongs to {}", place(name), owners.join(", ")));
            }
        }
        if ROOT.contains(&module.as_str()) {
            continue;
        }
        let Some((_, allowed)) = WALLS.iter().find(|(name, _)| *name == module) else {
            faults.push(format!(
                "{}: the module `{module}` is in no row of the table of walls",
                relative(&file)
            ));
            continue;
        };
        for path in paths_in_crate(&text) {
            let used = path.split("::").next().unwrap_or_default();
            let known = WALLS.iter().any(|(name, _)| *name == used) || used == "runtime";
            let open = ["model", "clock"].contains(&used) || used == module;
            let edge = ["http", "cli"].contains(&module.as_str()) && is_plain(&path);
            if known && !open && !edge && !allowed.contains(&used) {
                faults.push(place(&format!("crate::{path}")));
            }
        }
    }
    assert!(faults.is_empty(), "walls (see ARCHITECTURE.md):\n{}", faults.join("\n"));
}

#[test]
fn the_wall_reader_sees_through_groups() {
    let text = "use crate::a::{B, c::{D, E}};\nuse crate::{f, g::H};\nlet x = crate::i::J::new();";
    let expected = ["a::B", "a::c::D", "a::c::E", "f", "g::H", "i::J::new"];
    assert_eq!(paths_in_crate(text), expected.map(str::to_owned).into());
}

/// Bindings are made from `wit/`; a test of the guest SDK compares them.
fn is_generated(file: &Path) -> bool {
    file.ends_with("guest-sdk/src/bindings.rs")
}

#[test]
fn files_are_short() {
    let sources = tracked(&["*.rs"]);
    let sources: Vec<_> = sources.into_iter().filter(|file| !is_generated(file)).collect();
    let mut total = 0;
    let mut faults = Vec::new();
    for file in &sources {
        let lines = std::fs::read_to_string(file)
            .expect("a source file can be read")
            .lines()
            .count();
        total += lines;
        if lines > FILE_LINES_MAX {
            faults.push(format!("{}: {lines} lines, {FILE_LINES_MAX} at most", relative(file)));
        }
    }
    println!("{total} lines of Rust in {} files", sources.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_say_what_they_are_for() {
    let faults: Vec<String> = tracked(&["runtime/src/*.rs", "guest-sdk/*.rs", "tests/src/*.rs", "tests/it/*.rs"])
        .iter()
        .filter(|file| !is_generated(file))
        .filter(|file| !std::fs::read_to_string(file).is_ok_and(|text| text.starts_with("//!")))
        .map(|file| relative(file))
        .collect();
    assert!(faults.is_empty(), "these begin without `//!`:\n{}", faults.join("\n"));
}

#[test]
fn no_machine_and_no_registry_is_named() {
    // Put together here so that this file does not trip over itself.
    let words = [
        "/ro\0ot/",
        "/wo\0rk/",
        "artif\0actory",
        "registry.npm\0js.org",
        "\"reso\0lved\": \"http",
    ];
    let words = words.map(|word| word.replace('\0', ""));
    let mut faults = Vec::new();
    for file in tracked(&["*"]) {
        // What is no text names nothing.
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        for word in &words {
            if let Some(line) = text.lines().position(|line| line.contains(word.as_str())) {
                faults.push(format!("{}:{}: {word}", relative(&file), line + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_guest_has_a_test() {
    let tests: String = files_in(&repository::root().join("tests/it"))
        .iter()
        .filter(|file| file.file_name().is_some_and(|name| name != "tidy.rs"))
        .map(|file| std::fs::read_to_string(file).expect("a source file can be read"))
        .collect();
    for file in tracked(&["tests/guests/*Cargo.toml", "tests/guests/wat/*.wat"]) {
        let name = if file.extension().is_some_and(|extension| extension == "wat") {
            file.file_stem().map(|stem| stem.to_string_lossy().into_owned())
        } else {
            let manifest = std::fs::read_to_string(&file).expect("a manifest can be read");
            manifest
                .lines()
                .find_map(|line| Some(line.strip_prefix("name = \"")?.trim_end_matches('"').to_owned()))
        };
        // The manifest of the workspace names no guest.
        let Some(name) = name else { continue };
        assert!(tests.contains(&format!("\"{name}\"")), "no test uses the guest {name}");
    }
}

#[test]
fn every_example_is_built() {
    let root = repository::root();
    let built: String = ["Cargo.toml", "Makefile", "scripts/test-deps"]
        .iter()
        .map(|file| std::fs::read_to_string(root.join(file)).unwrap_or_default())
        .collect();
    for folder in crates_in("examples") {
        let path = relative(&folder);
        assert!(
            built.contains(&path),
            "{path} is built by neither the workspace nor `make test`"
        );
    }
}

#[test]
fn commands_in_the_readme_exist() {
    let root = repository::root();
    let makefile = std::fs::read_to_string(root.join("Makefile")).expect("there is a Makefile");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("there is a README.md");
    for target in readme
        .split("make ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next())
    {
        // Prose uses the word too: only what stands in code counts.
        let in_code = readme.contains(&format!("`make {target}`")) || readme.contains(&format!("\nmake {target}"));
        let known = makefile
            .lines()
            .any(|line| line.starts_with(&format!("{target}:")) || line.starts_with(&format!("{target} ")));
        assert!(
            !in_code || known,
            "README.md says `make {target}`, which the Makefile does not know"
        );
    }
}

/// Whether code names the crate: `use sqlx::…`, `sqlx::query`, `use axum;`.
fn crate_paths(text: &str, name: &str) -> bool {
    text.lines().map(code).any(|line| {
        line.match_indices(name).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = &line[at + name.len()..];
            let starts = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '"' || c == '.');
            starts && (after.starts_with("::") || (line.trim_start().starts_with("use ") && after.starts_with(';')))
        })
    })
}

/// All paths below `crate::`, groups of `use` spelled out.
fn paths_in_crate(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().map(|line| format!("{}\n", code(line))).collect();
    let mut paths = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        spell_out("", &code[at + start.len()..], &mut paths);
    }
    paths
}

/// Reads one path or group at the beginning of `rest`; gives what follows it.
fn spell_out<'a>(prefix: &str, rest: &'a str, paths: &mut BTreeSet<String>) -> &'a str {
    let rest = rest.trim_start();
    if let Some(mut rest) = rest.strip_prefix('{') {
        loop {
            rest = spell_out(prefix, rest, paths).trim_start();
            rest = match rest.strip_prefix(',') {
                Some(rest) => rest.trim_start(),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            };
            if let Some(rest) = rest.strip_prefix('}') {
                return rest;
            }
        }
    }
    let end = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*'))
        .unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let path = if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}::{name}")
    };
    if let Some(rest) = rest.strip_prefix("::")
        && !rest.starts_with('<')
    {
        return spell_out(&path, rest, paths);
    }
    if !name.is_empty() {
        paths.insert(path);
    }
    rest
}

/// The line without its comment.
fn code(line: &str) -> &str {
    line.find("//").map_or(line, |at| &line[..at])
}

/// `proxy` for `runtime/src/proxy/retry.rs` and `runtime/src/proxy.rs`.
fn module_of(file: &Path) -> String {
    let path = relative(file);
    let path = path.trim_start_matches("runtime/src/");
    path.split('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".rs")
        .to_owned()
}

fn relative(file: &Path) -> String {
    file.strip_prefix(repository::root())
        .unwrap_or(file)
        .to_string_lossy()
        .into_owned()
}

fn runtime_sources() -> Vec<PathBuf> {
    files_in(&repository::root().join("runtime/src"))
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// Files git knows or would take, so that nothing built is looked at.
fn tracked(patterns: &[&str]) -> Vec<PathBuf> {
    let root = repository::root();
    let mut git = std::process::Command::new("git");
    git.current_dir(&root)
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--"])
        .args(patterns);
    let output = git.output().expect("git lists files");
    assert!(
        output.status.success(),
        "git cannot list files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    names
        .lines()
        .map(|name| root.join(name))
        .filter(|file| file.is_file())
        .collect()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Folders with a manifest of a crate right below `folder`.
fn crates_in(folder: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(repository::root().join(folder)) else {
        return Vec::new();
    };
    let folders = entries.map(|entry| entry.expect("a folder can be listed").path());
    folders.filter(|folder| folder.join("Cargo.toml").is_file()).collect()
}
