//! Service levels, by their public API.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod adjustments;
mod cancelled;
mod clocks;
mod exports;
mod kinds;
mod late;
#[cfg(feature = "openslo")]
mod openslo;
mod oracle;
mod property;
mod quiet;
mod replicas;
mod snapshots;
mod stalls;
mod young;

use std::time::{Duration, Instant, UNIX_EPOCH};

use campanile_series::Now;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 2026-11-21, 00:00 in UTC.
fn start() -> Now {
    #[expect(clippy::disallowed_methods, reason = "any time will do")]
    let mono = Instant::now();
    Now {
        wall: UNIX_EPOCH + DAY * 20_778,
        mono,
    }
}

/// Calls `tick` as the monitor does, until a time.
fn tick_until(sla: &campanile_sla::ServiceLevels, from: Now, to: Now) {
    let mut now = from;
    while now.mono < to.mono {
        sla.tick(now);
        now = now + SECOND * 30;
    }
    sla.tick(to);
}

fn one(slo: campanile_sla::Slo, now: Now) -> campanile_sla::ServiceLevels {
    campanile_sla::ServiceLevels::builder()
        .slo(slo)
        .build_at(now)
        .unwrap()
}

fn record(sla: &campanile_sla::ServiceLevels, good: u64, bad: u64, now: Now) {
    for number in 0..good + bad {
        sla.record_at(number < good, SECOND, now.mono);
    }
}
