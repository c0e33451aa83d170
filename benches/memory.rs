//! Counts the bytes that metrics take, ours and those of metrics-exporter-prometheus, for the scoreboard.

#![expect(clippy::print_stdout, reason = "it is a program that prints figures")]

use campanile::metrics::Registry;
use campanile::metrics::metrics::{self, Recorder, counter, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    let count: fn(&dyn Recorder) -> f64 = match what.as_str() {
        "series" => of_a_series,
        "unscraped" => of_samples_that_nobody_scrapes,
        _ => panic!("usage: memory series|unscraped"),
    };
    let registry = Registry::builder().series_per_family(SERIES).build();
    let registry = registry.expect("the settings are valid");
    let exporter = PrometheusBuilder::new().set_buckets(&[0.1, 1.0]);
    let exporter = exporter.expect("the bounds are valid").build_recorder();
    println!("{} {}", count(&registry), count(&exporter));
}

const SERIES: usize = 100_000;

/// A counter of three labels.
fn of_a_series(recorder: &dyn Recorder) -> f64 {
    let record = || {
        for number in 0..SERIES {
            let labels = [
                ("endpoint", format!("/api/v1/things/{number}")),
                ("method", ["GET", "POST", "PUT"][number % 3].to_owned()),
                ("status_code", (200 + number % 5).to_string()),
            ];
            counter!("requests_total", &labels.to_vec()).increment(1);
        }
    };
    let info = allocation_counter::measure(|| with_local_recorder(recorder, record));
    info.bytes_current as f64 / SERIES as f64
}

/// 10 M samples.
fn of_samples_that_nobody_scrapes(recorder: &dyn Recorder) -> f64 {
    let histogram = with_local_recorder(recorder, || metrics::histogram!("time_seconds"));
    histogram.record(0.1);
    let record = || (0..10_000_000).for_each(|_| histogram.record(0.1));
    allocation_counter::measure(record).bytes_current as f64
}
