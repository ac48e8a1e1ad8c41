//! The requests of a run, each with a bar that shows when it was under way.

use super::output::printable;
use crate::recording::RequestLine;

/// Characters of the bars.
const WIDTH: u64 = 40;
/// Characters of a path; a longer one is cut.
const PATH_CHARS_MAX: usize = 48;

/// A line for each request, over the time from the first to the last. Reads well without a terminal.
pub fn render(requests: &[RequestLine]) -> String {
    let Some(begin_us) = requests.iter().map(|request| request.started_us).min() else {
        return String::new();
    };
    let end_us = requests
        .iter()
        .map(|request| request.started_us + request.took_us)
        .max()
        .unwrap_or(begin_us);
    let span_us = (end_us - begin_us).max(1);
    let width = requests
        .iter()
        .map(|request| path(request).chars().count())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for request in requests {
        let column = |us: u64| usize::try_from((us - begin_us).saturating_mul(WIDTH) / span_us).unwrap_or(0);
        let from = column(request.started_us).min(usize::try_from(WIDTH - 1).unwrap_or(0));
        let to = column(request.started_us + request.took_us).max(from + 1);
        let status = request
            .status
            .map_or_else(|| "---".to_owned(), |status| status.to_string());
        out.push_str(&format!(
            "  {:6} {:width$}  {status}  {:>9}  {}{}\n",
            printable(&request.method),
            path(request),
            milliseconds(request.took_us),
            " ".repeat(from),
            "█".repeat(to - from),
        ));
        if let Some(error) = &request.error {
            out.push_str(&format!("         {}\n", printable(error)));
        }
    }
    out
}

/// `12.3 ms`.
pub fn milliseconds(us: u64) -> String {
    format!("{}.{} ms", us / 1_000, us % 1_000 / 100)
}

fn path(request: &RequestLine) -> String {
    let path = printable(&request.path);
    if path.chars().count() <= PATH_CHARS_MAX {
        return path;
    }
    let mut cut: String = path.chars().take(PATH_CHARS_MAX - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, started_us: u64, took_us: u64) -> RequestLine {
        RequestLine {
            method: "GET".into(),
            path: path.into(),
            status: Some(200),
            error: None,
            started_us,
            took_us,
        }
    }

    #[test]
    fn bars_show_what_overlaps() {
        let text = render(&[request("/a", 1_000, 20_000), request("/bc", 11_000, 30_000)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("  GET    /a   200    20.0 ms  {}", "█".repeat(20)));
        assert_eq!(
            lines[1],
            format!("  GET    /bc  200    30.0 ms  {}{}", " ".repeat(10), "█".repeat(30))
        );
        assert_eq!(render(&[]), "");
    }
}
