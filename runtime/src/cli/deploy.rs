//! `nango-runtime deploy`: sends components to the server, which checks them and makes their functions active, all at once.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::functions::versions;
use super::input::InputError;
use super::output::{self, Output, list_at, text_at};
use super::signing::SigningKey;
use super::{block_on, build, client};

/// What the server refuses changes nothing.
#[derive(Debug, clap::Args)]
pub struct Deploy {
    /// A component (.wasm), or the folder of a crate of functions, which is built first; without --integration a folder with one
    /// folder for each integration, named as it is and holding components or a crate
    path: PathBuf,
    /// The integration whose functions they are
    #[arg(long, value_name = "KEY")]
    integration: Option<String>,
    /// Only show what would change
    #[arg(long)]
    plan: bool,
    /// What functions may be able to do from now on: those that are deployed all that is new, such as requests:POST, new ones `token` and
    /// `fetch:HOST` (`fetch` for any host); `all` for everything
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    allow: Vec<String>,
    /// Go on when functions, models or the like are lost
    #[arg(long)]
    allow_destructive: bool,
    /// Remove the functions of the same integrations that are in none of the components
    #[arg(long)]
    prune: bool,
    /// Let only so many percent of the connections run it at first, 1 to 99
    #[arg(long, value_name = "PERCENT", conflicts_with = "prune")]
    canary: Option<i64>,
    /// Roll it back when more than so many percent of a function's runs fail [default: 10]
    #[arg(long, value_name = "PERCENT", requires = "canary")]
    canary_errors: Option<i64>,
    /// Make it active for all after so many minutes [default: 60]
    #[arg(long, value_name = "MINUTES", requires = "canary")]
    canary_minutes: Option<i64>,
    /// Sign with this Ed25519 private key (PEM), for servers that have `deploy_keys`
    #[arg(long, value_name = "FILE", env = "NANGO_SIGNING_KEY_FILE")]
    signing_key: Option<PathBuf>,
}

/// A component, or the folder of a crate that becomes one, and where its functions belong.
struct Found {
    integration: String,
    path: PathBuf,
}

pub fn run(deploy: &Deploy, output: Output) -> anyhow::Result<()> {
    // Before a build that may take minutes.
    let client = client()?;
    let key = deploy.signing_key.as_deref().map(SigningKey::read).transpose()?;
    let found = match &deploy.integration {
        Some(integration) => vec![Found {
            integration: integration.clone(),
            path: deploy.path.clone(),
        }],
        None => of_folder(&deploy.path)?,
    };
    let mut components = Vec::with_capacity(found.len());
    for Found { integration, path } in found {
        let path = component_at(&path, output)?;
        let name = path.display().to_string();
        let bytes = std::fs::read(&path).map_err(|source| InputError::File {
            what: "the component",
            path,
            source,
        })?;
        let signature = key.as_ref().map(|key| key.sign(&bytes)).transpose()?;
        let component = STANDARD.encode(&bytes);
        let component =
            json!({"integration": integration, "name": name, "component": component, "signature": signature});
        components.push(component);
    }
    let request = client.request(Method::POST, &["deployments"]).json(&json!({
        "components": components, "plan": deploy.plan, "allow": deploy.allow,
        "allow_destructive": deploy.allow_destructive, "prune": deploy.prune, "canary": deploy.canary,
        "canary_errors": deploy.canary_errors, "canary_minutes": deploy.canary_minutes,
    }));
    let answer = block_on(async { Ok(request.answer().await?) })?;
    output.show(&answer, if deploy.plan { plan } else { report })?;
    Ok(())
}

fn component_at(path: &Path, output: Output) -> anyhow::Result<PathBuf> {
    if path.is_dir() {
        build::build_crate(path, None, output)
    } else {
        Ok(path.to_owned())
    }
}

/// What the folders of a folder hold, by name; looked at as a whole before anything is built.
fn of_folder(folder: &Path) -> anyhow::Result<Vec<Found>> {
    let (mut found, mut empty, mut loose) = (Vec::new(), Vec::new(), Vec::new());
    for path in entries(folder)? {
        if is_component(&path) {
            loose.push(path.display().to_string());
        }
        if !path.is_dir() || is_passed_over(&path) {
            continue;
        }
        let integration = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let paths = if path.join("Cargo.toml").is_file() {
            vec![path.clone()]
        } else {
            entries(&path)?.into_iter().filter(|path| is_component(path)).collect()
        };
        if paths.is_empty() {
            empty.push(path.display().to_string());
        }
        found.extend(paths.into_iter().map(|path| Found {
            integration: integration.clone(),
            path,
        }));
    }
    if found.is_empty() {
        bail!(
            "{} holds no folder with components or a crate\nhint: name the integration with --integration to deploy one component or \
             crate; a folder of several has a folder for each integration, such as github/issues.wasm",
            folder.display()
        );
    }
    if !empty.is_empty() {
        bail!(
            "no component (*.wasm) and no crate is in {}; nothing was deployed\nhint: each folder in {} is an integration's: put its functions \
             right into it, or take it away; only folders whose names begin with a dot, and cargo's `target`, are passed over",
            empty.join(", "),
            folder.display()
        );
    }
    if !loose.is_empty() {
        bail!(
            "{} is in no integration's folder; nothing was deployed\nhint: move it into the folder that is named as its integration, or \
             deploy it alone, with --integration",
            loose.join(", ")
        );
    }
    Ok(found)
}

fn is_component(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "wasm") && path.is_file()
}

