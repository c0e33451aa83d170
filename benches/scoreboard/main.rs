//! Runs our code and its peers side by side, and prints what each costs.
//!
//! ```sh
//! cargo run --release -p campanile-benches --bin scoreboard -- [--json] [--quick] [--only FIGURE]
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a program that prints a table"
)]

mod export;
mod figure;
mod log;
mod memory;
mod observe;
mod probe;
mod registry;
mod server;
mod sla;
mod stack;
mod system;
mod trace;

use std::process::ExitCode;

use self::figure::{Effort, Figure};

/// All figures, in the order of the table, and what measures them.
const FIGURES: &[(&str, Measure)] = &[
    ("http.stack", stack::against_peers),
    ("http.stack.floor", stack::against_floor),
    ("correlation", stack::correlation),
    ("http.server", server::measure),
    ("health.ready", probe::readiness),
    ("health.detailed", probe::detailed),
    ("health.detailed.1000", probe::detailed_of_many),
    ("scrape.100k", registry::scrape_against_exporter),
    ("scrape.100k.client", registry::scrape_against_client),
    ("scrape.100k.floor", registry::scrape_against_formatting),
    ("scrape.hist", registry::histograms_against_exporter),
    ("scrape.hist.client", registry::histograms_against_client),
    ("scrape.stall", registry::stall),
    ("record.macro", registry::record_macro),
    ("record.macro.dynamic", registry::record_dynamic_1),
    ("record.macro.dynamic.2", registry::record_dynamic_2),
    ("record.macro.overflow", registry::record_overflow),
    ("record.counter", registry::record_counter_1),
    ("record.counter.2", registry::record_counter_2),
    ("record.histogram", registry::record_histogram_1),
    ("record.histogram.2", registry::record_histogram_2),
    ("observe.call", observe::observe_call),
    ("observe.timed", observe::observe_timed),
    ("system.read", system::read),
    ("sla.record", sla::record_1),
    ("sla.record.2", sla::record_2),
    ("sla.report", sla::report),
    ("log.line", log::line),
    ("log.event", log::event),
    ("log.event.subscriber", log::event_against_json_subscriber),
    ("log.recorder", log::recorder),
    ("trace.request", trace::against_instrumentation),
    ("trace.request.axum", trace::against_axum),
    ("trace.hang", trace::against_no_answer),
    ("trace.hang.p99", trace::p99_against_no_answer),
    ("log.export", export::against_appender),
    ("memory.series", memory::series),
    ("memory.unscraped", memory::unscraped),
    ("sla.memory", memory::slo),
    ("sla.memory.percentile", memory::percentile),
];

type Measure = fn(Effort) -> Figure;

/// What takes minutes to prepare, and is left out by `--quick`.
const SLOW: &[&str] = &["sla.report"];

const USAGE: &str = "usage: scoreboard [--json] [--quick] [--only FIGURE]";

fn main() -> ExitCode {
    let mut json = false;
    let (mut effort, mut quick) = (Effort::FULL, false);
    let mut only = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.len()) {
            ("--json", _) => json = true,
            ("--quick", _) => (effort, quick) = (Effort::QUICK, true),
            ("--only", 1..) => only = arguments.next(),
            // The program starts itself so, to be the server that is measured.
            ("--serve", 1..) => return server::serve(&arguments.next().unwrap_or_default()),
            _ => {
                eprintln!("{argument}: {USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let names = FIGURES
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(only) = &only
        && !FIGURES.iter().any(|(name, _)| name == only)
    {
        eprintln!("--only {only}: the figures are {names}");
        return ExitCode::from(2);
    }

    if !json {
        println!("{}", figure::HEADER);
    }
    let is_asked = |name: &str| match only.as_deref() {
        Some(only) => only == name,
        None => !(quick && SLOW.contains(&name)),
    };
    for (_, measure) in FIGURES.iter().filter(|(name, _)| is_asked(name)) {
        let figure = measure(effort);
        if json {
            println!("{}", figure.to_json());
        } else {
            println!("{}", figure.to_row());
        }
    }
    ExitCode::SUCCESS
}
