use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use campanile::metrics::Registry;
use campanile_tests::target_dir;
use serde_json::Value;

/// A sample: the family's type and help, the sample's name, its labels, and its value as Python prints it.
type Sample = (String, String, String, BTreeMap<String, String>, String);

fn parse(page: &str) -> Vec<Sample> {
    let python = target_dir().join("venv/bin/python");
    assert!(
        python.is_file(),
        "{} is missing: `tests/run` makes it",
        python.display()
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/peers/exposition.py");
    let mut child = Command::new(python)
        .arg(script)
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
    let registry = Registry::builder().buckets(&[0.5, 1.0]).build().unwrap();
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

    let samples = parse(&registry.render());
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
    let mut recorded = values;
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
    let expected = [("0.5", "2.0"), ("1.0", "3.0"), ("+Inf", "4.0")];
    assert_eq!(
        buckets,
        expected.map(|(bound, count)| (bound.to_owned(), count.to_owned()))
    );
    assert_eq!(
        (
            named("times_seconds_sum")[0].4.as_str(),
            named("times_seconds_count")[0].4.as_str()
        ),
        ("3.5", "4.0")
    );
}