/// Of tools, such as `.git`; and what cargo builds into, which it marks.
fn is_passed_over(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || folder.join("CACHEDIR.TAG").is_file()
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("the folder {} cannot be read", folder.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        entries.push(entry.with_context(unreadable)?.path());
    }
    entries.sort();
    Ok(entries)
}

fn report(answer: &Value) -> String {
    let deployments = list_at(answer, "/deployments").iter().map(|deployment| {
        let functions = list_at(deployment, "/functions");
        let rows: Vec<[String; 3]> = functions
            .iter()
            .map(|function| {
                let [name, kind] = ["/name", "/type"].map(|at| text_at(function, at));
                [name, kind, versions(function)]
            })
            .collect();
        let is_new = deployment.get("changed") != Some(&Value::from(0));
        format!(
            "{} {}: {} (sha256 {})\n\n{}\n{}",
            if is_new { "Deployed to" } else { "Nothing new for" },
            text_at(deployment, "/integration"),
            count(rows.len(), "function"),
            text_at(deployment, "/digest"),
            output::table(["function", "type", "version"], &rows, "No functions"),
            manifest(deployment),
        )
    });
    deployments.collect::<Vec<_>>().join("\n")
}

fn plan(answer: &Value) -> String {
    let mut text = String::new();
    let mut changes = 0;
    for integration in list_at(answer, "/integrations") {
        let functions = list_at(integration, "/functions");
        changes += functions.iter().filter(|it| text_at(it, "/change") != "keep").count();
        let rows: Vec<[String; 4]> = functions
            .iter()
            .map(|function| {
                let about = ["/losses", "/differences"]
                    .into_iter()
                    .flat_map(|at| list_at(function, at));
                let about: Vec<&str> = about.filter_map(Value::as_str).collect();
                let [name, kind, change] = ["/name", "/type", "/change"].map(|at| text_at(function, at));
                [name, kind, change, about.join("; ")]
            })
            .collect();
        text.push_str(&format!(
            "{}\n\n{}\n{}",
            text_at(integration, "/integration"),
            output::table(["function", "type", "change", "what"], &rows, "No functions"),
            manifest(integration),
        ));
        let gained: Vec<&str> = list_at(integration, "/gained")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        if !gained.is_empty() {
            text.push_str(&format!("To be allowed: --allow {}\n", gained.join(",")));
        }
        let is_destructive = functions
            .iter()
            .any(|function| !list_at(function, "/losses").is_empty());
        if is_destructive {
            text.push_str("Something is lost: --allow-destructive\n");
        }
        text.push('\n');
    }
    if let Some(canary) = answer.get("canary") {
        text.push_str(&tried(canary));
    }
    text.push_str(&match changes {
        0 => "Nothing would change.\n".to_owned(),
        changes => format!("{} would change; nothing was changed.\n", count(changes, "function")),
    });
    text
}

/// Which connections a canary would be for, and how it would end.
fn tried(canary: &Value) -> String {
    let [percent, errors_percent, minutes] =
        ["percent", "errors_percent", "minutes"].map(|name| canary.get(name).unwrap_or(&Value::Null));
    format!(
        "A canary: at first {percent} % of the connections would run what is updated, after {minutes} minutes all of them; \
         when more than {errors_percent} % of a function's runs fail, none.\n"
    )
}

fn manifest(about: &Value) -> String {
    let sentences: Vec<&str> = list_at(about, "/manifest").iter().filter_map(Value::as_str).collect();
    format!("The code {}.\n", sentences.join("; "))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deploy_says_what_is_active_and_what_it_can_do() {
        let answer = json!({"deployments": [{
            "integration": "github",
            "digest": "abc",
            "functions": [{"name": "whoami", "type": "action", "version": 2}],
            "manifest": ["may GET through github", "cannot read tokens"],
        }]});
        let expected = "\
Deployed to github: 1 function (sha256 abc)

FUNCTION  TYPE    VERSION
whoami    action  2

The code may GET through github; cannot read tokens.
";
        assert_eq!(report(&answer), expected);
        let mut again = answer;
        again["deployments"][0]["changed"] = json!(0);
        assert!(report(&again).starts_with("Nothing new for github: 1 function (sha256 abc)"));
    }

    #[test]
    fn a_plan_says_what_would_change_and_what_it_takes() {
        let answer = json!({"integrations": [{
            "integration": "github",
            "functions": [
                {"name": "issues", "type": "sync", "change": "update", "differences": ["its output is another"], "losses": ["the model A is removed"]},
                {"name": "whoami", "type": "action", "change": "keep", "differences": [], "losses": []},
            ],
            "manifest": ["may GET and POST through github"],
            "gained": ["requests:POST"],
        }]});
        let expected = "\
github

FUNCTION  TYPE    CHANGE  WHAT
issues    sync    update  the model A is removed; its output is another
whoami    action  keep

The code may GET and POST through github.
To be allowed: --allow requests:POST
Something is lost: --allow-destructive

1 function would change; nothing was changed.
";
        assert_eq!(plan(&answer), expected);
        let mut tried = answer;
        tried["canary"] = json!({"percent": 10, "errors_percent": 5, "minutes": 60});
        let canary = "\
A canary: at first 10 % of the connections would run what is updated, after 60 minutes all of them; when more than 5 % of a function's \
runs fail, none.
1 function would change; nothing was changed.
";
        assert!(plan(&tried).ends_with(canary), "{}", plan(&tried));
    }
}
