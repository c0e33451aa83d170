use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};
use std::{fmt, io};

use tracing::Dispatch;

use super::metrics::{MetricSource, Metrics};
use super::outbox::{Batch, Counts, Limits, Outbox};
use super::record::AttributeLimits;
use super::send::{Sender, Sent};
use super::wire::Wire;
use crate::clock;
use crate::sampler::Sampler;

/// What is exported, and the thread that does it.
pub(crate) struct Exporter {
    pub(crate) sampler: Sampler,
    /// Those of spans, and those of lines.
    pub(crate) attributes: [AttributeLimits; 2],
    /// `None` if they are not exported.
    pub(crate) traces: Option<Arc<Outbox>>,
    pub(crate) logs: Option<Arc<Outbox>>,
    metrics: Option<Arc<Outbox>>,
    source: Option<Arc<Metrics>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    id: Option<ThreadId>,
}

/// What is to be exported of one signal.
pub(crate) struct Signal {
    pub(crate) name: &'static str,
    pub(crate) sender: Sender,
    pub(crate) limits: Limits,
}

/// All that an exporter is made of.
pub(crate) struct Plan {
    pub(crate) sampler: Sampler,
    /// Those of spans, and those of lines.
    pub(crate) attributes: [AttributeLimits; 2],
    pub(crate) traces: Option<Signal>,
    pub(crate) logs: Option<Signal>,
    pub(crate) metrics: Option<(Signal, Arc<dyn MetricSource>, Duration)>,
    /// The resource, as the field of `ResourceSpans` and the like.
    pub(crate) resource: Vec<u8>,
    /// Writes a line to the log that is exported nowhere.
    pub(crate) report: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Exporter {
    /// Starts the thread `campanile-otlp`, which exports until it is shut down.
    pub(crate) fn start(plan: Plan) -> io::Result<Self> {
        let Plan {
            sampler,
            attributes,
            traces,
            logs,
            metrics,
            resource,
            report,
        } = plan;
        let resource: Arc<[u8]> = resource.into();
        let lane = |signal: Signal| Lane {
            name: signal.name,
            sender: signal.sender,
            outbox: Arc::new(Outbox::new(signal.limits)),
            resource: Arc::clone(&resource),
            report: Arc::clone(&report),
        };
        let (traces, logs) = (traces.map(lane), logs.map(lane));
        let (metrics, source, every) = match metrics {
            Some((signal, source, every)) => (Some(lane(signal)), Some(source), every),
            None => (None, None, Duration::ZERO),
        };
        let outbox = |lane: &Option<Lane>| lane.as_ref().map(|lane| Arc::clone(&lane.outbox));
        let mut exporter = Self {
            sampler,
            attributes,
            traces: outbox(&traces),
            logs: outbox(&logs),
            metrics: outbox(&metrics),
            source: source.map(|source| Arc::new(Metrics::new(source))),
            thread: Mutex::default(),
            id: None,
        };
        let collecting = exporter.source.clone().zip(exporter.metrics.clone());
        let thread = std::thread::Builder::new().name(THREAD.to_owned());
        // The runtime is made where it ends: it may not end in a task of another one.
        let (sender, started) = mpsc::channel();
        let thread = thread.spawn(move || {
            // What the client logs about an export must not be exported in turn.
            let _quiet = tracing::dispatcher::set_default(&Dispatch::none());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                // It waits for this.
                Err(error) => return drop(sender.send(error)),
            };
            drop(sender);
            runtime.block_on(async {
                let run = async |lane: Option<Lane>| {
                    if let Some(lane) = lane {
                        lane.run().await;
                    }
                };
                let collect = async {
                    if let Some((source, outbox)) = collecting {
                        source.collect_every(every, &outbox).await;
                    }
                };
                tokio::join!(run(traces), run(logs), run(metrics), collect);
            });
            // A name that is being looked up is not waited for.
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

    /// Exports what there is, but does not wait longer than that; returns how much is not, or has failed.
    pub(crate) fn flush(&self, until: Instant) -> [u64; 3] {
        self.collect();
        let before = self.counts();
        self.outboxes()
            .into_iter()
            .flatten()
            .for_each(|outbox| outbox.hurry());
        self.wait(until, before)
    }

    /// Exports what there is and ends, but does not wait longer than that; returns how much is lost.
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
            let (left, _) = outbox.wait(until, || until);
            left == 0
        });
        if let Some(thread) = thread.filter(|_| has_nothing_left && !self.is_here()) {
            // That it panicked shows in what is lost.
            let _ = thread.join();
        }
        lost
    }

