//! Snapshots, and their restoration after a restart.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use campanile_series::Now;

use super::ServiceLevels;
use crate::adjustment::{self, MaintenanceWindow};
use crate::error::RestoreError;
use crate::indicator::Indicator;
use crate::routes::Routes;
use crate::snapshot::{self, Saved, SavedStream};
use crate::stream::Stream;
use crate::time::to_millis;

impl ServiceLevels {
    /// Returns a snapshot of all counts, adjustments, incidents and maintenance windows, which
    /// [`restore`](Self::restore) accepts.
    ///
    /// It takes about 60 KB per SLO, and more for a percentile. SLOs that count the same events
    /// share their counts. The current time slice of a gauge is not included.
    ///
    /// Restored counts that no SLO uses are included until they are 93 days old, for a rollback: at
    /// most 64 SLOs.
    pub fn snapshot(&self) -> Vec<u8> {
        self.snapshot_at(Now::system())
    }

    /// Returns a snapshot, as [`snapshot`](Self::snapshot) does, at a time.
    pub fn snapshot_at(&self, now: Now) -> Vec<u8> {
        snapshot::write(&self.saved(now))
    }

    /// Returns the changes since an earlier [snapshot](Self::snapshot), `base`: after some minutes
    /// about 1 KB per SLO.
    ///
    /// [`apply_changes`](crate::apply_changes) returns the later snapshot.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// use campanile_sla::{ServiceLevels, Slo, apply_changes};
    ///
    /// let build = || {
    ///     let slo = Slo::availability("availability", "99.9%");
    ///     ServiceLevels::builder().slo(slo).build()
    /// };
    /// let before = build()?;
    /// let base = before.snapshot();
    /// before.record_at(true, Duration::ZERO, Instant::now());
    /// let changes = before.changes(&base)?;
    ///
    /// let after = build()?;
    /// after.restore(&apply_changes(&base, &changes)?)?;
    /// assert_eq!(after.report().slos[0].samples, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if `base` is not a valid snapshot.
    pub fn changes(&self, base: &[u8]) -> Result<Vec<u8>, RestoreError> {
        self.changes_at(base, Now::system())
    }

    /// Returns the changes since a snapshot, as [`changes`](Self::changes) does, at a time.
    ///
    /// # Errors
    ///
    /// As [`changes`](Self::changes).
    pub fn changes_at(&self, base: &[u8], now: Now) -> Result<Vec<u8>, RestoreError> {
        let saved_base = snapshot::read(base)?;
        Ok(self.saved(now).changes(base, saved_base))
    }

    fn saved(&self, now: Now) -> Saved {
        let mut saved = self.retained().clone();
        saved.drop_old(to_millis(now.wall));
        saved.maintenance.clone_from(&self.maintenance());
        for indicator in &self.0.indicators {
            let key = |route| (indicator.key.clone(), route);
            let stream = save(&indicator.stream, &indicator.sketches, now);
            saved.streams.insert(key(None), stream);
            for (route, stream) in indicator.routes.iter().flat_map(Routes::all) {
                let stream = save(&stream, &[], now);
                saved.streams.insert(key(Some(route)), stream);
            }
        }
        for slo in &self.0.slos {
            let history = slo.history();
            let incidents: Vec<_> = history.incidents.all().cloned().collect();
            let adjustments = history.adjustments.clone();
            if !adjustments.is_empty() {
                saved.adjustments.insert(slo.name.clone(), adjustments);
            }
            if !incidents.is_empty() {
                saved.incidents.insert(slo.name.clone(), incidents);
            }
        }
        saved
    }

    /// Restores a snapshot after a restart. The time since the snapshot is not covered.
    ///
    /// Counts are restored for each SLO with the same name, source and definition of good events.
    /// Other counts, adjustments and incidents are retained for the next
    /// [`snapshot`](Self::snapshot).
    ///
    /// Counts from the future, which a wall clock that was set back leaves behind, are restored
    /// too, and time continues from them. If they are more than 5 minutes ahead,
    /// [`tick`](Self::tick) shifts them to the wall clock within a minute.
    ///
    /// Counts are added, so only one snapshot can be restored. [`merge`](crate::merge) combines
    /// several.
    ///
    /// # Errors
    ///
    /// Returns an error if the snapshot is not valid, or if one was restored before. Nothing is
    /// restored then.
    pub fn restore(&self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.restore_at(snapshot, Now::system())
    }

