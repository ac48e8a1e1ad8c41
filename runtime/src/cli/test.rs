//! `nango-runtime test`: runs the fixtures of a project offline. Needs no server: the engine is in this program, and the fixture answers.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::output::{self, Output};
use super::waterfall::milliseconds;
use super::{block_on, build, difference};
use crate::recording::{Difference, Fixture};
use crate::runtime::Offline;

const SUFFIX: &str = ".test.json";
/// Folders in which no fixture of the project is.
const SKIPPED: [&str; 3] = ["target", "node_modules", ".git"];
/// How deep folders are looked through.
const DEPTH_MAX: usize = 8;

/// A fixture is FUNCTION.test.json or FUNCTION.CASE.test.json; `dryrun --save` and `replay --save` write them. Exit code 1 when one
/// fails.
#[derive(Debug, clap::Args)]
pub struct Test {
    /// A project, a folder of fixtures or one fixture
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Run this component instead of building the project
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Only fixtures whose name holds this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write into the fixtures what the functions do now
    #[arg(long)]
    update: bool,
    /// Write a report in JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// One fixture and what came of it.
struct Outcome {
    path: PathBuf,
    function: String,
    took_us: u64,
    differences: Vec<Difference>,
    /// Calls without an answer, or why it was not run.
    faults: Vec<String>,
    updated: bool,
}

impl Outcome {
    fn passed(&self) -> bool {
        self.faults.is_empty() && (self.differences.is_empty() || self.updated)
    }
}

pub fn run(test: &Test, output: Output) -> anyhow::Result<()> {
    let mut fixtures = Vec::new();
    find(&test.path, 0, &mut fixtures)?;
    fixtures.sort();
    if let Some(filter) = &test.filter {
        fixtures.retain(|path| path.to_string_lossy().contains(filter.as_str()));
    }
    if fixtures.is_empty() {
        bail!(
            "{} holds no fixture\nhint: `nango-runtime dryrun FUNCTION CONNECTION --save` makes one",
            test.path.display()
        );
    }
    let component = match &test.component {
        Some(path) => path.clone(),
        None => build::build_crate(&project(&test.path)?, None, output)?,
    };
    let component = std::fs::read(&component).with_context(|| format!("cannot read {}", component.display()))?;
    let outcomes = block_on(run_all(test, &component, &fixtures, output))?;
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    if let Some(path) = &test.junit {
        std::fs::write(path, junit(&outcomes)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if output.json {
        output::print_json(&report(&outcomes))?;
    } else {
        output::print(&format!("{} passed, {failed} failed", outcomes.len() - failed))?;
    }
    if failed > 0 {
        let hint = "`--update` writes what the functions do now into the fixtures, if that is what they should do";
        bail!("{failed} of {} fixtures failed\nhint: {hint}", outcomes.len());
    }
    Ok(())
}

async fn run_all(test: &Test, component: &[u8], fixtures: &[PathBuf], output: Output) -> anyhow::Result<Vec<Outcome>> {
    let offline = Offline::new()?;
    let manifest = offline.describe(component).await?;
    let mut outcomes = Vec::new();
    for path in fixtures {
        let function = function_of(path);
        let described = manifest.functions.iter().find(|it| it.name == function);
        let outcome = match described {
            Some(described) => run_one(test, &offline, component, path, &function, described.kind).await?,
            None => {
                let names: Vec<&str> = manifest.functions.iter().map(|it| it.name.as_str()).collect();
                Outcome {
                    path: path.clone(),
                    took_us: 0,
                    differences: Vec::new(),
                    faults: vec![format!(
                        "the component has no function {function:?}; it has {}",
                        names.join(", ")
                    )],
                    updated: false,
                    function,
                }
            }
        };
        if !output.json {
            output::print(&render(&outcome))?;
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn run_one(
    test: &Test,
    offline: &Offline,
    component: &[u8],
    path: &Path,
    function: &str,
    kind: crate::model::FunctionKind,
) -> anyhow::Result<Outcome> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut outcome = Outcome {
        path: path.to_owned(),
        function: function.to_owned(),
        took_us: 0,
        differences: Vec::new(),
        faults: Vec::new(),
        updated: false,
    };
    let mut fixture = match Fixture::parse(&text) {
        Ok(fixture) => fixture,
        Err(error) => {
            outcome.faults.push(error.to_string());
            return Ok(outcome);
        }
    };
    let played = offline.play(component, &fixture.recording(function, kind)).await?;
    outcome.took_us = u64::try_from(played.recording.duration_us).unwrap_or_default();
    outcome.faults = played.misses;
    outcome.differences = fixture.verdict(&played.recording).differences;
    if test.update && outcome.faults.is_empty() && !outcome.differences.is_empty() {
        fixture.expect(&played.recording);
        std::fs::write(path, fixture.to_text()).with_context(|| format!("cannot write {}", path.display()))?;
        outcome.updated = true;
    }
    Ok(outcome)
}

fn render(outcome: &Outcome) -> String {
    let word = match (outcome.passed(), outcome.updated) {
        (true, true) => "updated",
        (true, false) => "ok     ",
        (false, _) => "FAILED ",
    };
    let mut text = format!("{word} {}  {}\n", outcome.path.display(), milliseconds(outcome.took_us));
    for fault in &outcome.faults {
        text.push_str(&format!("  {fault}\n"));
    }
    if outcome.faults.is_empty() && !outcome.differences.is_empty() {
        text.push_str("  - expected, + found\n");
        text.push_str(&difference::render(&outcome.differences));
    }
    text
}

fn report(outcomes: &[Outcome]) -> Value {
    let tests = outcomes.iter().map(|outcome| {
        json!({
            "fixture": outcome.path, "function": outcome.function, "passed": outcome.passed(),
            "updated": outcome.updated, "duration_us": outcome.took_us,
            "differences": outcome.differences, "faults": outcome.faults,
        })
    });
    let tests: Vec<Value> = tests.collect();
    let passed = outcomes.iter().filter(|outcome| outcome.passed()).count();
    json!({"passed": passed, "failed": outcomes.len() - passed, "tests": tests})
}

/// The form that most CI systems read.
fn junit(outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"nango-runtime\" tests=\"{}\" failures=\"{failed}\">\n",
        outcomes.len()
    );
    for outcome in outcomes {
        let (name, class) = (escaped(&outcome.path.display().to_string()), escaped(&outcome.function));
        let (seconds, micros) = (outcome.took_us / 1_000_000, outcome.took_us % 1_000_000);
        xml.push_str(&format!(
            "  <testcase name=\"{name}\" classname=\"{class}\" time=\"{seconds}.{micros:06}\""
        ));
        if outcome.passed() {
            xml.push_str("/>\n");
        } else {
            let text = escaped(&render(outcome));
            xml.push_str(&format!(">\n    <failure>{text}</failure>\n  </testcase>\n"));
        }
    }
    xml.push_str("</testsuite>\n");
    xml
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// `issues` for `issues.test.json` and `issues.second-page.test.json`: a function's name has no dot.
fn function_of(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// The nearest folder that holds a crate.
fn project(path: &Path) -> anyhow::Result<PathBuf> {
    let full = path
        .canonicalize()
        .with_context(|| format!("{} is not there", path.display()))?;
    let found = full.ancestors().find(|folder| folder.join("Cargo.toml").is_file());
    found.map(Path::to_owned).with_context(|| {
        format!(
            "neither {} nor a folder above it holds a Cargo.toml\nhint: name a component that is built with --component",
            path.display()
        )
    })
}

fn find(path: &Path, depth: usize, fixtures: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path.is_file() {
        fixtures.push(path.to_owned());
        return Ok(());
    }
    if depth > DEPTH_MAX {
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read the folder {}", path.display()))?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let kind = entry
            .file_type()
            .with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_file() && name.ends_with(SUFFIX) {
            fixtures.push(path);
        } else if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            find(&path, depth + 1, fixtures)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixture_is_named_after_its_function() {
        assert_eq!(function_of(Path::new("a/create-issue.test.json")), "create-issue");
        assert_eq!(function_of(Path::new("issues.second-page.test.json")), "issues");
    }

    #[test]
    fn a_report_for_ci_is_well_formed() {
        let outcome = Outcome {
            path: "tests/a.test.json".into(),
            function: "a".into(),
            took_us: 1_234,
            differences: Vec::new(),
            faults: vec!["GET /x?<a> was not recorded".into()],
            updated: false,
        };
        let xml = junit(&[outcome]);
        assert!(
            xml.contains("failures=\"1\"") && xml.contains("GET /x?&lt;a&gt;") && xml.contains("time=\"0.001234\""),
            "{xml}"
        );
    }
}
