//! Metrics as OTLP messages: `opentelemetry/proto/metrics/v1/metrics.proto`.

use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::exemplar::Value as exemplar_value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    self as proto, AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::time::sleep_until;

use super::batch_queue::{BatchQueue, MAX_BATCH_BYTES};
use super::export::Export;
use super::proto::{attributes, nanoseconds, proto_resource, proto_scope};
use super::send::{Sent, now};
use super::transport::Transport;
use crate::clock;

/// A source of exported metrics. The crate `campanile` implements it for its registry.
///
/// ```
/// use campanile_telemetry::{PointValue, MetricSource, MetricWriter, Point};
///
/// struct Answers;
///
/// impl MetricSource for Answers {
///     fn collect(&self, out: &mut MetricWriter<'_>) {
///         out.metric("answers", "Answers by kind.", "");
///         out.point(Point::new(&[("kind", "final")], PointValue::Count(42)));
///     }
/// }
/// ```
pub trait MetricSource: Send + Sync + 'static {
    /// Writes the current value of all metrics. The exporting thread calls it, and each thread that
    /// flushes.
    fn collect(&self, out: &mut MetricWriter<'_>);
}

/// Receives metrics one by one.
#[derive(Debug)]
pub struct MetricWriter<'a> {
    outbox: &'a BatchQueue<Bytes>,
    resource: &'a Resource,
    begun: u64,
    now: u64,
    /// The current metric. All of its points have one kind.
    metric: Metric,
    /// The finished metrics.
    metrics: Vec<Metric>,
    /// The number of points, including those of the current metric.
    items: usize,
    bytes: usize,
}

/// One value of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    attributes: &'a [(&'a str, &'a str)],
    measured: PointValue<'a>,
    exemplars: &'a [Exemplar],
    since: Option<SystemTime>,
}

/// The value of a point. Counts, amounts and histograms are cumulative since the start of the
/// source.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum PointValue<'a> {
    /// A monotonic integer.
    Count(u64),
    /// A monotonic number, such as seconds.
    Amount(f64),
    /// A value that goes up and down.
    Gauge(f64),
    /// A histogram with explicit bounds.
    Histogram {
        /// The inclusive upper bounds, in ascending order.
        bounds: &'a [f64],
        /// The number of samples of each bucket, not cumulative. The last bucket is above all
        /// bounds.
        counts: &'a [u64],
        /// The sum of the samples; `None` if samples may be negative.
        sum: Option<f64>,
    },
    /// A summary with quantiles.
    Summary {
        /// The quantiles, from 0 to 1, and their values.
        quantiles: &'a [(f64, f64)],
        /// The number of samples.
        count: u64,
        /// The sum of the samples.
        sum: f64,
    },
}

/// A sample with the trace that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The value of the sample.
    pub value: f64,
    /// The time of the sample.
    pub at: SystemTime,
    /// The trace id.
    pub trace_id: u128,
    /// The span id, if it is known.
    pub span_id: Option<NonZeroU64>,
}

impl<'a> Point<'a> {
    /// Creates a point with attributes.
    pub fn new(attributes: &'a [(&'a str, &'a str)], measured: PointValue<'a>) -> Self {
        Self {
            attributes,
            measured,
            exemplars: &[],
            since: None,
        }
    }

    /// Sets the start time of a cumulative value.
    ///
    /// Defaults to the time at which the telemetry was built.
    #[must_use]
    pub fn since(self, since: SystemTime) -> Self {
        Self {
            since: Some(since),
            ..self
        }
    }

    /// Sets the exemplars.
    ///
    /// Defaults to none.
    #[must_use]
    pub fn exemplars(self, exemplars: &'a [Exemplar]) -> Self {
        Self { exemplars, ..self }
    }
}

