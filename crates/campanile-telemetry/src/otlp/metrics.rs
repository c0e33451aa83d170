//! Metrics as OTLP's messages: `opentelemetry/proto/metrics/v1/metrics.proto`.

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

/// What has metrics that are exported: the facade implements it for its registry.
///
/// ```
/// use campanile_telemetry::{PointValue, MetricSource, MetricWriter, Point};
///
/// struct Answers;
///
/// impl MetricSource for Answers {
///     fn collect(&self, out: &mut MetricWriter<'_>) {
///         out.metric("answers", "Answers that were given.", "");
///         out.point(Point::new(&[("kind", "final")], PointValue::Count(42)));
///     }
/// }
/// ```
pub trait MetricSource: Send + Sync + 'static {
    /// Writes all metrics as they are now. It is called on the thread that exports, and on the one that flushes.
    fn collect(&self, out: &mut MetricWriter<'_>);
}

/// Takes metrics, one after the other.
#[derive(Debug)]
pub struct MetricWriter<'a> {
    outbox: &'a BatchQueue<Bytes>,
    resource: &'a Resource,
    begun: u64,
    now: u64,
    /// The metric that points are added to, which are all of one kind.
    metric: Metric,
    /// Whole metrics.
    metrics: Vec<Metric>,
    /// The number of points, those of the metric included, and what they take.
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

/// What is measured. SignalStats, times and histograms are of all that there was since the source began.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum PointValue<'a> {
    /// A count that only rises.
    Count(u64),
    /// An amount that only rises, such as seconds.
    Amount(f64),
    /// A value that moves up and down.
    Gauge(f64),
    /// How many samples there were in each bucket.
    Histogram {
        /// The inclusive upper bounds, in rising order.
        bounds: &'a [f64],
        /// For each bound how many samples were in its bucket alone, and last how many were above all bounds.
        counts: &'a [u64],
        /// The sum of the samples; none if some may be negative.
        sum: Option<f64>,
    },
    /// Quantiles.
    Summary {
        /// The quantiles, from 0 to 1, and their values.
        quantiles: &'a [(f64, f64)],
        /// How many samples there were.
        count: u64,
        /// Their sum.
        sum: f64,
    },
}

/// A sample, and the trace that shows what happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The sample.
    pub value: f64,
    /// When it was.
    pub at: SystemTime,
    /// The trace's id.
    pub trace_id: u128,
    /// The span's id, if it is known.
    pub span_id: Option<NonZeroU64>,
}

impl<'a> Point<'a> {
    /// Returns a point with these attributes.
    pub fn new(attributes: &'a [(&'a str, &'a str)], measured: PointValue<'a>) -> Self {
        Self {
            attributes,
            measured,
            exemplars: &[],
            since: None,
        }
    }

    /// Sets since when it is counted.
    ///
    /// Defaults to when the telemetry was built.
    #[must_use]
    pub fn since(self, since: SystemTime) -> Self {
        Self {
            since: Some(since),
            ..self
        }
    }

    /// Sets samples that stand for others.
    ///
    /// Defaults to none.
    #[must_use]
    pub fn exemplars(self, exemplars: &'a [Exemplar]) -> Self {
        Self { exemplars, ..self }
    }
}

impl MetricWriter<'_> {
    /// Begins a metric; the unit is one of UCUM, such as `s` or `By`, or empty.
    pub fn metric(&mut self, name: &str, description: &str, unit: &str) {
        self.end_metric();
        self.metric = Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: unit.to_owned(),
            ..Metric::default()
        };
    }

    /// Adds a point to the metric. Those of one metric are of one kind: one of another kind begins the metric again.
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
            // Encoded at once: a message takes many times as much memory.
            let request = request(self.resource, metrics);
            let bytes = request.len();
            self.outbox.push(request, self.items, bytes);
        }
        (self.items, self.bytes) = (0, 0);
    }

    /// Returns a metric's data with one point.
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
            // What is more than the format has room for has wrapped.
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

/// Returns metrics as a request to a collector. They are messages of `opentelemetry-proto`, since the metrics of the SDK have no exemplars
/// and no start times of their own.
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

/// Sends requests with metrics.
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

/// A source, and when it began.
pub(crate) struct Metrics {
    source: Arc<dyn MetricSource>,
    resource: Resource,
    begun: SystemTime,
    /// Whether it is asked right now.
    is_asked: AtomicBool,
}

impl Metrics {
    pub(crate) fn new(source: Arc<dyn MetricSource>, resource: &[(String, String)]) -> Self {
        Self {
            source,
            resource: proto_resource(resource),
            begun: clock::now(),
            is_asked: AtomicBool::new(false),
        }
    }

    pub(crate) fn collect(&self, outbox: &BatchQueue<Bytes>) {
        // A source may flush the telemetry, which asks the source.
        if self.is_asked.swap(true, Ordering::Acquire) {
            return;
        }
        let mut out = MetricWriter {
            outbox,
            resource: &self.resource,
            begun: nanoseconds(self.begun),
            // The clock may have gone back.
            now: nanoseconds(clock::now().max(self.begun)),
            metric: Metric::default(),
            metrics: Vec::new(),
            items: 0,
            bytes: 0,
        };
        let collect = AssertUnwindSafe(|| self.source.collect(&mut out));
        // What is half written goes nowhere.
        if catch_unwind(collect).is_ok() {
            out.end_metric();
            out.end_batch();
        }
        self.is_asked.store(false, Ordering::Release);
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
                // What was missed is not made up for.
                next = next.max(now());
            }
        };
        tokio::select! {
            () = closing => {}
            () = collect => {}
        }
    }
}
