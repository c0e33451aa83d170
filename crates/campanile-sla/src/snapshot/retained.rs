use std::cmp::Reverse;

use super::saved::Saved;
use crate::time::from_millis;
use crate::windows::MAX_WINDOW;

/// The limit of retained streams, and of SLO names with retained adjustments or incidents.
const MAX_RETAINED: usize = 64;

impl Saved {
    /// Drops the streams, adjustments and incidents that ended more than 93 days before a time, in
    /// milliseconds since 1970.
    pub(crate) fn drop_old(&mut self, now: u64) {
        let oldest = now.saturating_sub(MAX_WINDOW);
        self.streams.retain(|_, stream| stream.time >= oldest);
        let oldest = from_millis(oldest);
        self.adjustments.retain(|_, adjustments| {
            adjustments.retain(|adjustment| adjustment.at >= oldest);
            !adjustments.is_empty()
        });
        self.incidents.retain(|_, incidents| {
            incidents.retain(|incident| incident.until.unwrap_or(incident.from) >= oldest);
            !incidents.is_empty()
        });
    }

    /// Drops the entries beyond the limit: streams of routes first, then the oldest ones.
    pub(crate) fn limit(&mut self) {
        if self.streams.len() > MAX_RETAINED {
            let mut streams: Vec<_> = std::mem::take(&mut self.streams).into_iter().collect();
            streams.sort_by_key(|((_, route), stream)| (route.is_some(), Reverse(stream.time)));
            streams.truncate(MAX_RETAINED);
            self.streams.extend(streams);
        }
        while self.adjustments.len() > MAX_RETAINED {
            self.adjustments.pop_last();
        }
        while self.incidents.len() > MAX_RETAINED {
            self.incidents.pop_last();
        }
    }
}