impl MetricWriter<'_> {
    /// Starts a metric. The unit is a UCUM unit such as `s` or `By`, or empty.
    pub fn metric(&mut self, name: &str, description: &str, unit: &str) {
        self.end_metric();
        self.metric = Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: unit.to_owned(),
            ..Metric::default()
        };
    }

    /// Adds a point to the metric. All points of a metric have one kind; a point of another kind
    /// starts the metric again.
    pub fn point(&mut self, point: Point<'_>) {
        let point = self.data_point(&point);
        let bytes = match &point {
            Data::Gauge(gauge) => gauge.encoded_len(),
            Data::Sum(sum) => sum.encoded_len(),
            Data::Histogram(histogram) => histogram.encoded_len(),
            Data::Summary(summary) => summary.encoded_len(),
            Data::ExponentialHistogram(histogram) => histogram.encoded_len(),
        };
        if self.bytes + bytes > MAX_BATCH_BYTES / 2 {
            self.end_metric();
            self.end_batch();
        }
        match (&mut self.metric.data, point) {
            (Some(Data::Gauge(all)), Data::Gauge(one)) => {
                all.data_points.extend(one.data_points);
            }
            (Some(Data::Sum(all)), Data::Sum(one)) => {
                all.data_points.extend(one.data_points);
            }
            (Some(Data::Histogram(all)), Data::Histogram(one)) => {
                all.data_points.extend(one.data_points);
            }
            (Some(Data::Summary(all)), Data::Summary(one)) => {
                all.data_points.extend(one.data_points);
            }
            (_, point) => {
                self.end_metric();
                self.metric.data = Some(point);
            }
        }
        self.items += 1;
        self.bytes += bytes;
    }

    fn end_metric(&mut self) {
        let Some(data) = self.metric.data.take() else {
            return;
        };
        self.metrics.push(Metric {
            data: Some(data),
            ..self.metric.clone()
        });
    }

    fn end_batch(&mut self) {
        if self.items > 0 {
            let metrics = std::mem::take(&mut self.metrics);
            // The batch is encoded now, since the message takes much more memory.
            let request = request(self.resource, metrics);
            let bytes = request.len();
            self.outbox.push(request, self.items, bytes);
        }
        (self.items, self.bytes) = (0, 0);
    }

    /// Returns the data of a metric with one point.
    fn data_point(&self, point: &Point<'_>) -> Data {
        let since = point.since.map_or(self.begun, nanoseconds);
        let (since, now) = (since.min(self.now), self.now);
        let attributes = attributes(point.attributes.iter().copied());
        let exemplars = || point.exemplars.iter().map(exemplar).collect();
        let number = |value, since| NumberDataPoint {
            attributes: attributes.clone(),
            start_time_unix_nano: since,
            time_unix_nano: now,
            value: Some(value),
            ..NumberDataPoint::default()
        };
        let sum = |value| {
            Data::Sum(Sum {
                data_points: vec![NumberDataPoint {
                    exemplars: exemplars(),
                    ..number(value, since)
                }],
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
                is_monotonic: true,
            })
        };
        match point.measured {
            // A count above the range of the format wraps.
            PointValue::Count(count) => sum(Number::AsInt((count & i64::MAX as u64) as i64)),
            PointValue::Amount(amount) => sum(Number::AsDouble(amount)),
            PointValue::Gauge(value) => Data::Gauge(Gauge {
                data_points: vec![number(Number::AsDouble(value), 0)],
            }),
            PointValue::Histogram {
                bounds,
                counts,
                sum,
            } => Data::Histogram(Histogram {
                data_points: vec![HistogramDataPoint {
                    attributes,
                    start_time_unix_nano: since,
                    time_unix_nano: now,
                    count: counts.iter().sum(),
                    sum,
                    bucket_counts: counts.to_vec(),
                    explicit_bounds: bounds.to_vec(),
                    exemplars: exemplars(),
                    ..HistogramDataPoint::default()
                }],
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
            }),
            PointValue::Summary {
                quantiles,
                count,
                sum,
            } => Data::Summary(Summary {
                data_points: vec![SummaryDataPoint {
                    attributes,
                    start_time_unix_nano: since,
                    time_unix_nano: now,
                    count,
                    sum,
                    quantile_values: quantiles.iter().map(at_quantile).collect(),
                    ..SummaryDataPoint::default()
                }],
            }),
        }
    }
}

