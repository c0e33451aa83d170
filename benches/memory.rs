//! Counts the bytes of metrics, ours and those of metrics-exporter-prometheus, for the
//! scoreboard.

#![expect(clippy::print_stdout, reason = "it is a program that prints figures")]

use std::time::{Duration, Instant, SystemTime};

use campanile::metrics::Registry;
use campanile::metrics::metrics::{Recorder, with_local_recorder};
use campanile::series::Now;
use campanile::sla::{ServiceLevels, Slo, Source};
use campanile::{counter, histogram};
use metrics_exporter_prometheus::PrometheusBuilder;

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    let count: fn(&dyn Recorder) -> f64 = match what.as_str() {
        "series" => of_a_series,
        "unscraped" => of_unscraped_samples,
        "slo" | "percentile" => return of_slos(what == "percentile"),
        _ => panic!("usage: memory series|unscraped|slo|percentile"),
    };
    let registry = Registry::builder().max_series_per_family(SERIES).build();
    let registry = registry.expect("the settings are valid");
    let exporter = PrometheusBuilder::new().set_buckets(&[0.1, 1.0]);
    let exporter = exporter.expect("the bounds are valid").build_recorder();
    println!("{} {}", count(&registry), count(&exporter));
}

/// KiB per SLO over 90 days with traffic, or per percentile, compared with one bucket per minute.
fn of_slos(percentile: bool) {
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    let start = Now {
        wall: SystemTime::now(),
        mono: Instant::now(),
    };
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let slo = |number: u64| match percentile {
        false => Slo::availability(format!("o{number}"), "99.9%").over(days(90)),
        true => Slo::latency_percentile(format!("o{number}"), "99%", days(1)),
    };
    let of = |slos: u64| {
        let measured = allocation_counter::measure(|| {
            let builder = (0..slos).fold(ServiceLevels::builder(), |builder, number| {
                builder.slo(slo(number).source(Source::Manual))
            });
            let sla = builder.build_at(start).expect("the SLOs are valid");
            for number in 0..slos {
                let tracker = sla
                    .event_recorder(&format!("o{number}"))
                    .expect("the SLO is manual");
                for hour in 0..24 * 90 {
                    let at = start + Duration::from_secs(hour * 3_600);
                    tracker.record_at(true, Duration::from_millis(hour), at.mono);
                }
            }
            sla.tick(start + days(90));
            std::mem::forget(sla);
        });
        measured.bytes_current as f64
    };
    let ours = (of(21) - of(1)) / 20.0;
    let peer = allocation_counter::measure(|| {
        std::mem::forget(std::hint::black_box(vec![[0u64; 4]; 90 * 24 * 60]));
    });
    println!("{} {}", ours / 1_024.0, peer.bytes_current as f64 / 1_024.0);
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
fn of_unscraped_samples(recorder: &dyn Recorder) -> f64 {
    let histogram = with_local_recorder(recorder, || histogram!("time_seconds"));
    histogram.record(0.1);
    let record = || (0..10_000_000).for_each(|_| histogram.record(0.1));
    allocation_counter::measure(record).bytes_current as f64
}
