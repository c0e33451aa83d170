use std::collections::BTreeMap;

use campanile::metrics::metrics::with_local_recorder;
use campanile::metrics::{NameMatch, Registry};
use campanile::{counter, gauge, histogram};
use campanile_tests::{Sample, parse};
use fastrand::Rng;

/// A text of any characters, up to a length.
fn any_text(random: &mut Rng, longest: usize) -> String {
    let length = random.usize(..=longest);
    let any = |random: &mut Rng| match random.u8(..4) {
        0 => random.char(..),
        1 => ['\\', '"', '\n', ',', '}', '=', '{', '#', ' '][random.usize(..9)],
        _ => random.alphanumeric(),
    };
    (0..length).map(|_| any(random)).collect()
}

/// A scrape response has the recorded values and labels, whatever they are, in both formats.
#[test]
fn what_is_read_from_a_page_is_what_was_recorded() {
    let mut random = Rng::with_seed(11);
    let mut cases = 0;
    for round in 0..100 {
        let registry = Registry::builder()
            .buckets_for(NameMatch::Exact("h".into()), &[-1.5, 0.0, 0.1, 7.0, 1e300])
            .constant_label("zone", if round % 2 == 0 { "a \"z\"" } else { "b" })
            .build()
            .unwrap();
        let zone = if round % 2 == 0 { "a \"z\"" } else { "b" };
        registry.describe("g", &any_text(&mut random, 40));
        let mut expected = BTreeMap::new();
        for _ in 0..120 {
            cases += 1;
            let (one, other) = (any_text(&mut random, 60), any_text(&mut random, 5));
            let labels = [("one", one.as_str()), ("other", other.as_str())];
            let mut exposed: BTreeMap<_, _> = labels
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            exposed.insert("zone".to_owned(), zone.to_owned());
            if random.bool() {
                let value = f64::from_bits(random.u64(..));
                registry.gauge("g", &labels).unwrap().set(value);
                expected.insert(("g".to_owned(), exposed), value);
            } else {
                let value = random.u64(..1 << 53);
                let counter = registry.counter("c", &labels).unwrap();
                counter.absolute(value);
                expected.insert(("c_total".to_owned(), exposed), counter.value() as f64);
            }
        }
        let histogram = registry.histogram("h", &[]).unwrap();
        for sample in [-2.0, 0.05, 3.0, 1e299, 5e300] {
            histogram.record(sample);
        }
        let bounds = ["-1.5", "0.0", "0.1", "7.0", "1e+300", "+Inf"];
        for (bound, count) in bounds.into_iter().zip([1.0, 1.0, 2.0, 3.0, 4.0, 5.0]) {
            let labels = [("le", bound), ("zone", zone)];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
            expected.insert(("h_bucket".to_owned(), BTreeMap::from(labels)), count);
        }
        for page in [registry.render(), registry.render_open_metrics()] {
            let samples = parse(&page).unwrap();
            let samples = samples.into_iter().filter(|Sample { name, .. }| {
                !["_created", "_sum", "_count"]
                    .iter()
                    .any(|end| name.ends_with(end))
            });
            let read: BTreeMap<_, _> = samples
                .map(
                    |Sample {
                         name,
                         labels,
                         value,
                         ..
                     }| ((name, labels), value),
                )
                .collect();
            assert!(read.keys().eq(expected.keys()), "{page}");
            for (series, value) in &expected {
                let same = read[series].to_bits() == value.to_bits();
                assert!(
                    same || value.is_nan() && read[series].is_nan(),
                    "{series:?}: {value}"
                );
            }
        }
    }
    assert!(cases > 10_000);
}

/// Whatever names and labels the macros are given, the page can be read.
#[test]
fn names_that_make_no_sense_leave_the_page_readable() {
    let names = [
        "",
        "1a",
        "a b",
        "a\n# TYPE x",
        "__name__",
        "größe",
        "a{b=\"c\"}",
        "le",
        "_total",
        "x_total_total",
        "x_bucket",
        "x_created",
        "x",
        "x.y",
        "x_y",
        "x-y",
    ];
    let long = "m".repeat(300);
    let labels = ["", "a", "a b", "a\nb", "le", "quantile", "__x", "ü", "0"];
    let registry = Registry::new();
    with_local_recorder(&registry, || {
        for name in names.into_iter().chain([long.as_str()]) {
            for label in labels {
                let (name, label) = (name.to_owned(), label.to_owned());
                counter!(name.clone(), label.clone() => "1").increment(1);
                gauge!(name.clone(), label.clone() => "1", "a" => "2").set(1.0);
                histogram!(name, label => "1").record(1.0);
            }
        }
    });
    for page in [registry.render(), registry.render_open_metrics()] {
        let samples = parse(&page).unwrap();
        assert!(samples.len() > 30, "{page}");
        assert!(samples.iter().any(|sample| sample.name.starts_with(&long)));
    }
}
