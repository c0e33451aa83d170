//! The export of metrics over OTLP, and the metrics of the telemetry itself.

#[cfg(feature = "otlp")]
use std::borrow::Cow;

use campanile_metrics::Registry;
#[cfg(feature = "otlp")]
use campanile_metrics::Value;
#[cfg(feature = "otlp")]
use campanile_metrics::export::{FamilySnapshot, HistogramSnapshot, SeriesSnapshot};
use campanile_telemetry::Telemetry;
#[cfg(feature = "otlp")]
use campanile_telemetry::{Exemplar, MetricSource, MetricWriter, Point, PointValue};

/// A registry as a metric source.
#[cfg(feature = "otlp")]
pub(crate) struct Source(pub(crate) Registry);

#[cfg(feature = "otlp")]
impl MetricSource for Source {
    fn collect(&self, out: &mut MetricWriter<'_>) {
        let constant: Vec<_> = self.0.constant_labels().collect();
        self.0.export(|family| write(&family, &constant, out));
    }
}

#[cfg(feature = "otlp")]
fn write(family: &FamilySnapshot, constant: &[(&str, &str)], out: &mut MetricWriter<'_>) {
    let unit = match family.unit {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("ratio") => "1",
        Some("percent") => "%",
        _ => "",
    };
    out.metric(
        &family.name,
        family.help.as_deref().unwrap_or_default(),
        unit,
    );
    for series in &family.series {
        let labels = labels(series, constant);
        let attributes: Vec<_> = labels
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        // A counter without a start time started before the telemetry.
        let mut point =
            |measured| out.point(begun(Point::new(&attributes, measured), series.created));
        match &series.value {
            Value::Counter(count) => point(PointValue::Count(*count)),
            Value::TimeCounter(time) => point(PointValue::Amount(time.as_secs_f64())),
            Value::Gauge(value) => point(PointValue::Gauge(*value)),
            Value::Summary(summary) => point(PointValue::Summary {
                quantiles: &summary.quantiles,
                count: summary.count,
                sum: summary.sum,
            }),
            Value::Histogram(histogram) => {
                let HistogramSnapshot {
                    buckets,
                    count,
                    sum,
                    exemplars,
                    ..
                } = histogram;
                let (bounds, cumulative): (Vec<_>, Vec<_>) = buckets.iter().copied().unzip();
                let before = [0].into_iter().chain(cumulative.iter().copied());
                let upto = cumulative.iter().chain([count]);
                let counts: Vec<_> = upto
                    .zip(before)
                    .map(|(upto, before)| upto - before)
                    .collect();
                let exemplars: Vec<_> = exemplars.iter().map(exemplar).collect();
                let measured = PointValue::Histogram {
                    bounds: &bounds,
                    counts: &counts,
                    // With negative samples the sum is not monotonic.
                    sum: Some(*sum).filter(|sum| {
                        *sum >= 0.0 && bounds.first().is_some_and(|bound| *bound >= 0.0)
                    }),
                };
                let point = Point::new(&attributes, measured).exemplars(&exemplars);
                out.point(begun(point, series.created));
            }
            // An unknown kind.
            _ => {}
        }
    }
}

/// Returns the labels of a series, with constant labels that it lacks.
#[cfg(feature = "otlp")]
fn labels<'a>(
    series: &'a SeriesSnapshot,
    constant: &[(&'a str, &'a str)],
) -> Vec<(&'a str, Cow<'a, str>)> {
    let mut labels: Vec<_> = series.labels().collect();
    for (name, value) in constant {
        if labels.iter().all(|(own, _)| own != name) {
            labels.push((name, Cow::Borrowed(value)));
        }
    }
    labels
}

#[cfg(feature = "otlp")]
fn exemplar(exemplar: &campanile_metrics::export::Exemplar) -> Exemplar {
    Exemplar {
        value: exemplar.value,
        at: exemplar.at,
        trace_id: exemplar.trace.trace_id(),
        span_id: exemplar.trace.span_id(),
    }
}

