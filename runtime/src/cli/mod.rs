//! The command line: `serve` runs the runtime in this process, `build` makes components, everything else is a client of a
//! running server through its public HTTP API and can do nothing that another client could not.
//!
//! One file for each command, holding its arguments and what it does. Commands give back errors; [`exit`] says which exit
//! code each means, and `main` is the only place that exits.

pub mod audit;
pub mod build;
pub mod canary;
pub mod client;
pub mod connect_session;
pub mod connection;
pub mod deploy;
pub mod dev;
pub mod difference;
pub mod dryrun;
pub mod encryption_keys;
pub mod env;
pub mod exit;
pub mod functions;
pub mod input;
pub mod integration;
pub mod invoke;
pub mod keys;
pub mod logs;
pub mod new;
pub mod output;
pub mod providers;
pub mod proxy;
pub mod records;
pub mod replay;
pub mod run_report;
pub mod runs;
pub mod serve;
pub mod signing;
pub mod sync;
pub mod test;
pub mod waterfall;
pub mod webhooks;

use clap::{Parser, Subcommand};

use client::{Client, HOSTPORT_DEFAULT};
use output::Output;

const AFTER_HELP: &str = "\
Environment of the client commands:
  NANGO_HOSTPORT    address of the server [default: http://127.0.0.1:3003]
  NANGO_SECRET_KEY  API key

JSON arguments are JSON text, @FILE, - (standard input) or env:NAME (environment
variable). Prefer the last three for secrets: the process list shows arguments.

Exit codes:
  0  done
  1  failed: the server, a function or a build says no, or the server cannot start
  2  usage: wrong arguments, settings or input; nothing was tried
  3  no server answers
  4  no API key, or the server refuses it";

/// An embedded function runtime for product integrations.
#[derive(Debug, Parser)]
#[command(name = "nango-runtime", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    /// Print JSON for machines; errors become one line of JSON on standard error
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Start a project of functions
    New(new::New),
    /// Compile a crate of functions into a component
    Build(build::Build),
    /// Run the test fixtures of a project, offline
    Test(test::Test),
    /// Rebuild, redeploy and run again whenever a file of the project changes
    Dev(dev::Dev),
    /// Deploy a component, or a crate of functions after building it
    Deploy(deploy::Deploy),
    /// Deployed functions and their versions
    #[command(subcommand, visible_alias = "function")]
    Functions(functions::Functions),
    /// A deploy that some connections try before it is active for all
    #[command(subcommand)]
    Canary(canary::Canary),
    /// Run an action and print its output
    Invoke(invoke::Invoke),
    /// Actions in the background: what is queued, runs or has ended
    #[command(subcommand)]
    Runs(runs::Runs),
    /// Run a function for real, but write nothing
    Dryrun(dryrun::DryRun),
    /// Run a recorded run again, offline, and see what would differ
    Replay(replay::Replay),
    /// Run syncs and see how they stand
    #[command(subcommand)]
    Sync(sync::Sync),
    /// Records that syncs keep fresh
    Records(records::Records),
    /// Configured providers
    #[command(subcommand, visible_alias = "integrations")]
    Integration(integration::IntegrationCommand),
    /// Authorisations of your customers
    #[command(subcommand, visible_alias = "connections")]
    Connection(connection::ConnectionCommand),
    /// Links by which your customers connect in their browser
    #[command(subcommand, visible_alias = "connect-sessions")]
    ConnectSession(connect_session::ConnectSessionCommand),
    /// Send a request to a provider with a connection's credentials
    Proxy(proxy::Proxy),
    /// What ran and what was requested
    Logs(logs::Logs),
    /// Who was shown credentials
    Audit(audit::Audit),
    /// Environment variables, which all functions share
    #[command(subcommand)]
    Env(env::EnvCommand),
    /// API keys, their scopes and limits; encryption keys and their rotation
    #[command(subcommand, visible_alias = "key")]
    Keys(keys::KeysCommand),
    /// Webhooks to your application: where they go, dead letters, the key that signs them
    #[command(subcommand, visible_alias = "webhook")]
    Webhooks(webhooks::WebhooksCommand),
    /// The catalogue of providers
    #[command(subcommand, visible_alias = "provider")]
    Providers(providers::Providers),
}

/// Does what the command line says.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let output = Output { json: cli.json };
    match cli.command {
        Command::Serve(serve) => serve::run(serve, output),
        Command::Build(build) => build::run(&build, output),
        Command::New(new) => new::run(&new, output),
        Command::Test(test) => test::run(&test, output),
        Command::Dev(dev) => dev::run(dev, output),
        Command::Deploy(deploy) => deploy::run(&deploy, output),
        Command::Functions(command) => block_on(functions::run(command, &client()?, output)),
        Command::Canary(command) => block_on(canary::run(command, &client()?, output)),
        Command::Invoke(invoke) => block_on(invoke::run(invoke, &client()?)),
        Command::Runs(command) => block_on(runs::run(command, &client()?, output)),
        Command::Dryrun(dry) => block_on(dryrun::run(dry, &client()?, output)),
        Command::Replay(replay) => {
            let client = client()?;
            let component = replay::component(&replay, output)?;
            block_on(replay::run(replay, component, &client, output))
        }
        Command::Sync(command) => block_on(sync::run(command, &client()?, output)),
        Command::Records(records) => block_on(records::run(records, &client()?, output)),
        Command::Integration(command) => block_on(integration::run(command, &client()?, output)),
        Command::Connection(command) => block_on(connection::run(command, &client()?, output)),
        Command::ConnectSession(command) => block_on(connect_session::run(command, &client()?, output)),
        Command::Proxy(proxy) => block_on(proxy::run(proxy, &client()?)),
        Command::Logs(logs) => block_on(logs::run(logs, &client()?, output)),
        Command::Audit(audit) => block_on(audit::run(audit, &client()?, output)),
        Command::Env(command) => block_on(env::run(command, &client()?, output)),
        Command::Keys(command) => block_on(keys::run(command, &client()?, output)),
        Command::Webhooks(command) => block_on(webhooks::run(command, &client()?, output)),
        Command::Providers(command) => block_on(providers::run(command, &client()?, output)),
    }
}

