use std::cmp::Reverse;

use super::Saved;
use crate::objective::moment;
use crate::windows::LONGEST;

/// The largest number of streams, and of objectives with adjustments or incidents, that are retained.
const MOST: usize = 64;

impl Saved {
    /// Drops streams, adjustments and incidents that ended more than 93 days before a time, in milliseconds.
    pub(crate) fn drop_old(&mut self, now: u64) {
        let oldest = now.saturating_sub(LONGEST);
        self.streams.retain(|_, stream| stream.time >= oldest);
        let oldest = moment(oldest);
        self.adjustments.retain(|_, adjustments| {
            adjustments.retain(|one| one.at >= oldest);
            !adjustments.is_empty()
        });
        self.incidents.retain(|_, incidents| {
            incidents.retain(|one| one.until.unwrap_or(one.from) >= oldest);
            !incidents.is_empty()
        });
    }

    /// Drops what exceeds the limits: streams of single routes first, then the oldest.
    pub(crate) fn limit(&mut self) {
        if self.streams.len() > MOST {
            let mut streams: Vec<_> = std::mem::take(&mut self.streams).into_iter().collect();
            streams.sort_by_key(|((_, route), stream)| (route.is_some(), Reverse(stream.time)));
            streams.truncate(MOST);
            self.streams.extend(streams);
        }
        while self.adjustments.len() > MOST {
            self.adjustments.pop_last();
        }
        while self.incidents.len() > MOST {
            self.incidents.pop_last();
        }
    }
}
