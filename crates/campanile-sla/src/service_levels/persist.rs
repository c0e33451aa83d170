//! Snapshots, which survive a restart.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use campanile_series::Now;

use super::Sla;
use crate::adjustment;
use crate::objective::milliseconds;
use crate::snapshot::{self, Saved, SavedStream};
use crate::source::Source;
use crate::stream::Stream;
use crate::{Maintenance, RestoreError};

impl Sla {
    /// Returns all counts, adjustments, incidents and times of maintenance, to be [restored](Self::restore) later. It has about 60 KB for each
    /// source of counts, and more for percentiles. The current slice of a gauge is not in it.
    ///
    /// Restored counts that no objective uses are in it again until they are 93 days old, so that a rollback finds them: at most 64 sources.
    pub fn snapshot(&self, now: Now) -> Vec<u8> {
        snapshot::write(&self.saved(now))
    }

    /// Returns what has changed since an earlier [snapshot](Self::snapshot), `base`: about 1 KB for each source of counts after some minutes.
    /// [`apply_changes`](crate::apply_changes) makes a snapshot of both.
    ///
    /// ```
    /// # use std::time::{Duration, Instant, SystemTime};
    /// # use campanile_series::Now;
    /// use campanile_sla::{Sla, Slo, apply_changes};
    ///
    /// # let now = Now { wall: SystemTime::now(), mono: Instant::now() };
    /// let build = || Sla::builder().objective(Slo::availability("availability", "99.9%")).build(now);
    /// let sla = build()?;
    /// let base = sla.snapshot(now);
    /// sla.record(true, Duration::ZERO, now.mono);
    /// let changes = sla.changes(&base, now)?;
    ///
    /// let after = build()?;
    /// after.restore(&apply_changes(&base, &changes)?, now)?;
    /// assert_eq!(after.report(now).objectives[0].samples, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If `base` is not a snapshot, or a damaged one.
    pub fn changes(&self, base: &[u8], now: Now) -> Result<Vec<u8>, RestoreError> {
        let of_base = snapshot::read(base)?;
        Ok(self.saved(now).changes(base, of_base))
    }

    fn saved(&self, now: Now) -> Saved {
        let mut saved = self.retained().clone();
        saved.drop_old(milliseconds(now.wall));
        saved.maintenance.clone_from(&self.maintenance());
        for source in &self.0.sources {
            let key = |route| (source.key.clone(), route);
            let stream = save(&source.stream, &source.sketches, now);
            saved.streams.insert(key(None), stream);
            for (route, stream) in source.routes.iter().flat_map(crate::source::Routes::all) {
                saved
                    .streams
                    .insert(key(Some(route)), save(&stream, &[], now));
            }
        }
        for objective in &self.0.objectives {
            let history = objective.history();
            let incidents: Vec<_> = history.incidents.all().cloned().collect();
            let adjustments = history.adjustments.clone();
            if !adjustments.is_empty() {
                saved
                    .adjustments
                    .insert(objective.name.clone(), adjustments);
            }
            if !incidents.is_empty() {
                saved.incidents.insert(objective.name.clone(), incidents);
            }
        }
        saved
    }

    /// Adds what was counted before a restart, for the objectives that count what they counted before. The time since then is a gap.
    /// Counts, adjustments and incidents that no objective uses are retained for [`snapshot`](Self::snapshot).
    ///
    /// Counts from the future are kept, as a wall clock that was set back leaves them: time goes on from them. If they are more than 5 minutes ahead,
    /// [`advance`](Self::advance) moves them to the wall clock within a minute.
    ///
    /// It restores one snapshot only, as counts are added. [`merge`](crate::merge) makes one of several.
    ///
    /// # Errors
    ///
    /// If it is not a snapshot, or a damaged one, or if a snapshot was restored before; nothing is restored then.
    pub fn restore(&self, snapshot: &[u8], now: Now) -> Result<(), RestoreError> {
        let mut saved = snapshot::read(snapshot)?;
        if self.0.is_restored.swap(true, Ordering::AcqRel) {
            return Err(RestoreError::Duplicate);
        }
        // What was planned holds for the time without a process too.
        let times: Vec<_> = {
            let mut maintenance = self.maintenance();
            maintenance.append(&mut saved.maintenance);
            *maintenance = adjustment::merged(std::mem::take(&mut *maintenance));
            maintenance.iter().map(Maintenance::bounds).collect()
        };
        for ((key, route), stream) in std::mem::take(&mut saved.streams) {
            let source = self.0.sources.iter().find(|source| source.key == key);
            match (&route, source.map(|source| (source, &source.routes))) {
                (None, Some((source, _))) => {
                    load(&source.stream, Some(source), stream, &times, now);
                }
                (Some(route), Some((source, Some(routes)))) => {
                    let time = stream.time.max(milliseconds(now.wall));
                    if stream.has_counts_since(time.saturating_sub(routes.span())) {
                        let of_route = routes.of(route, &source.stream, now.mono);
                        load(&of_route, None, stream, &times, now);
                    }
                }
                (_, None) | (Some(_), Some((_, None))) => {
                    saved.streams.insert((key, route), stream);
                }
            }
        }
        for objective in &self.0.objectives {
            let mut history = objective.history();
            let adjustments = saved.adjustments.remove(&objective.name);
            history.adjustments.extend(adjustments.unwrap_or_default());
            history.adjustments = adjustment::united(std::mem::take(&mut history.adjustments));
            let incidents = saved.incidents.remove(&objective.name);
            history.incidents.restore(incidents.unwrap_or_default());
        }
        saved.drop_old(milliseconds(now.wall));
        saved.limit();
        *self.retained() = saved;
        Ok(())
    }

    /// Drops the restored counts, adjustments and incidents that no objective uses, for example if a [snapshot](Self::snapshot) is too large to
    /// be stored. Returns whether there were any.
    pub fn forget_unused(&self) -> bool {
        let unused = std::mem::take(&mut *self.retained());
        unused != Saved::default()
    }

    /// Returns the restored counts that no objective uses, and that are retained for 93 days. Each is a source with its bounds, such as
    /// `tracked:jobs within 300ms`.
    pub fn unused_counts(&self) -> Vec<String> {
        let retained = self.retained();
        let whole = retained.streams.keys().filter(|(_, route)| route.is_none());
        whole.map(|(key, _)| key.clone()).collect()
    }

    fn retained(&self) -> MutexGuard<'_, Saved> {
        let retained = self.0.retained.lock();
        retained.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what a stream has, with percentiles over these windows.
fn save(stream: &Stream, sketches: &[u64], now: Now) -> SavedStream {
    let windows = stream.windows(now.mono);
    let rings = windows.rings().iter().map(|ring| {
        let filled = ring.filled().map(|(number, reading)| (number, *reading));
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

fn load(
    stream: &Stream,
    source: Option<&Source>,
    saved: SavedStream,
    maintenance: &[(u64, u64)],
    now: Now,
) {
    let mut windows = stream.windows(now.mono);
    windows.maintain(maintenance);
    let is_down = source.is_some_and(|source| source.input.is_down_while_gone());
    windows.resume(saved.time, is_down.then_some(false));
    for (width, ring) in saved.rings {
        if let Some((number, first)) = ring.first_key_value() {
            let end = number.saturating_add(1).saturating_mul(width);
            // What was watched of the first bucket is at its end.
            let watched = if first.covered > 0 {
                first.covered
            } else {
                width
            };
            windows.began(end.min(saved.time).saturating_sub(watched));
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
