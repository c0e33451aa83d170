//! The exporter `console` of the OpenTelemetry variables. It writes a JSON line to the log for each
//! span and each point.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::settings::{METRICS, TRACES};
use crate::clock;
use crate::fields::quoted;
use crate::number;

/// Writes spans and points to the writer of the log, which never blocks and counts lost lines.
pub(super) struct Console {
    pub(super) signal: usize,
    pub(super) write: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Console {
    /// Writes the items of an export request.
    pub(super) fn write(&self, request: &[u8]) {
        let mut line = String::new();
        let mut write = |write_line: &dyn Fn(&mut String)| {
            line.clear();
            write_line(&mut line);
            (self.write)(&line);
        };
        match self.signal {
            TRACES => {
                let spans = ExportTraceServiceRequest::decode(request).unwrap_or_default();
                let spans = spans.resource_spans.into_iter();
                let spans = spans.flat_map(|of_resource| of_resource.scope_spans);
                for span in spans.flat_map(|of_scope| of_scope.spans) {
                    write(&|line| write_span(&span, line));
                }
            }
            METRICS => {
                let metrics = ExportMetricsServiceRequest::decode(request).unwrap_or_default();
                let metrics = metrics.resource_metrics.into_iter();
                let metrics = metrics.flat_map(|of_resource| of_resource.scope_metrics);
                for metric in metrics.flat_map(|of_scope| of_scope.metrics) {
                    write_metric(&metric, &mut |one| write(&|line| line.push_str(one)));
                }
            }
            // Log records are already lines of the log.
            _ => {}
        }
    }
}

fn write_span(span: &Span, out: &mut String) {
    out.push_str("{\"span\":");
    quoted(&span.name, out);
    let kinds = ["", "internal", "server", "client", "producer", "consumer"];
    let kind = usize::try_from(span.kind).ok();
    let kind = kind.and_then(|kind| kinds.get(kind)).copied();
    member("kind", kind.unwrap_or_default(), out);
    for (key, id) in [
        ("trace_id", &span.trace_id),
        ("span_id", &span.span_id),
        ("parent_span_id", &span.parent_span_id),
    ] {
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        member(key, &hex, out);
    }
    out.push_str(",\"start\":\"");
    clock::push_at(
        UNIX_EPOCH + Duration::from_nanos(span.start_time_unix_nano),
        out,
    );
    out.push_str("\",\"duration_seconds\":");
    let nanos = span
        .end_time_unix_nano
        .saturating_sub(span.start_time_unix_nano);
    number::float(nanos as f64 / 1e9, out);
    let status = span.status.as_ref().map_or(0, |status| status.code);
    member(
        "status",
        ["unset", "ok", "error"]
            .get(status as usize)
            .copied()
            .unwrap_or_default(),
        out,
    );
    attributes(&span.attributes, out);
    out.push_str("}\n");
}

fn write_metric(metric: &Metric, write: &mut dyn FnMut(&str)) {
    let mut point = |pairs: &[KeyValue], values: &[(&str, f64)]| {
        let out = &mut String::from("{\"metric\":");
        quoted(&metric.name, out);
        member("unit", &metric.unit, out);
        attributes(pairs, out);
        for (key, value) in values {
            key_of(key, out);
            number::float(*value, out);
        }
        out.push_str("}\n");
        write(out);
    };
    let value = |value: Option<Number>| match value {
        Some(Number::AsInt(value)) => value as f64,
        Some(Number::AsDouble(value)) => value,
        None => f64::NAN,
    };
    match &metric.data {
        Some(Data::Gauge(gauge)) => {
            for one in &gauge.data_points {
                point(&one.attributes, &[("value", value(one.value))]);
            }
        }
        Some(Data::Sum(sum)) => {
            for one in &sum.data_points {
                point(&one.attributes, &[("value", value(one.value))]);
            }
        }
        Some(Data::Histogram(histogram)) => {
            for one in &histogram.data_points {
                let sum = one.sum.unwrap_or(f64::NAN);
                point(
                    &one.attributes,
                    &[("count", one.count as f64), ("sum", sum)],
                );
            }
        }
        Some(Data::Summary(summary)) => {
            for one in &summary.data_points {
                let values = [("count", one.count as f64), ("sum", one.sum)];
                point(&one.attributes, &values);
            }
        }
        _ => {}
    }
}

fn attributes(pairs: &[KeyValue], out: &mut String) {
    key_of("attributes", out);
    out.push('{');
    for (number, pair) in pairs.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        quoted(&pair.key, out);
        out.push(':');
        value(pair.value.as_ref(), out);
    }
    out.push('}');
}

fn value(of: Option<&AnyValue>, out: &mut String) {
    match of.and_then(|of| of.value.as_ref()) {
        Some(Value::StringValue(text)) => quoted(text, out),
        Some(Value::BoolValue(is_true)) => out.push_str(if *is_true { "true" } else { "false" }),
        Some(Value::IntValue(integer)) => number::signed(*integer, out),
        Some(Value::DoubleValue(float)) => number::float(*float, out),
        Some(Value::ArrayValue(array)) => {
            out.push('[');
            for (number, one) in array.values.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                value(Some(one), out);
            }
            out.push(']');
        }
        _ => out.push_str("null"),
    }
}

fn member(key: &str, text: &str, out: &mut String) {
    key_of(key, out);
    quoted(text, out);
}

fn key_of(key: &str, out: &mut String) {
    out.push(',');
    quoted(key, out);
    out.push(':');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_and_a_point_are_lines_of_json() {
        let mut out = String::new();
        let span = Span {
            name: "GET /a\n".to_owned(),
            kind: 2,
            trace_id: vec![0xab; 16],
            span_id: vec![1; 8],
            start_time_unix_nano: 1_000_000_000,
            end_time_unix_nano: 1_500_000_000,
            attributes: super::super::proto::attributes([("k", "v\"")]),
            ..Span::default()
        };
        write_span(&span, &mut out);
        let metric = Metric {
            name: "answers".to_owned(),
            data: Some(Data::Gauge(
                opentelemetry_proto::tonic::metrics::v1::Gauge {
                    data_points: vec![Default::default()],
                },
            )),
            ..Metric::default()
        };
        write_metric(&metric, &mut |line| out.push_str(line));
        let lines: Vec<serde_json::Value> = out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["span"], "GET /a\n");
        assert_eq!(lines[0]["kind"], "server");
        assert_eq!(lines[0]["trace_id"], "ab".repeat(16));
        assert_eq!(lines[0]["start"], "1970-01-01T00:00:01.000000Z");
        assert_eq!(lines[0]["duration_seconds"], 0.5);
        assert_eq!(lines[0]["attributes"]["k"], "v\"");
        assert_eq!(lines[1]["metric"], "answers");
        assert_eq!(lines[1]["value"], serde_json::Value::Null);
    }
}
