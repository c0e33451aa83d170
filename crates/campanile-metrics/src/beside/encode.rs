use std::sync::Arc;

use crate::encode::{Encoder, Format, bound};
use crate::snapshot::{FamilySnapshot, SeriesSnapshot, Value};

/// Writes the series of an external family that come after one, until the text has this length.
/// Returns the labels of the last written series if there are more.
pub(crate) fn write(
    family: &FamilySnapshot,
    after: Option<&str>,
    encoder: &mut Encoder<'_>,
    length: usize,
) -> Option<Arc<str>> {
    if after.is_none() {
        encoder.announce(family.help.as_deref(), family.unit);
    }
    let is_before = |series: &SeriesSnapshot| after.is_some_and(|after| *series.labels <= *after);
    let from = family.series.partition_point(is_before);
    for series in &family.series[from..] {
        let is_overridden = encoder.constants().is_overridden(&series.labels);
        encoder.overridden(is_overridden.then_some(&*series.labels));
        write_series(series, encoder);
        if encoder.len() >= length {
            return Some(Arc::clone(&series.labels));
        }
    }
    None
}

/// Writes the lines of an external series.
fn write_series(series: &SeriesSnapshot, encoder: &mut Encoder<'_>) {
    let labels = &series.labels;
    // OpenMetrics allows no negative sum, and no count without a sum.
    let is_text = encoder.format() == Format::Text;
    match &series.value {
        Value::Counter(value) => encoder.integer(encoder.total(), labels, "", *value),
        Value::TimeCounter(time) => encoder.float(encoder.total(), labels, "", time.as_secs_f64()),
        Value::Gauge(value) => encoder.float("", labels, "", *value),
        Value::Histogram(histogram) => {
            let mut first = None;
            for (upper, count) in &histogram.buckets {
                let le = format!(",le=\"{}\"", bound(*upper));
                first.get_or_insert(*upper);
                encoder.bucket(labels, &le, *count, None);
            }
            encoder.bucket(labels, ",le=\"+Inf\"", histogram.count, None);
            if is_text || (histogram.sum >= 0.0 && first.is_none_or(|first| first >= 0.0)) {
                encoder.float("_sum", labels, "", histogram.sum);
                encoder.integer("_count", labels, "", histogram.count);
            }
        }
        Value::Summary(summary) => {
            for (quantile, value) in &summary.quantiles {
                if is_text || value.is_nan() || *value >= 0.0 {
                    let label = format!(",quantile=\"{}\"", bound(*quantile));
                    encoder.float("", labels, &label, *value);
                }
            }
            if is_text || summary.sum >= 0.0 {
                encoder.float("_sum", labels, "", summary.sum);
                encoder.integer("_count", labels, "", summary.count);
            }
        }
    }
}
