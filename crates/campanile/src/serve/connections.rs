use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "metrics")]
use campanile_metrics::{Counter, Gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Campanile;

/// The connections that there may be, and how many there are.
#[derive(Clone)]
pub(super) struct Connections {
    permits: Arc<Semaphore>,
    warned: Arc<AtomicBool>,
    #[cfg(feature = "metrics")]
    open: Option<Gauge>,
    #[cfg(feature = "metrics")]
    full: Option<Counter>,
}

impl Connections {
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, reason = "only metrics need it")
    )]
    pub(super) fn new(cap: usize, campanile: &Campanile) -> Self {
        #[cfg(feature = "metrics")]
        let registry = campanile.metrics();
        #[cfg(feature = "metrics")]
        {
            registry.describe(OPEN, "Connections that campanile's server holds.");
            registry.describe(
                FULL,
                "Times that campanile's server stopped accepting at its cap on connections.",
            );
        }
        Self {
            permits: Arc::new(Semaphore::new(cap)),
            warned: Arc::default(),
            // A host that has these names for something else keeps them.
            #[cfg(feature = "metrics")]
            open: registry.gauge(OPEN, &[]).ok(),
            #[cfg(feature = "metrics")]
            full: registry.counter(FULL, &[]).ok(),
        }
    }

    /// Waits until there is room for one more.
    pub(super) async fn permit(&self) -> Permit {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Ok(permit),
            Err(_) => {
                self.note_full();
                Arc::clone(&self.permits).acquire_owned().await
            }
        };
        // Nothing closes the semaphore, and without it there would be no cap to keep.
        Permit {
            _permit: permit.ok(),
            connections: self.clone(),
            open: false,
        }
    }

    fn note_full(&self) {
        #[cfg(feature = "metrics")]
        if let Some(full) = &self.full {
            full.increment(1);
        }
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the cap on connections is reached: more wait until some end; further times are counted only"
            );
        }
    }
}

#[cfg(feature = "metrics")]
const OPEN: &str = "campanile_server_connections";
#[cfg(feature = "metrics")]
const FULL: &str = "campanile_server_connections_full_total";

/// Room for one connection.
pub(super) struct Permit {
    _permit: Option<OwnedSemaphorePermit>,
    connections: Connections,
    open: bool,
}

impl Permit {
    /// Takes note that there is a connection in the room.
    pub(super) fn opened(mut self) -> Self {
        self.open = true;
        self.connections.count(1.0);
        self
    }
}

impl Connections {
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, clippy::unused_self, reason = "only metrics count")
    )]
    fn count(&self, by: f64) {
        #[cfg(feature = "metrics")]
        if let Some(open) = &self.open {
            open.increment(by);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.open {
            self.connections.count(-1.0);
        }
    }
}
