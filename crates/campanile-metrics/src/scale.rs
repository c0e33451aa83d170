//! The default bucket bounds of histograms, by unit.

use std::sync::{Arc, LazyLock};

use crate::histogram::Bounds;

/// OpenTelemetry's bounds for durations in seconds.
pub(crate) const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// From 256 B to 256 MiB.
const BYTES: [f64; 11] = [
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
];

const COUNTS: [f64; 19] = [
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    200.0,
    500.0,
    1_000.0,
    2_000.0,
    5_000.0,
    10_000.0,
    20_000.0,
    50_000.0,
    100_000.0,
    200_000.0,
    500_000.0,
    1_000_000.0,
];

const RATIOS: [f64; 11] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0,
];

/// The range of a histogram's samples, by its unit or the last word of its name.
pub(crate) struct Scale {
    words: &'static [&'static str],
    bounds: LazyLock<Arc<Bounds>>,
}

macro_rules! scale {
    ($words:expr, $bounds:expr, $factor:expr) => {
        Scale {
            words: &$words,
            bounds: LazyLock::new(|| Bounds::new(&$bounds.map(|bound| bound * $factor)).into()),
        }
    };
}

static SCALES: [Scale; 8] = [
    scale!(["seconds"], SECONDS, 1.0),
    scale!(["milliseconds", "ms"], SECONDS, 1e3),
    scale!(["microseconds"], SECONDS, 1e6),
    scale!(["nanoseconds"], SECONDS, 1e9),
    scale!(["bytes"], BYTES, 1.0),
    scale!(["ratio"], RATIOS, 1.0),
    scale!(["percent"], RATIOS, 100.0),
    scale!(
        [
            "count", "size", "length", "depth", "items", "rows", "records", "entries", "messages",
            "events", "requests", "tokens", "attempts", "retries"
        ],
        COUNTS,
        1.0
    ),
];

/// Returns the bounds for a unit, or else for the last word of a name. Defaults to those for
/// seconds.
pub(crate) fn bounds(name: &str, unit: Option<&str>) -> Arc<Bounds> {
    let last = name.rsplit('_').next();
    let found = [unit, last].into_iter().flatten().find_map(|word| {
        let mut scales = SCALES.iter();
        scales.find(|scale| scale.words.contains(&word))
    });
    Arc::clone(&found.unwrap_or(&SCALES[0]).bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_goes_before_the_name_and_seconds_are_the_default() {
        let greatest = |name, unit| bounds(name, unit).values().last().copied();
        for (name, unit, expected) in [
            ("upload_bytes", None, 268_435_456.0),
            ("upload", Some("bytes"), 268_435_456.0),
            ("upload_seconds", Some("milliseconds"), 10_000.0),
            ("batch_size", None, 1e6),
            ("batch", Some("count"), 1e6),
            ("fill_ratio", None, 1.0),
            ("fill", Some("percent"), 100.0),
            ("poll_nanoseconds", None, 1e10),
            ("latency", None, 10.0),
            ("bytes", None, 268_435_456.0),
            ("latency", Some("gibibytes"), 10.0),
            ("", None, 10.0),
        ] {
            assert_eq!(greatest(name, unit), Some(expected), "{name} {unit:?}");
        }
        for scale in &SCALES {
            assert!(Bounds::checked(scale.bounds.values()).is_some());
        }
    }
}
