//! What it costs to read the process's own figures.

use campanile::metrics::Registry;
use campanile::metrics::collectors::ProcessMetrics;
use campanile::metrics::metrics::with_local_recorder;

use crate::figure::{Effort, Figure};
use crate::registry::rounds;

/// What a collection takes of a processor, for the same eight figures of a process.
pub(crate) fn read(effort: Effort) -> Figure {
    let registry = Registry::new();
    let process = ProcessMetrics::register(&registry).expect("the names are free");
    let peers_registry = Registry::new();
    let peer = metrics_process::Collector::default();
    let ours = || milliseconds(effort, || process.collect());
    let theirs =
        || with_local_recorder(&peers_registry, || milliseconds(effort, || peer.collect()));
    let (ours, peer) = rounds(effort, ours, theirs);
    let name = "metrics-process";
    Figure::compare(("system.read", "ms"), &ours, (name, &peer), 1.1)
}

/// Returns the time on a processor of one of many collections.
fn milliseconds(effort: Effort, collect: impl Fn()) -> f64 {
    let count = effort.of(200).max(20);
    let begun = cpu();
    for _ in 0..count {
        collect();
    }
    (cpu() - begun) * 1e3 / count as f64
}

/// The time on a processor of this thread so far, in seconds.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
