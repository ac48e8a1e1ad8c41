//! `make bench`: the figures that nango-runtime promises, each measured side by side with what it is compared to, in
//! alternating rounds of one run, so that a busy machine slows both.
//!
//! `bench [--json] [--quick] [executor|action|proxy|stream|rate-limit|start|deploy|dev|records|schedules]…`, or `bench soak --seconds NUMBER`; exit code 1 when a figure is
//! missed.

mod action;
mod deploy;
mod dev;
mod executor;
mod load;
mod peer;
mod proxy;
mod rate_limit;
mod records;
mod report;
mod schedules;
mod soak;
mod start;
mod stream;

use report::Figure;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Alternations between ours and the other; ratios are medians over these.
    pub rounds: usize,
    /// Of the load on a server, and about as long for a loop in the process.
    pub round_ms: u64,
    /// Of one large body.
    pub stream_bytes: u64,
    /// Pages of a thousand records.
    pub record_pages: u32,
    /// Schedules due within an hour.
    pub schedules: u32,
    /// One of so many of the functions of which a server is to hold many.
    pub fewer_functions: usize,
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads can be started");
    // The other side of a comparison is this same program in another role.
    if let [role, ..] = arguments.as_slice()
        && role == peer::ROLE
    {
        runtime.block_on(peer::serve());
        return std::process::ExitCode::SUCCESS;
    }
    let show = |figures: &[Figure]| {
        if arguments.iter().any(|argument| argument == "--json") {
            println!("{}", report::json(figures));
        } else {
            print!("{}", report::table(figures));
        }
        let reached = figures.iter().all(Figure::is_reached);
        if reached {
            std::process::ExitCode::SUCCESS
        } else {
            std::process::ExitCode::FAILURE
        }
    };
    if let [role, rest @ ..] = arguments.as_slice()
        && role == "soak"
    {
        let seconds = match rest {
            [name, seconds, ..] if name == "--seconds" => seconds.parse().ok(),
            _ => None,
        };
        return show(&runtime.block_on(soak::measure(seconds.unwrap_or(soak::SECONDS))));
    }
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    let only: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| *only == name);
    let effort = if flag("--quick") {
        Effort {
            rounds: 3,
            round_ms: 500,
            stream_bytes: 100_000_000,
            record_pages: 100,
            schedules: 10_000,
            fewer_functions: 5,
        }
    } else {
        Effort {
            rounds: 7,
            round_ms: 2_000,
            stream_bytes: 1_000_000_000,
            record_pages: 1_000,
            schedules: 100_000,
            fewer_functions: 1,
        }
    };
    let mut figures: Vec<Figure> = Vec::new();
    if wanted("executor") {
        figures.extend(runtime.block_on(executor::measure(effort)));
    }
    if wanted("action") {
        figures.extend(runtime.block_on(action::measure(effort)));
    }
    if wanted("proxy") {
        figures.extend(runtime.block_on(proxy::measure(effort)));
    }
    if wanted("rate-limit") {
        figures.extend(runtime.block_on(rate_limit::measure(effort)));
    }
    if wanted("stream") {
        figures.extend(runtime.block_on(stream::measure(effort)));
    }
    if wanted("start") {
        figures.extend(runtime.block_on(start::measure(effort)));
    }
    if wanted("deploy") {
        figures.extend(runtime.block_on(deploy::measure(effort)));
    }
    if wanted("dev") {
        figures.extend(runtime.block_on(dev::measure(effort)));
    }
    if wanted("records") {
        figures.extend(runtime.block_on(records::measure(effort)));
    }
    if wanted("schedules") {
        figures.extend(runtime.block_on(schedules::measure(effort)));
    }
    show(&figures)
}
