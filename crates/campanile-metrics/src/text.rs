use std::fmt::Write;

use crate::name::escaped;
use crate::snapshot::{FamilySnapshot, Snapshot, Value};

/// The media type of what [`Registry::render`](crate::Registry::render) returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders a snapshot in Prometheus' text format 0.0.4.
pub(crate) fn render(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for family in &snapshot.families {
        // Writing to a string doesn't fail.
        let _ = render_family(&mut text, family);
    }
    text
}

fn render_family(text: &mut String, family: &FamilySnapshot) -> std::fmt::Result {
    let FamilySnapshot {
        name,
        kind,
        help,
        series,
    } = family;
    if let Some(help) = help {
        writeln!(text, "# HELP {name} {}", escaped(help, false))?;
    }
    writeln!(text, "# TYPE {name} {kind}")?;
    for series in series {
        let labels = series.label_text();
        let (open, close) = if labels.is_empty() {
            ("", "")
        } else {
            ("{", "}")
        };
        match &series.value {
            Value::Counter(value) => writeln!(text, "{name}{open}{labels}{close} {value}")?,
            Value::Gauge(value) => {
                writeln!(text, "{name}{open}{labels}{close} {}", Number(*value))?
            }
            Value::Histogram(histogram) => {
                let comma = if labels.is_empty() { "" } else { "," };
                for (bound, count) in &histogram.buckets {
                    writeln!(
                        text,
                        "{name}_bucket{{{labels}{comma}le=\"{}\"}} {count}",
                        Number(*bound)
                    )?;
                }
                writeln!(
                    text,
                    "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}",
                    histogram.count
                )?;
                writeln!(
                    text,
                    "{name}_sum{open}{labels}{close} {}",
                    Number(histogram.sum)
                )?;
                writeln!(
                    text,
                    "{name}_count{open}{labels}{close} {}",
                    histogram.count
                )?;
            }
        }
    }
    Ok(())
}

/// A float as Prometheus writes it.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            // Above 1e15 and below 1e-5 the plain form is long, and not more exact.
            value if value != 0.0 && !(1e-5..1e15).contains(&value.abs()) && !value.is_nan() => {
                write!(f, "{value:e}")
            }
            value => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        #[track_caller]
        fn check(value: f64, expected: &str) {
            assert_eq!(Number(value).to_string(), expected);
            if !value.is_nan() {
                assert_eq!(expected.parse::<f64>().unwrap().to_bits(), value.to_bits());
            }
        }
        check(0.0, "0");
        check(-0.0, "-0");
        check(1.0, "1");
        check(0.005, "0.005");
        check(123_456_789.25, "123456789.25");
        check(1e300, "1e300");
        check(-2.5e-9, "-2.5e-9");
        check(5e-324, "5e-324");
        check(f64::MAX, "1.7976931348623157e308");
        check(f64::INFINITY, "+Inf");
        check(f64::NEG_INFINITY, "-Inf");
        check(f64::NAN, "NaN");
    }
}
