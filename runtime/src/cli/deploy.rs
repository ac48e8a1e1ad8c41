//! `nango-runtime deploy`: sends a component to the server, which checks it and makes its functions active.

use std::path::PathBuf;

use http::{HeaderValue, Method};
use serde_json::Value;

use super::input::InputError;
use super::output::{self, Output, text_at};
use super::{block_on, build, client};

/// A component that the server refuses changes nothing.
#[derive(Debug, clap::Args)]
pub struct Deploy {
    /// A component (.wasm), or the folder of a crate of functions, which is built first
    path: PathBuf,
    /// The integration whose functions they are
    #[arg(long, value_name = "KEY")]
    integration: String,
}

pub fn run(deploy: &Deploy, output: Output) -> anyhow::Result<()> {
    // Before a build that may take minutes.
    let client = client()?;
    let path = if deploy.path.is_dir() {
        build::build_crate(&deploy.path, None, output)?
    } else {
        deploy.path.clone()
    };
    let component = std::fs::read(&path).map_err(|source| InputError::File {
        what: "the component",
        path,
        source,
    })?;
    let request = client
        .request(Method::POST, &["integrations", &deploy.integration, "functions"])
        .body(component, HeaderValue::from_static("application/wasm"));
    let answer = block_on(async { Ok(request.answer().await?) })?;
    output.show(&answer, |answer| report(answer, &deploy.integration))?;
    Ok(())
}

fn report(answer: &Value, integration: &str) -> String {
    let functions = output::list_at(answer, "/functions");
    let rows: Vec<[String; 3]> = functions
        .iter()
        .map(|function| ["/name", "/type", "/version"].map(|at| text_at(function, at)))
        .collect();
    let imports: Vec<&str> = output::list_at(answer, "/imports")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    format!(
        "Deployed to {integration}: {} (sha256 {})\n\n{}\nCan use: {}\n",
        if rows.len() == 1 {
            "1 function".to_owned()
        } else {
            format!("{} functions", rows.len())
        },
        text_at(answer, "/digest"),
        output::table(["function", "type", "version"], &rows, "No functions"),
        if imports.is_empty() {
            "nothing".to_owned()
        } else {
            imports.join(", ")
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deploy_says_what_is_active_and_what_it_can_use() {
        let answer = json!({
            "digest": "abc",
            "functions": [{"name": "whoami", "type": "action", "version": 2}],
            "imports": ["nango:functions/nango@1.0.0"],
        });
        let expected = "\
Deployed to github: 1 function (sha256 abc)

FUNCTION  TYPE    VERSION
whoami    action  2

Can use: nango:functions/nango@1.0.0
";
        assert_eq!(report(&answer, "github"), expected);
    }
}
