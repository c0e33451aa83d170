use std::collections::BTreeMap;
use std::io::Write;
use std::num::{NonZeroU64, NonZeroU128};
use std::process::{Command, Stdio};

use campanile::http::TraceRef;
use campanile::metrics::metrics::{Unit, with_local_recorder};
use campanile::metrics::{NameMatch, Registry};
use campanile::{counter, describe_counter, describe_gauge, gauge, histogram};
use campanile_tests::find_in_venv;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use serde_json::Value;

use super::prometheus::promtool_check;

/// A sample: the family's type and help, the sample's name, its labels, its value as Python prints
/// it, and its exemplar.
type Sample = (
    String,
    String,
    String,
    BTreeMap<String, String>,
    String,
    Option<(BTreeMap<String, String>, f64)>,
);

fn parse(format: &str, page: &str) -> Vec<Sample> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/exposition.py");
    let mut child = Command::new(find_in_venv("bin/python"))
        .args([script, format])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the page was refused:\n{page}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| serde_json::from_value(line).unwrap())
        .collect()
}

#[test]
fn a_second_parser_reads_what_was_recorded() {
    let values = [
        "plain",
        "",
        "two\nlines",
        "\"quoted\"",
        "back\\slash",
        "\\n",
        "a,b=\"c\"} 1",
        "ünïcödé",
        "\u{2028}",
    ];
    let registry = Registry::builder()
        .buckets(&[0.5, 1.0])
        .buckets_for(NameMatch::Exact("below_zero".into()), &[-1.0, 1.0])
        .build()
        .unwrap();
    registry.describe("escapes_total", "Help with \\ and\na second line.");
    for value in values {
        registry
            .counter("escapes_total", &[("value", value), ("other", "x")])
            .unwrap()
            .increment(u64::from(u32::MAX));
    }
    let numbers = [
        0.0,
        1.5,
        1e300,
        5e-324,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        123_456_789.125,
    ];
    for (number, value) in numbers.iter().enumerate() {
        registry
            .gauge("numbers", &[("number", number.to_string().as_str())])
            .unwrap()
            .set(*value);
    }
    let histogram = registry.histogram("times_seconds", &[("k", "v")]).unwrap();
    [0.25, 0.5, 0.75, 2.0]
        .iter()
        .for_each(|time| histogram.record(*time));

    let trace = NonZeroU128::new(0xabc).unwrap();
    let trace = TraceRef::new(trace, true).with_span(NonZeroU64::MIN);
    histogram.record_in_trace(0.75, trace);
    let below = registry.histogram("below_zero", &[]).unwrap();
    below.record(-1.0);
    let summary = registry.summary("sizes", &[("k", "v")]).unwrap();
    [1.0, 1.0, 1.0]
        .iter()
        .for_each(|size| summary.record(*size));
    let drift = registry.histogram("drift_seconds", &[]).unwrap();
    drift.record(-0.2);
    let offsets = registry.summary("offsets", &[]).unwrap();
    [-1.0, -2.0, 3.0, -4.0]
        .iter()
        .for_each(|offset| offsets.record(*offset));
    with_local_recorder(&registry, || {
        describe_counter!("sent_bytes", Unit::Bytes, "Bytes \"sent\".");
        describe_gauge!(
            "percentage",
            Unit::Seconds,
            "A unit that is not in the name."
        );
        counter!("sent_bytes").increment(1);
        gauge!("percentage").set(1.0);
    });
    for (format, page) in [
        ("text", registry.render()),
        ("openmetrics", registry.render_open_metrics()),
    ] {
        check(format, &parse(format, &page), &values, &numbers);
    }
}

#[test]
fn a_second_parser_reads_what_another_exporter_has_beside_the_registry() {
    let values = [
        "two\nlines",
        "\"quoted\"",
        "back\\slash",
        "a,b=\"c\"} 1",
        "ünï",
    ];
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("seconds".into()), &[0.5, 10.0]);
    let exporter = builder.unwrap().build_recorder();
    with_local_recorder(&exporter, || {
        describe_counter!("jobs", "Jobs \\ that\nare \"done\".");
        for value in values {
            counter!("jobs", "value" => value).increment(u64::from(u32::MAX));
        }
        counter!("sent_total").increment(2);
        gauge!("heat").set(f64::NEG_INFINITY);
        [0.25, 0.75, 20.0]
            .iter()
            .for_each(|time| histogram!("time_seconds", "k" => "v").record(*time));
        histogram!("size").record(3.0);
        // One name of two kinds, which the exporter writes as two families.
        gauge!("sent_total").set(3.0);
    });
    let registry = Registry::builder().beside(exporter.handle());
    let registry = registry.constant_label("host", "h").build().unwrap();
    registry.gauge("kept", &[]).unwrap().set(1.0);
    for (format, page) in [
        ("text", registry.render()),
        ("openmetrics", registry.render_open_metrics()),
    ] {
        let samples = parse(format, &page);
        let named = |name: &str| {
            let samples = samples.iter().filter(|sample| sample.2 == name);
            samples.collect::<Vec<_>>()
        };
        // Python's parser names the counters of the text as OpenMetrics does.
        let (jobs, kind) = match format {
            "text" => (named("jobs_total"), "counter"),
            _ => (named("jobs"), "unknown"),
        };
        let mut read: Vec<_> = jobs.iter().map(|jobs| jobs.3["value"].as_str()).collect();
        read.sort_unstable();
        let mut recorded = values;
        recorded.sort_unstable();
        assert_eq!(read, recorded);
        let jobs = jobs[0];
        assert_eq!((jobs.0.as_str(), jobs.4.as_str()), (kind, "4294967295.0"));
        assert_eq!(jobs.1, "Jobs \\ that\nare \"done\".");
        assert_eq!(jobs.3["host"], "h");
        let sent = named("sent_total");
        assert_eq!(
            (sent.len(), sent[0].0.as_str(), sent[0].4.as_str()),
            (1, "counter", "2.0")
        );
        assert_eq!(named("heat")[0].4, "-inf");
        let buckets = named("time_seconds_bucket");
        let buckets: Vec<_> = buckets.iter().map(|one| (&*one.3["le"], &*one.4)).collect();
        assert_eq!(buckets, [("0.5", "1.0"), ("10.0", "2.0"), ("+Inf", "3.0")]);
        assert_eq!(named("time_seconds_sum")[0].4, "21.0");
        assert_eq!(named("size").len(), 7);
        assert_eq!(named("size_count")[0].4, "1.0");
        assert_eq!(named("kept")[0].4, "1.0");
    }
}

