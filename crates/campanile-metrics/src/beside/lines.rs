use crate::page::{Format, Lines, bound};
use crate::snapshot::{SeriesSnapshot, Value};

/// Writes the lines of a series that was read from a text.
pub(crate) fn write(series: &SeriesSnapshot, lines: &mut Lines<'_>) {
    let labels = &series.labels;
    // OpenMetrics has no negative sum, and no count without a sum.
    let is_text = lines.format() == Format::Text;
    match &series.value {
        Value::Counter(value) => lines.integer(lines.total(), labels, "", *value),
        Value::TimeCounter(time) => lines.float(lines.total(), labels, "", time.as_secs_f64()),
        Value::Gauge(value) => lines.float("", labels, "", *value),
        Value::Histogram(histogram) => {
            let mut first = None;
            for (upper, count) in &histogram.buckets {
                let le = format!(",le=\"{}\"", bound(*upper));
                first.get_or_insert(*upper);
                lines.bucket(labels, &le, *count, None);
            }
            lines.bucket(labels, ",le=\"+Inf\"", histogram.count, None);
            if is_text || (histogram.sum >= 0.0 && first.is_none_or(|first| first >= 0.0)) {
                lines.float("_sum", labels, "", histogram.sum);
                lines.integer("_count", labels, "", histogram.count);
            }
        }
        Value::Summary(summary) => {
            for (quantile, value) in &summary.quantiles {
                if is_text || value.is_nan() || *value >= 0.0 {
                    let label = format!(",quantile=\"{}\"", bound(*quantile));
                    lines.float("", labels, &label, *value);
                }
            }
            if is_text || summary.sum >= 0.0 {
                lines.float("_sum", labels, "", summary.sum);
                lines.integer("_count", labels, "", summary.count);
            }
        }
    }
}
