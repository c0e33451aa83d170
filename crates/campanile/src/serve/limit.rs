//! The limits that the system sets.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// The default limit of connections.
const CONNECTIONS: usize = 10_000;

/// The file descriptors that are left to the application.
const OTHER_FILES: usize = 256;

/// The time after which a silent peer is probed, and the time between two probes; the system gives
/// up after a few of them.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15));

/// The limit of connections that are taken from the system's queue at a stop.
const QUEUED: usize = 4_096;

/// Returns the limit of connections: the one that is set, or what the process may open.
pub(super) fn connections(set: Option<usize>) -> usize {
    let files = open_files();
    match (set, files) {
        (Some(connections), Some(files)) if connections >= files => {
            tracing::warn!(
                connections,
                files,
                "the limit of connections is above the process's limit of open files"
            );
            connections
        }
        (Some(connections), _) => connections,
        (None, files) => default_connections(files),
    }
}

fn default_connections(files: Option<usize>) -> usize {
    let left = |files: usize| files.saturating_sub(OTHER_FILES).max(files / 2).max(1);
    files.map_or(CONNECTIONS, |files| left(files).min(CONNECTIONS))
}

#[cfg(unix)]
fn open_files() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|files| usize::try_from(files).ok())
}

#[cfg(not(unix))]
fn open_files() -> Option<usize> {
    None
}

/// Makes the system send small responses at once, and probe a silent peer, so that one that is gone is noticed.
pub(super) fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    let (time, interval) = KEEP_ALIVE;
    let keep_alive = TcpKeepalive::new().with_time(time).with_interval(interval);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&keep_alive) {
        tracing::debug!(%error, "failed to enable TCP keepalive");
    }
}

/// Returns the connections in a system's queue, whose accept returns `None` when it is empty.
pub(super) fn queued<T>(accept: impl FnMut() -> Option<T>) -> Vec<T> {
    std::iter::from_fn(accept).take(QUEUED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_leaves_descriptors_to_the_application() {
        for (files, expected) in [
            (None, 10_000),
            (Some(1_000_000), 10_000),
            (Some(1_024), 768),
            (Some(256), 128),
            (Some(1), 1),
            (Some(0), 1),
        ] {
            assert_eq!(default_connections(files), expected, "{files:?}");
        }
    }
}
