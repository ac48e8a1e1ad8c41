//! What the process itself writes to stderr. What runs and requests log for their owners is in [`crate::logs`].

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error(
        "the setting `log` is {filter:?}, which is no level and no list of directives such as info,nango_runtime::proxy=debug"
    )]
    Filter {
        filter: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
}

/// Sends the process's log lines to stderr. A second call changes nothing.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(&settings.filter)
        .map_err(|source| TelemetryError::Filter {
            filter: settings.filter.clone(),
            source,
        })?;
    // Colours are for people at a terminal who want them (https://no-color.org), not for files.
    let colourless = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal() && !colourless)
        .with_writer(std::io::stderr);
    // The only failure is a subscriber that is there already.
    let _ = match settings.format {
        LogFormat::Human => subscriber.with_target(false).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    Ok(())
}