fn exemplar(exemplar: &Exemplar) -> proto::Exemplar {
    proto::Exemplar {
        time_unix_nano: nanoseconds(exemplar.at),
        value: Some(exemplar_value::AsDouble(exemplar.value)),
        trace_id: exemplar.trace_id.to_be_bytes().to_vec(),
        span_id: exemplar
            .span_id
            .map_or_else(Vec::new, |id| id.get().to_be_bytes().to_vec()),
        ..proto::Exemplar::default()
    }
}

fn at_quantile(&(quantile, value): &(f64, f64)) -> ValueAtQuantile {
    ValueAtQuantile { quantile, value }
}

/// Returns an export request. It uses `opentelemetry-proto`, since metrics of the SDK have no
/// exemplars and no start times per point.
fn request(resource: &Resource, metrics: Vec<Metric>) -> Bytes {
    let scope_metrics = ScopeMetrics {
        scope: Some(proto_scope()),
        metrics,
        ..ScopeMetrics::default()
    };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![scope_metrics],
            ..ResourceMetrics::default()
        }],
    };
    request.encode_to_vec().into()
}

/// Sends export requests.
pub(super) struct ExportMetrics(pub(super) Transport);

impl Export for ExportMetrics {
    type Item = Bytes;

    async fn export(&mut self, requests: Vec<Bytes>) -> Sent {
        let mut all = 0;
        // A batch is one request.
        for request in requests {
            match self.0.send(request).await {
                Sent::Taken { rejected } => all += rejected,
                failed @ Sent::Failed { .. } => return failed,
            }
        }
        Sent::Taken { rejected: all }
    }

    fn transport(&self) -> &Transport {
        &self.0
    }
}

/// A metric source with its start time.
pub(crate) struct Metrics {
    source: Arc<dyn MetricSource>,
    resource: Resource,
    begun: SystemTime,
    /// Whether a collection is running.
    is_collecting: AtomicBool,
}

impl Metrics {
    pub(crate) fn new(source: Arc<dyn MetricSource>, resource: &[(String, String)]) -> Self {
        Self {
            source,
            resource: proto_resource(resource),
            begun: clock::now(),
            is_collecting: AtomicBool::new(false),
        }
    }

    pub(crate) fn collect(&self, outbox: &BatchQueue<Bytes>) {
        // A source may call `flush`, which collects.
        if self.is_collecting.swap(true, Ordering::Acquire) {
            return;
        }
        let mut out = MetricWriter {
            outbox,
            resource: &self.resource,
            begun: nanoseconds(self.begun),
            // The clock may have been set back.
            now: nanoseconds(clock::now().max(self.begun)),
            metric: Metric::default(),
            metrics: Vec::new(),
            items: 0,
            bytes: 0,
        };
        let collect = AssertUnwindSafe(|| self.source.collect(&mut out));
        // If the source panics, its batch is discarded.
        if catch_unwind(collect).is_ok() {
            out.end_metric();
            out.end_batch();
        }
        self.is_collecting.store(false, Ordering::Release);
    }

    pub(crate) async fn collect_every(&self, every: Duration, outbox: &BatchQueue<Bytes>) {
        let closing = async {
            outbox.closing().await;
        };
        let collect = async {
            let mut next = now();
            loop {
                next += every;
                sleep_until(next).await;
                self.collect(outbox);
                // Missed intervals are skipped.
                next = next.max(now());
            }
        };
        tokio::select! {
            () = closing => {}
            () = collect => {}
        }
    }
}