/// Sets the start time of a point, if it is known.
#[cfg(feature = "otlp")]
fn begun(point: Point<'_>, created: Option<std::time::SystemTime>) -> Point<'_> {
    match created {
        Some(since) => point.since(since),
        None => point,
    }
}

/// Publishes the counts of the log and of the export as metrics.
pub(crate) fn count(registry: &Registry, telemetry: &Telemetry) {
    let set = |name: &str, labels: &[(&str, &str)], value| {
        // If the application has a metric of another kind with this name, its metric stays.
        if let Ok(counter) = registry.counter(name, labels) {
            counter.absolute(value);
        }
    };
    let lines = telemetry.stats();
    registry.describe(DROPPED, "Log lines that were not written, by reason.");
    set(DROPPED, &[("reason", "queue_full")], lines.dropped);
    set(DROPPED, &[("reason", "write_error")], lines.failed);
    set(DROPPED, &[("reason", "rate_limit")], lines.suppressed);
    registry.describe(
        RECORDINGS,
        "Flight recordings of failed requests that were discarded because of their rate limit.",
    );
    set(RECORDINGS, &[], lines.recordings_suppressed);
    #[cfg(feature = "otlp")]
    if let Some(exports) = telemetry.exports() {
        registry.describe(ITEMS, "Telemetry items emitted, by signal.");
        registry.describe(EXPORTS, "Telemetry items by signal and export outcome.");
        for (signal, counts) in [
            ("traces", exports.traces),
            ("logs", exports.logs),
            ("metrics", exports.metrics),
        ] {
            set(ITEMS, &[("signal", signal)], counts.emitted);
            for (outcome, value) in [
                ("exported", counts.exported),
                ("failed", counts.failed),
                ("dropped", counts.dropped),
            ] {
                set(EXPORTS, &[("signal", signal), ("outcome", outcome)], value);
            }
        }
    }
}

const DROPPED: &str = "campanile_log_dropped_lines_total";
const RECORDINGS: &str = "campanile_log_suppressed_recordings_total";
#[cfg(feature = "otlp")]
const ITEMS: &str = "campanile_otlp_items_total";
#[cfg(feature = "otlp")]
const EXPORTS: &str = "campanile_otlp_exports_total";

#[cfg(all(test, feature = "otlp"))]
mod tests {
    use std::num::{NonZeroU64, NonZeroU128};

    use campanile_http::TraceRef;

    use super::*;

    #[test]
    fn exported_points_have_the_constant_labels() {
        let registry = Registry::builder()
            .constant_label("zone", "a")
            .constant_label("cell", "7")
            .build()
            .unwrap();
        registry.gauge("g", &[("k", "1")]).unwrap();
        registry.gauge("g", &[("k", "2"), ("zone", "b")]).unwrap();
        let constant: Vec<_> = registry.constant_labels().collect();
        let mut exported = Vec::<Vec<String>>::new();
        registry.export(|family| {
            for series in &family.series {
                let labels = labels(series, &constant);
                exported.push(
                    labels
                        .iter()
                        .map(|(name, value)| format!("{name}={value}"))
                        .collect(),
                );
            }
        });
        let expected: [Vec<String>; 2] = [
            vec!["k=1".into(), "zone=a".into(), "cell=7".into()],
            vec!["k=2".into(), "zone=b".into(), "cell=7".into()],
        ];
        assert_eq!(exported, expected);
    }

    #[test]
    fn exported_exemplars_have_the_ids_of_trace_and_span() {
        let registry = Registry::new();
        let (trace, span) = (NonZeroU128::MIN, NonZeroU64::MAX);
        let histogram = registry.histogram("time_seconds", &[]).unwrap();
        histogram.record_in_trace(0.5, TraceRef::new(trace, true).with_span(span));
        let exemplars = histogram.value().exemplars;
        let exported = exemplar(&exemplars[0]);
        assert_eq!((exported.trace_id, exported.span_id), (1, Some(span)));
    }
}
