use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;

use crate::capture::Capture;
use crate::filter::LogFilter;
use crate::layer::LogLayer;
use crate::queue::{LAST_WRITE, LogStats};
use crate::{InstallError, TelemetryBuilder};

/// A service's telemetry: what writes its log.
///
/// ```
/// use std::io::Write;
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// use campanile_telemetry::{Telemetry, Writer};
/// use tracing_subscriber::layer::SubscriberExt;
///
/// # #[derive(Clone, Default)] struct Memory(Arc<Mutex<Vec<u8>>>);
/// # impl Write for Memory {
/// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.0.lock().unwrap().write(bytes) }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
/// # let memory = Memory::default();
/// let telemetry = Telemetry::builder("orders").writer(Writer::new(memory.clone())).build()?; // or `.install()?`
/// let subscriber = tracing_subscriber::registry().with(telemetry.filter()).with(telemetry.layer());
/// tracing::subscriber::with_default(subscriber, || {
///     let _order = tracing::info_span!("order", id = 7).entered();
///     tracing::info!(items = 3, "accepted");
/// });
/// assert_eq!(telemetry.shutdown(Duration::from_secs(5)), 0);
///
/// let line = String::from_utf8(memory.0.lock().unwrap().clone())?;
/// assert!(line.contains(r#""level":"INFO""#) && line.contains(r#""message":"accepted","service":"orders""#));
/// assert!(line.ends_with("\"items\":3,\"id\":7}\n"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A clone is the same (an `Arc`).
#[derive(Clone, Debug)]
pub struct Telemetry {
    pub(crate) layer: LogLayer,
    pub(crate) filter: LogFilter,
}

impl Telemetry {
    /// Returns a builder for the service with this name.
    pub fn builder(service: impl Into<String>) -> TelemetryBuilder {
        TelemetryBuilder::new(service.into())
    }

    /// Returns the layer that writes lines, for a subscriber of the host's own.
    #[must_use]
    pub fn layer(&self) -> LogLayer {
        self.layer.clone()
    }

    /// Returns the filter, for a subscriber of the host's own, and to change which events the log has.
    #[must_use]
    pub fn filter(&self) -> LogFilter {
        self.filter.clone()
    }

    /// Calls a function with a subscriber of this filter and layer as the thread's.
    pub fn in_scope<T>(&self, function: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(self.subscriber(), function)
    }

    fn subscriber(&self) -> impl Subscriber + Send + Sync + use<> {
        tracing_subscriber::registry()
            .with(self.filter())
            .with(self.layer())
    }

    /// Makes a subscriber with the filter and the layer the process's.
    ///
    /// # Errors
    ///
    /// If the process has a subscriber already.
    pub fn install(&self) -> Result<TelemetryGuard, InstallError> {
        let installed = tracing::subscriber::set_global_default(self.subscriber());
        installed.map_err(|_| InstallError::Taken)?;
        Ok(TelemetryGuard(self.clone()))
    }

    /// Returns the last lines, if they are [kept](TelemetryBuilder::capture).
    #[must_use]
    pub fn capture(&self) -> Option<&Capture> {
        self.layer.capture.as_ref()
    }

    /// Returns what became of lines that were not written.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.layer.queue.stats()
    }

    /// Waits until all lines so far are written, but not longer than that; returns how many are not.
    pub fn flush(&self, longest: Duration) -> u64 {
        self.layer.queue.flush(longest)
    }

    /// Writes what there is and ends, but does not wait longer than that; returns how many lines are lost. What is logged later is dropped
    /// and counted.
    pub fn shutdown(&self, longest: Duration) -> u64 {
        self.layer.queue.shutdown(longest)
    }
}

/// What keeps an installed telemetry: when it is dropped, what was logged is written, for 5 s at most.
#[derive(Debug)]
#[must_use = "when this is dropped the log ends"]
pub struct TelemetryGuard(Telemetry);

impl TelemetryGuard {
    /// Returns the telemetry.
    pub fn telemetry(&self) -> &Telemetry {
        &self.0
    }

    /// Writes what there is and ends, but does not wait longer than that; returns how many lines are lost.
    pub fn shutdown(self, longest: Duration) -> u64 {
        self.0.shutdown(longest)
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        self.0.shutdown(LAST_WRITE);
    }
}
