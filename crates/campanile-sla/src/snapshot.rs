//! Snapshots of all counts and decisions, which survive a restart.

use crate::adjustment;
use crate::error::RestoreError;
use crate::incident;

mod bytes;
mod changes;
mod retained;
mod saved;

pub(crate) use self::bytes::{read, write};
pub use self::changes::apply_changes;
pub(crate) use self::saved::{Saved, SavedStream};

/// Merges the snapshots of two replicas into one, which can be
/// [restored](crate::ServiceLevels::restore).
///
/// Counts and uptime durations are summed: if one of two replicas was down, the merged uptime is 50
/// %. The coverage of a bucket is the larger one of the two. Adjustments, incidents and maintenance
/// windows are those of both. The order of the merges of several replicas is irrelevant.
///
/// # Errors
///
/// Returns an error if one of them is not a valid snapshot.
pub fn merge(snapshot: &[u8], other: &[u8]) -> Result<Vec<u8>, RestoreError> {
    let (mut saved, other) = (read(snapshot)?, read(other)?);
    for (key, stream) in other.streams {
        saved.streams.entry(key).or_default().merge(stream);
    }
    for stream in saved.streams.values_mut() {
        stream.trim();
    }
    for (name, adjustments) in other.adjustments {
        let entries = saved.adjustments.entry(name).or_default();
        entries.extend(adjustments);
        *entries = adjustment::united(std::mem::take(entries));
    }
    for (name, incidents) in other.incidents {
        let entries = saved.incidents.entry(name).or_default();
        entries.extend(incidents);
        entries.sort_by_key(incident::key);
        entries.dedup();
        incident::limit(entries);
    }
    saved.maintenance.extend(other.maintenance);
    saved.maintenance = adjustment::merged(saved.maintenance);
    Ok(write(&saved))
}