    /// Restores a snapshot, as [`restore`](Self::restore) does, at a time.
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    pub fn restore_at(&self, snapshot: &[u8], now: Now) -> Result<(), RestoreError> {
        let mut saved = snapshot::read(snapshot)?;
        if self.0.is_restored.swap(true, Ordering::AcqRel) {
            return Err(RestoreError::Duplicate);
        }
        // Scheduled maintenance also applies to the time without a process.
        let windows: Vec<_> = {
            let mut maintenance = self.maintenance();
            maintenance.append(&mut saved.maintenance);
            *maintenance = adjustment::merged(std::mem::take(&mut *maintenance));
            maintenance.iter().map(MaintenanceWindow::bounds).collect()
        };
        for ((key, route), stream) in std::mem::take(&mut saved.streams) {
            let mut indicators = self.0.indicators.iter();
            let indicator = indicators.find(|indicator| indicator.key == key);
            match (&route, indicator.map(|found| (found, &found.routes))) {
                (None, Some((indicator, _))) => {
                    load(&indicator.stream, Some(indicator), stream, &windows, now);
                }
                (Some(route), Some((indicator, Some(routes)))) => {
                    let time = stream.time.max(to_millis(now.wall));
                    if stream.has_counts_since(time.saturating_sub(routes.span())) {
                        let of_route = routes.stream(route, &indicator.stream, now.mono);
                        load(&of_route, None, stream, &windows, now);
                    }
                }
                (_, None) | (Some(_), Some((_, None))) => {
                    saved.streams.insert((key, route), stream);
                }
            }
        }
        for slo in &self.0.slos {
            let mut history = slo.history();
            let adjustments = saved.adjustments.remove(&slo.name);
            history.adjustments.extend(adjustments.unwrap_or_default());
            history.adjustments = adjustment::united(std::mem::take(&mut history.adjustments));
            let incidents = saved.incidents.remove(&slo.name);
            history.incidents.restore(incidents.unwrap_or_default());
        }
        saved.drop_old(to_millis(now.wall));
        saved.limit();
        *self.retained() = saved;
        Ok(())
    }

    /// Drops the restored counts, adjustments and incidents that no SLO uses. Returns whether there
    /// were any.
    ///
    /// Use it, for example, if a [snapshot](Self::snapshot) is too large to be stored.
    pub fn discard_unused_counts(&self) -> bool {
        let unused = std::mem::take(&mut *self.retained());
        unused != Saved::default()
    }

    /// Returns the keys of the restored counts that no SLO uses. They are retained for 93 days.
    ///
    /// A key is a source and the definition of good events, such as `manual:jobs within 300ms`.
    pub fn unused_counts(&self) -> Vec<String> {
        let retained = self.retained();
        let totals = retained.streams.keys().filter(|(_, route)| route.is_none());
        totals.map(|(key, _)| key.clone()).collect()
    }

    fn retained(&self) -> MutexGuard<'_, Saved> {
        let retained = self.0.retained.lock();
        retained.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the contents of a stream, with percentiles over these windows.
fn save(stream: &Stream, sketches: &[u64], now: Now) -> SavedStream {
    let windows = stream.windows(now.mono);
    let rings = windows.rings().iter().map(|ring| {
        let filled = ring.filled().map(|(number, counts)| (number, *counts));
        (ring.width(), filled.collect())
    });
    let sketches = sketches.iter().zip(stream.sketches()).map(|(_, sketch)| {
        let parts = sketch.filled().into_iter();
        let parts = parts.map(|(number, counts)| (number, BTreeMap::from_iter(counts)));
        (sketch.width(), parts.collect())
    });
    SavedStream {
        time: windows.time(),
        rings: rings.collect(),
        sketches: sketches.collect(),
    }
}

/// Adds restored counts to a stream; `indicator` is `None` for the stream of a route.
fn load(
    stream: &Stream,
    indicator: Option<&Indicator>,
    saved: SavedStream,
    maintenance: &[(u64, u64)],
    now: Now,
) {
    let mut windows = stream.windows(now.mono);
    windows.set_maintenance(maintenance);
    let is_down = indicator.is_some_and(|indicator| indicator.kind.counts_restart_as_down());
    windows.resume(saved.time, is_down.then_some(false));
    for (width, ring) in saved.rings {
        if let Some((number, first)) = ring.first_key_value() {
            let end = number.saturating_add(1).saturating_mul(width);
            // The covered part of the first bucket is at its end.
            let covered = if first.covered > 0 {
                first.covered
            } else {
                width
            };
            windows.began(end.min(saved.time).saturating_sub(covered));
        }
        windows.merge(width, ring.into_iter());
    }
    for (width, parts) in saved.sketches {
        let sketch = stream
            .sketches()
            .iter()
            .find(|sketch| sketch.width() == width);
        for (number, counts) in parts {
            if let Some(sketch) = sketch {
                sketch.merge(number, counts.into_iter());
            }
        }
    }
}
