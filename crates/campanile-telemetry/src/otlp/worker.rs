use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch_queue::{Batch, BatchQueue};
use super::export::Export;
use super::send::Sent;
use crate::clock;

/// Exports the batches of one signal.
pub(super) struct SignalWorker<E: Export> {
    pub(super) name: &'static str,
    pub(super) export: E,
    pub(super) outbox: Arc<BatchQueue<E::Item>>,
    pub(super) report: Arc<dyn Fn(&str) + Send + Sync>,
}

pub(super) async fn run<E: Export>(worker: Option<SignalWorker<E>>) {
    if let Some(worker) = worker {
        worker.run().await;
    }
}

/// The minimum interval of log lines about failures.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

impl<E: Export> SignalWorker<E> {
    async fn run(mut self) {
        // The time of the last line about a failure, and whether the last line was about one.
        let (mut reported_at, mut is_failing) = (None::<Instant>, false);
        while let Some(batch) = self.outbox.next().await {
            let Batch { list, items, bytes } = batch;
            let sent = tokio::select! {
                sent = self.export.export(list) => sent,
                () = out_of_time(&self.outbox) => Sent::Failed { reason: "the service is shutting down".to_owned(), after: None },
            };
            let mut pause = None;
            let (failed, reason) = match sent {
                Sent::Taken { rejected: 0 } => (0, None),
                Sent::Taken { rejected } => {
                    let rejected = usize::try_from(rejected).unwrap_or(usize::MAX);
                    let rejected = rejected.min(items);
                    (rejected, Some("the collector rejected them".to_owned()))
                }
                Sent::Failed { reason, after } => {
                    pause = after;
                    (items, Some(reason))
                }
            };
            self.outbox.ended(items, bytes, failed);
            let Some(reason) = reason else {
                if std::mem::take(&mut is_failing) {
                    let text = format!("export of {} recovered", self.name);
                    (self.report)(&text);
                }
                continue;
            };
            let now = clock::instant();
            if reported_at.is_none_or(|at| now.duration_since(at) >= REPORT_INTERVAL) {
                (reported_at, is_failing) = (Some(now), true);
                let text = format!(
                    "{failed} of {} {} were not exported to {}: {reason}",
                    items,
                    self.name,
                    self.export.transport()
                );
                (self.report)(&text);
            }
            if let Some(pause) = pause {
                // The queue may be closed earlier.
                let _ = tokio::time::timeout(pause, self.outbox.closing()).await;
            }
        }
    }
}

async fn out_of_time<T>(outbox: &BatchQueue<T>) {
    let until = outbox.closing().await;
    tokio::time::sleep_until(until.into()).await;
}
