use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::inner::Registry;
#[cfg(feature = "business")]
use crate::kind::Kind;
use crate::series::{read, write};
use crate::storage::AnyFamily;

impl Registry {
    /// Removes the series that were idle for the [idle
    /// timeout](crate::RegistryBuilder::idle_timeout). Does nothing without an idle timeout.
    ///
    /// A series is removed after one to two timeouts, or between two sweeps if they are further
    /// apart. It is not idle while a handle to it exists, or if it is looked up. `Campanile::run`
    /// sweeps every 10 s. With 100,000 series one sweep per timeout takes some ten milliseconds.
    pub fn sweep(&self, now: Instant) {
        let Some(timeout) = self.0.settings.idle_timeout else {
            return;
        };
        let elapsed = now.saturating_duration_since(self.0.created_at);
        let now = elapsed.as_nanos() / timeout.as_nanos();
        let now = u32::try_from(now).unwrap_or(u32::MAX);
        let previous = self.0.sweep.fetch_max(now, Ordering::Relaxed);
        if previous >= now {
            return;
        }
        let mut last = None::<Arc<str>>;
        while let Some((name, family)) = self.family_after(last.as_deref()) {
            // Series that were looked up since the previous sweep have its number.
            let removed = family.remove_idle(previous, now);
            self.removed(&name, &family, removed);
            last = Some(name);
        }
    }

    /// Removes a gauge by its name and its labels as they are exposed, unless it has a handle. The
    /// last gauge of a name takes the description with it.
    #[cfg(feature = "business")]
    pub(crate) fn forget(&self, name: &str, labels: &str) {
        let name = self.exported(name, Kind::Gauge);
        let family = read(&self.0.families).get(&name).cloned();
        if let Some(family) = family {
            let removed = family.remove(labels);
            self.removed(&name, &family, removed);
            if read(&self.0.families).get(&name).is_none() {
                write(&self.0.descriptions).remove(&*name);
                write(&self.0.declared).removed.remove(&*name);
            }
        }
    }

    /// Subtracts removed series from the total, and removes the family if it is empty.
    fn removed(&self, name: &str, family: &Arc<AnyFamily>, count: usize) {
        self.0.series.fetch_sub(count, Ordering::Relaxed);
        if count > 0 && write(&self.0.families).remove_if_empty(name, family) {
            let base = name.strip_suffix("_total");
            let described = {
                let descriptions = read(&self.0.descriptions);
                let mut names = [Some(name), base].into_iter().flatten();
                names.find(|name| descriptions.contains_key(*name))
            };
            write(&self.0.declared).forget(name, described);
            self.record_removed_overflow(name, family.overflowed());
        }
    }
}