/// The server that the environment names.
fn client() -> anyhow::Result<Client> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let hostport = variable("NANGO_HOSTPORT").unwrap_or_else(|| HOSTPORT_DEFAULT.to_owned());
    Ok(Client::new(&hostport, variable("NANGO_SECRET_KEY"))?)
}

/// One thread is enough for a command that does one thing after the other.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_parses() {
        let check = |line: &str| {
            if let Err(error) = Cli::try_parse_from(line.split_whitespace()) {
                panic!("{line}: {error}");
            }
        };
        check("nango-runtime serve --listen 127.0.0.1:0 --data d --egress-allow 10.0.0.0/8 --egress-allow ::1/128");
        check(
            "nango-runtime serve --config c.toml --providers a.yaml --providers b.yaml --database-url postgres://h/d",
        );
        check("nango-runtime build");
        check("nango-runtime build examples/github --output out.wasm");
        check("nango-runtime build --component-from core.wasm --output out.wasm");
        check("nango-runtime deploy examples/github --integration github");
        check("nango-runtime functions list");
        check("nango-runtime functions show github whoami");
        check("nango-runtime functions rollback github whoami --to 2 --json");
        check("nango-runtime invoke github whoami --connection c --input {}");
        check("nango-runtime sync trigger github issues --connection c --wait");
        check("nango-runtime sync list github --connection c");
        check("nango-runtime sync pause github issues issues::eu");
        check("nango-runtime sync start github");
        check("nango-runtime sync cancel github issues --connection c");
        check("nango-runtime sync reset github issues --connection c --empty-records");
        check("nango-runtime sync status github --watch --until-idle");
        check("nango-runtime records github Issue --connection c --limit 5 --filter added,updated");
        check("nango-runtime integration create github --provider github --credentials @c.json");
        check("nango-runtime integrations list");
        check("nango-runtime connection import github c --token env:TOKEN --tag a=b");
        check("nango-runtime connection metadata github c --set {}");
        check("nango-runtime connect-session create --integration github --end-user-id u1 --tag a=b");
        check("nango-runtime connect-session create --integration github --reconnect c");
        check("nango-runtime proxy get /user?x=1 --integration github --connection c --header a:b --data -");
        check("nango-runtime logs --operation op_1 --level warn --follow --json");
        check(
            "nango-runtime logs -f --integration github --connection c --function f --type action --state failed --since 1h",
        );
        check(
            "nango-runtime keys create ci --scope environment:proxy --integration github --method GET --path /repos/",
        );
        check("nango-runtime env list --values");
        check("nango-runtime env set NAME @file");
        check("nango-runtime env set NAME");
        check("nango-runtime env unset NAME");
        check("nango-runtime keys revoke key_1 --json");
        check("nango-runtime keys rotate --key env:NEW_KEY --no-wait");
        check("nango-runtime keys status");
        check("nango-runtime keys retire 1");
        check("nango-runtime audit --integration github --connection c --api-key key_1 --since 7d --type connection");
        check("nango-runtime webhooks list --state dead --connection c --limit 5 --json");
        check("nango-runtime webhooks show whk_1");
        check("nango-runtime webhooks resend whk_1");
        check("nango-runtime webhooks resend --dead");
        check("nango-runtime webhooks settings --primary-url https://app.test/hook --on-sync-error false");
        check("nango-runtime webhook signing-key");
        check("nango-runtime webhooks rotate-key --key env:NEW_KEY --activate-in 3600");
        check("nango-runtime providers show github");
    }

    #[test]
    fn wrong_usage_is_refused() {
        let check = |line: &str| assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        check("nango-runtime serve --listen localhost");
        check("nango-runtime invoke github whoami");
        check("nango-runtime connection import github c --token - --credentials -");
        check("nango-runtime proxy G\u{e9}T /x --integration g --connection c");
        check("nango-runtime build --component-from core.wasm");
        check("nango-runtime logs --operation op_1 --state failed");
        check("nango-runtime logs --level warn");
        check("nango-runtime keys create ci");
        check("nango-runtime webhooks resend");
        check("nango-runtime webhooks resend whk_1 --dead");
        check("nango-runtime connect-session create --reconnect c");
        check("nango-runtime logs --follow --cursor op_1");
    }
}
