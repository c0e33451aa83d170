//! Metrics as OTLP's messages: `opentelemetry/proto/metrics/v1/metrics.proto`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::sleep_until;

use super::outbox::{MAX_BATCH_BYTES, Outbox};
use super::record::{nanoseconds, text_attribute};
use super::send::now;
use super::wire::Wire;
use crate::clock;

/// What has metrics that are exported: the facade implements it for its registry.
///
/// ```
/// use campanile_telemetry::{Measured, MetricSource, MetricWriter, Point};
///
/// struct Answers;
///
/// impl MetricSource for Answers {
///     fn collect(&self, out: &mut MetricWriter<'_>) {
///         out.metric("answers", "Answers that were given.", "");
///         out.point(Point::new(&[("kind", "final")], Measured::Count(42)));
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
    outbox: &'a Outbox,
    begun: u64,
    now: u64,
    name: String,
    description: String,
    unit: String,
    /// The points of the metric so far, which are all of one kind.
    points: Wire,
    count: usize,
    kind: Kind,
    /// Whole metrics, and how many points they have.
    metrics: Wire,
    items: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gauge,
    Sum,
    Histogram,
    Summary,
}

/// One value of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    attributes: &'a [(&'a str, &'a str)],
    measured: Measured<'a>,
    exemplars: &'a [Exemplar],
    since: Option<SystemTime>,
}

/// What is measured. Counts, times and histograms are of all that there was since the source began.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Measured<'a> {
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
}

impl<'a> Point<'a> {
    /// Returns a point with these attributes.
    pub fn new(attributes: &'a [(&'a str, &'a str)], measured: Measured<'a>) -> Self {
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
        for (text, of) in [
            (&mut self.name, name),
            (&mut self.description, description),
            (&mut self.unit, unit),
        ] {
            text.clear();
            text.push_str(of);
        }
    }

    /// Adds a point to the metric. Those of one metric are of one kind: one of another kind begins the metric again.
    pub fn point(&mut self, point: Point<'_>) {
        let kind = match point.measured {
            Measured::Gauge(_) => Kind::Gauge,
            Measured::Count(_) | Measured::Amount(_) => Kind::Sum,
            Measured::Histogram { .. } => Kind::Histogram,
            Measured::Summary { .. } => Kind::Summary,
        };
        let is_full = self.points.0.len() + self.metrics.0.len() >= MAX_BATCH_BYTES / 2;
        if kind != self.kind || is_full {
            self.end_metric();
        }
        self.kind = kind;
        self.count += 1;
        let (begun, now) = (self.begun, self.now);
        self.points
            .message(1, |out| data_point(out, &point, begun, now));
    }

    fn end_metric(&mut self) {
        if self.count == 0 {
            return;
        }
        let (points, kind) = (&self.points.0, self.kind);
        self.metrics.message(2, |metric| {
            metric.text(1, &self.name);
            for (field, text) in [(2, &self.description), (3, &self.unit)] {
                if !text.is_empty() {
                    metric.text(field, text);
                }
            }
            let field = match kind {
                Kind::Gauge => 5,
                Kind::Sum => 7,
                Kind::Histogram => 9,
                Kind::Summary => 11,
            };
            metric.message(field, |data| {
                data.0.extend_from_slice(points);
                if matches!(kind, Kind::Sum | Kind::Histogram) {
                    data.varint(2, CUMULATIVE);
                }
                if kind == Kind::Sum {
                    data.varint(3, 1);
                }
            });
        });
        self.points.0.clear();
        self.items += std::mem::take(&mut self.count);
        if self.metrics.0.len() >= MAX_BATCH_BYTES / 2 {
            self.end_batch();
        }
    }

    fn end_batch(&mut self) {
        if self.items > 0 {
            self.outbox.push(&self.metrics.0, self.items);
        }
        self.metrics.0.clear();
        self.items = 0;
    }
}

/// Since the source began.
const CUMULATIVE: u64 = 2;

fn data_point(out: &mut Wire, point: &Point<'_>, begun: u64, now: u64) {
    let attributes = |out: &mut Wire, field| {
        for (key, value) in point.attributes {
            text_attribute(out, field, key, value);
        }
    };
    let exemplars = |out: &mut Wire, field| {
        for exemplar in point.exemplars {
            out.message(field, |out| {
                out.fixed_64(2, nanoseconds(exemplar.at));
                out.double(3, exemplar.value);
                out.bytes(5, &exemplar.trace_id.to_be_bytes());
            });
        }
    };
    if !matches!(point.measured, Measured::Gauge(_)) {
        let since = point.since.map_or(begun, nanoseconds);
        out.fixed_64(2, since.min(now));
    }
    out.fixed_64(3, now);
    match point.measured {
        Measured::Count(count) => {
            exemplars(out, 5);
            // As the format has it; what is more than that has wrapped.
            out.fixed_64(6, count & i64::MAX as u64);
            attributes(out, 7);
        }
        Measured::Amount(value) | Measured::Gauge(value) => {
            out.double(4, value);
            exemplars(out, 5);
            attributes(out, 7);
        }
        Measured::Histogram {
            bounds,
            counts,
            sum,
        } => {
            out.fixed_64(4, counts.iter().sum());
            if let Some(sum) = sum {
                out.double(5, sum);
            }
            out.packed(6, counts.iter().copied());
            out.packed(7, bounds.iter().map(|bound| bound.to_bits()));
            exemplars(out, 8);
            attributes(out, 9);
        }
        Measured::Summary {
            quantiles,
            count,
            sum,
        } => {
            out.fixed_64(4, count);
            out.double(5, sum);
            for (quantile, value) in quantiles {
                out.message(6, |out| {
                    out.double(1, *quantile);
                    out.double(2, *value);
                });
            }
            attributes(out, 7);
        }
    }
}

/// A source, and when it began.
pub(crate) struct Metrics {
    source: Arc<dyn MetricSource>,
    begun: SystemTime,
    /// Whether it is asked right now.
    is_asked: AtomicBool,
}

impl Metrics {
    pub(crate) fn new(source: Arc<dyn MetricSource>) -> Self {
        Self {
            source,
            begun: clock::now(),
            is_asked: AtomicBool::new(false),
        }
    }

    pub(crate) fn collect(&self, outbox: &Outbox) {
        // A source may flush the telemetry, which asks the source.
        if self.is_asked.swap(true, Ordering::Acquire) {
            return;
        }
        let mut out = MetricWriter {
            outbox,
            begun: nanoseconds(self.begun),
            // The clock may have gone back.
            now: nanoseconds(clock::now().max(self.begun)),
            name: String::new(),
            description: String::new(),
            unit: String::new(),
            points: Wire::default(),
            count: 0,
            kind: Kind::Gauge,
            metrics: Wire::default(),
            items: 0,
        };
        let collect = AssertUnwindSafe(|| self.source.collect(&mut out));
        // What is half written goes nowhere.
        if catch_unwind(collect).is_ok() {
            out.end_metric();
            out.end_batch();
        }
        self.is_asked.store(false, Ordering::Release);
    }

    pub(crate) async fn collect_every(&self, every: Duration, outbox: &Outbox) {
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