#[test]
fn promtool_accepts_the_page_with_another_exporter() {
    let exporter = PrometheusBuilder::new().build_recorder();
    with_local_recorder(&exporter, || {
        describe_counter!("jobs_total", "Jobs.");
        describe_gauge!("heat_celsius", "Heat.");
        counter!("jobs_total", "queue" => "a\"b\\c\nd").increment(1);
        gauge!("heat_celsius").set(-3.5);
        // It would complain of the second kind.
        gauge!("jobs_total").set(3.0);
    });
    let registry = Registry::builder()
        .beside(exporter.handle())
        .build()
        .unwrap();
    let page = registry.render();
    assert!(page.contains("\njobs_total{queue="), "{page}");
    promtool_check(&page);
}

/// Checks what a parser has read.
fn check(format: &str, samples: &[Sample], values: &[&str], numbers: &[f64]) {
    let is_open = format == "openmetrics";
    let named = |name: &str| {
        samples
            .iter()
            .filter(|sample| sample.2 == name)
            .collect::<Vec<_>>()
    };

    let escapes = named("escapes_total");
    assert!(
        escapes
            .iter()
            .all(|sample| sample.0 == "counter" && sample.1 == "Help with \\ and\na second line.")
    );
    let mut read: Vec<_> = escapes
        .iter()
        .map(|sample| sample.3.get("value").map_or("", String::as_str))
        .collect();
    read.sort_unstable();
    let mut recorded = values.to_vec();
    recorded.sort_unstable();
    assert_eq!(read, recorded);
    assert!(escapes.iter().all(|sample| sample.4 == "4294967295.0"));

    for sample in named("numbers") {
        let recorded = numbers[sample.3["number"].parse::<usize>().unwrap()];
        let read: f64 = sample.4.parse().unwrap();
        assert!(
            read.to_bits() == recorded.to_bits() || (read.is_nan() && recorded.is_nan()),
            "{recorded} became {read}"
        );
    }

    let buckets: Vec<_> = named("times_seconds_bucket")
        .iter()
        .map(|sample| (sample.3["le"].clone(), sample.4.clone()))
        .collect();
    let expected = [("0.5", "2.0"), ("1.0", "4.0"), ("+Inf", "5.0")];
    assert_eq!(
        buckets,
        expected.map(|(bound, count)| (bound.to_owned(), count.to_owned()))
    );
    assert_eq!(
        (
            named("times_seconds_sum")[0].4.as_str(),
            named("times_seconds_count")[0].4.as_str()
        ),
        ("4.25", "5.0")
    );
    let exemplars: Vec<_> = samples
        .iter()
        .filter_map(|sample| sample.5.clone())
        .collect();
    let id = "00000000000000000000000000000abc".to_owned();
    let ids = [("trace_id", id), ("span_id", format!("{:016x}", 1))];
    let ids = ids.map(|(name, id)| (name.to_owned(), id));
    let exemplar = (BTreeMap::from(ids), 0.75);
    assert_eq!(exemplars, if is_open { vec![exemplar] } else { Vec::new() });
    let created: Vec<_> = samples
        .iter()
        .filter(|sample| sample.2.ends_with("_created"))
        .collect();
    assert_eq!(created.len(), if is_open { values.len() + 6 } else { 0 });
    assert!(
        created
            .iter()
            .all(|sample| sample.4.parse::<f64>().unwrap() > 1.7e9)
    );
    let sent = named("sent_bytes_total");
    assert_eq!(
        (sent[0].1.as_str(), sent[0].4.as_str()),
        ("Bytes \"sent\".", "1.0")
    );
    let quantiles = named("sizes");
    assert_eq!((quantiles.len(), quantiles[0].0.as_str()), (5, "summary"));
    assert!(
        quantiles
            .iter()
            .all(|sample| sample.4.parse::<f64>().unwrap() > 0.98)
    );
    assert_eq!(
        (
            named("sizes_sum")[0].4.as_str(),
            named("sizes_count")[0].4.as_str()
        ),
        ("3.0", "3.0")
    );
    // OpenMetrics has no sum of samples that may be negative, and no count without one.
    for name in ["below_zero_sum", "below_zero_count"] {
        assert_eq!(named(name).len(), usize::from(!is_open));
    }
    assert_eq!(named("below_zero_bucket").len(), 3);
}