    /// Returns what became of the spans, the lines and the points.
    pub(crate) fn counts(&self) -> [Counts; 3] {
        let counts = |outbox: Option<&Outbox>| outbox.map(Outbox::counts).unwrap_or_default();
        self.outboxes().map(counts)
    }

    fn collect(&self) {
        if let (Some(source), Some(outbox)) = (&self.source, &self.metrics) {
            source.collect(outbox);
        }
    }

    fn outboxes(&self) -> [Option<&Outbox>; 3] {
        [&self.traces, &self.logs, &self.metrics].map(Option::as_deref)
    }

    /// Waits; returns how much is not done, or has failed since then.
    fn wait(&self, until: Instant, before: [Counts; 3]) -> [u64; 3] {
        // Who exports can't wait for itself.
        let is_here = self.is_here();
        let until = if is_here { clock::instant() } else { until };
        let mut before = before.into_iter();
        self.outboxes().map(|outbox| {
            let before = before.next().unwrap_or_default();
            let Some(outbox) = outbox else {
                return 0;
            };
            let (left, failed) = outbox.wait(until, clock::instant);
            left + failed - before.failed
        })
    }

    /// Returns whether this is the thread that exports: a source of metrics may ask for anything.
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
            .field("sampler", &self.sampler)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// The way of one signal.
struct Lane {
    name: &'static str,
    sender: Sender,
    outbox: Arc<Outbox>,
    resource: Arc<[u8]>,
    report: Arc<dyn Fn(&str) + Send + Sync>,
}

/// How far two reports of failures are apart.
const QUIET: Duration = Duration::from_secs(60);

impl Lane {
    async fn run(self) {
        // When a failure was told of last, and whether the last thing told was one.
        let (mut told, mut is_told) = (None::<Instant>, false);
        while let Some(batch) = self.outbox.next().await {
            let request = self.request(&batch);
            let sent = tokio::select! {
                sent = self.sender.send(&request) => sent,
                () = self.out_of_time() => Sent::Failed { reason: "the service ends".to_owned(), after: None },
            };
            let mut pause = None;
            let (failed, reason) = match sent {
                Sent::Taken { rejected: 0 } => (0, None),
                Sent::Taken { rejected } => {
                    let rejected = usize::try_from(rejected).unwrap_or(usize::MAX);
                    let rejected = rejected.min(batch.items);
                    (rejected, Some("it does not want them".to_owned()))
                }
                Sent::Failed { reason, after } => {
                    pause = after;
                    (batch.items, Some(reason))
                }
            };
            self.outbox.ended(&batch, failed);
            let Some(reason) = reason else {
                if std::mem::take(&mut is_told) {
                    let text = format!("the collector takes {} again", self.name);
                    (self.report)(&text);
                }
                continue;
            };
            let now = clock::instant();
            if told.is_none_or(|at| now.duration_since(at) >= QUIET) {
                (told, is_told) = (Some(now), true);
                let text = format!(
                    "{failed} of {} {} were not exported to {}: {reason}",
                    batch.items, self.name, self.sender.target
                );
                (self.report)(&text);
            }
            if let Some(pause) = pause {
                // It may end before.
                let _ = tokio::time::timeout(pause, self.outbox.closing()).await;
            }
        }
    }

    async fn out_of_time(&self) {
        let until = self.outbox.closing().await;
        tokio::time::sleep_until(until.into()).await;
    }

    /// Returns a batch as an `Export…ServiceRequest`, which is the same for all signals but for what the messages in it are.
    fn request(&self, batch: &Batch) -> Vec<u8> {
        let mut request = Wire(Vec::with_capacity(
            batch.bytes.len() + self.resource.len() + 64,
        ));
        request.message(1, |of_resource| {
            of_resource.0.extend_from_slice(&self.resource);
            of_resource.message(2, |of_scope| {
                of_scope.message(1, |scope| {
                    scope.text(1, "campanile");
                    scope.text(2, env!("CARGO_PKG_VERSION"));
                });
                of_scope.0.extend_from_slice(&batch.bytes);
            });
        });
        request.0
    }
}
