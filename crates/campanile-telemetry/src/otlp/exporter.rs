use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{JoinHandle, ThreadId};
use std::time::Instant;
use std::{fmt, io};

use bytes::Bytes;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use tracing::Dispatch;

use super::batch_queue::{BatchQueue, SignalStats, Waiting};
use super::ids::Ids;
use super::metrics::{ExportMetrics, Metrics};
use super::plan::Plan;
use super::proto::scope;
use super::records::{ExportRecords, Records};
use super::spans::{ExportSpans, Spans};
use super::worker::{SignalWorker, run};
use crate::clock;
use crate::otel::Tracer;

/// The queues of all signals, and the thread that exports them.
pub(crate) struct Exporter {
    /// The provider of exported spans; `None` if traces are not exported.
    traces: Option<Traces>,
    /// `None` if logs are not exported.
    pub(crate) logs: Option<Records>,
    metrics: Option<Arc<BatchQueue<Bytes>>>,
    source: Option<Arc<Metrics>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    id: Option<ThreadId>,
}

struct Traces {
    outbox: Arc<BatchQueue<SpanData>>,
    provider: SdkTracerProvider,
    tracer: Tracer,
}

impl Exporter {
    /// Starts the thread `campanile-otlp`, which exports until it is shut down.
    pub(crate) fn start(plan: Plan) -> io::Result<Self> {
        let Plan {
            sampler,
            attributes: [of_spans, of_lines],
            traces,
            logs,
            metrics,
            resource,
            redaction,
            report,
        } = plan;
        let pairs = resource
            .iter()
            .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let sdk_resource = Resource::builder_empty().with_attributes(pairs).build();
        let traces = match traces {
            None => None,
            Some(signal) => {
                let outbox = Arc::new(BatchQueue::new(signal.limits));
                let export = ExportSpans::new(signal.transport, &sdk_resource, of_spans, redaction);
                let worker = SignalWorker {
                    name: signal.name,
                    export: export.map_err(io::Error::other)?,
                    outbox: Arc::clone(&outbox),
                    report: Arc::clone(&report),
                };
                let spans = Spans::new(Arc::clone(&outbox), of_spans);
                let provider = SdkTracerProvider::builder()
                    .with_span_processor(spans)
                    .with_sampler(sampler)
                    .with_id_generator(Ids)
                    .with_span_limits(of_spans.of_spans())
                    .with_resource(sdk_resource.clone())
                    .build();
                let tracer = Tracer::of_exporter(provider.tracer_with_scope(scope()));
                let traces = Traces {
                    outbox,
                    provider,
                    tracer,
                };
                Some((worker, traces))
            }
        };
        let (traces_worker, traces) = traces.unzip();
        let logs = match logs {
            None => None,
            Some(signal) => {
                let outbox = Arc::new(BatchQueue::new(signal.limits));
                let worker = SignalWorker {
                    name: signal.name,
                    export: ExportRecords::new(signal.transport, &resource),
                    outbox: Arc::clone(&outbox),
                    report: Arc::clone(&report),
                };
                Some((worker, Records::new(outbox, of_lines)))
            }
        };
        let (logs_worker, logs) = logs.unzip();
        let metrics = metrics.map(|(signal, source, every)| {
            let outbox = Arc::new(BatchQueue::new(signal.limits));
            let worker = SignalWorker {
                name: signal.name,
                export: ExportMetrics(signal.transport),
                outbox: Arc::clone(&outbox),
                report: Arc::clone(&report),
            };
            (
                worker,
                (outbox, Arc::new(Metrics::new(source, &resource)), every),
            )
        });
        let (metrics_worker, metrics) = metrics.unzip();
        let collecting = metrics.clone();
        let (metrics, source) = match metrics {
            Some((outbox, source, _)) => (Some(outbox), Some(source)),
            None => (None, None),
        };
        let mut exporter = Self {
            traces,
            logs,
            metrics,
            source,
            thread: Mutex::default(),
            id: None,
        };
        let thread = std::thread::Builder::new().name(THREAD.to_owned());
        // The runtime is created on the thread that drops it: it cannot be dropped in a task of
        // another runtime.
        let (sender, started) = mpsc::channel();
        let thread = thread.spawn(move || {
            // Events of the client about an export must not be exported.
            let _quiet = tracing::dispatcher::set_default(&Dispatch::none());
            let _untraced = Context::enter_telemetry_suppressed_scope();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                // The starting thread waits for this.
                Err(error) => return drop(sender.send(error)),
            };
            drop(sender);
            runtime.block_on(async {
                let collect = async {
                    if let Some((outbox, source, every)) = collecting {
                        source.collect_every(every, &outbox).await;
                    }
                };
                tokio::join!(
                    run(traces_worker),
                    run(logs_worker),
                    run(metrics_worker),
                    collect
                );
            });
            // Pending DNS lookups are not awaited.
            runtime.shutdown_background();
        })?;
        if let Ok(error) = started.recv() {
            return Err(error);
        }
        exporter.id = Some(thread.thread().id());
        *exporter
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(exporter)
    }

    /// Returns the provider of the spans that are exported.
    pub(crate) fn provider(&self) -> Option<&SdkTracerProvider> {
        self.traces.as_ref().map(|traces| &traces.provider)
    }

    /// Returns the tracer of exported spans.
    pub(crate) fn tracer(&self) -> Option<&Tracer> {
        self.traces.as_ref().map(|traces| &traces.tracer)
    }

    /// Queues the spans of a recording.
    pub(crate) fn export_recorded(&self, spans: Vec<(SpanData, usize)>) {
        if let Some(Traces { outbox, .. }) = &self.traces {
            for (span, bytes) in spans {
                outbox.push(super::spans::sampled(span), 1, bytes);
            }
        }
    }

    /// Exports all queued items until a deadline. Returns the numbers of items that are still
    /// queued or have failed.
    pub(crate) fn flush(&self, until: Instant) -> [u64; 3] {
        self.collect();
        let before = self.counts();
        self.outboxes()
            .into_iter()
            .flatten()
            .for_each(|outbox| outbox.hurry());
        self.wait(until, before)
    }

    /// Exports all queued items until a deadline and ends. Returns the numbers of lost items.
    pub(crate) fn shutdown(&self, until: Instant) -> [u64; 3] {
        if self
            .outboxes()
            .into_iter()
            .flatten()
            .any(|outbox| !outbox.is_closed())
        {
            self.collect();
        }
        let before = self.counts();
        self.outboxes()
            .into_iter()
            .flatten()
            .for_each(|outbox| outbox.close(until));
        let lost = self.wait(until, before);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let has_nothing_left = self.outboxes().into_iter().flatten().all(|outbox| {
            let (left, _) = outbox.wait(until, &|| until);
            left == 0
        });
        if let Some(thread) = thread.filter(|_| has_nothing_left && !self.is_here()) {
            // A panic of the thread shows in the lost items.
            let _ = thread.join();
        }
        lost
    }

    /// Returns the numbers of spans, log records and points.
    pub(crate) fn counts(&self) -> [SignalStats; 3] {
        let counts = |outbox: Option<&dyn Waiting>| outbox.map(Waiting::counts).unwrap_or_default();
        self.outboxes().map(counts)
    }

    fn collect(&self) {
        if let (Some(source), Some(outbox)) = (&self.source, &self.metrics) {
            source.collect(outbox);
        }
    }

    fn outboxes(&self) -> [Option<&dyn Waiting>; 3] {
        let traces = self.traces.as_ref();
        [
            traces.map(|traces| &*traces.outbox as &dyn Waiting),
            self.logs.as_ref().map(|logs| logs.outbox() as _),
            self.metrics.as_deref().map(|outbox| outbox as _),
        ]
    }

    /// Waits for the queues. Returns the numbers of items that are still queued, or have failed
    /// since `before`.
    fn wait(&self, until: Instant, before: [SignalStats; 3]) -> [u64; 3] {
        // The exporting thread cannot wait for itself.
        let is_here = self.is_here();
        let until = if is_here { clock::instant() } else { until };
        let mut before = before.into_iter();
        self.outboxes().map(|outbox| {
            let before = before.next().unwrap_or_default();
            let Some(outbox) = outbox else {
                return 0;
            };
            let (left, failed) = outbox.wait(until, &clock::instant);
            left + failed - before.failed
        })
    }

    /// Returns whether this is the exporting thread. A metric source on it may call `flush`.
    fn is_here(&self) -> bool {
        self.id == Some(std::thread::current().id())
    }
}

const THREAD: &str = "campanile-otlp";

impl Drop for Exporter {
    fn drop(&mut self) {
        self.shutdown(clock::instant() + crate::queue::LAST_WRITE);
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
