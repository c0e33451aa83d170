use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use campanile_system::{System, Used};
use tokio::time::Instant;

use super::bounds::Bounds;
use crate::{Check, Outcome, clock};

/// Creates a check of the usage of the file system that contains a path, in percent of the space
/// that users other than root may use.
///
/// If the file system is on an unreachable server, the call blocks its thread, and the check fails.
pub fn disk(name: impl Into<String>, path: impl Into<PathBuf>, bounds: Bounds) -> Check {
    let path = path.into();
    Check::blocking(name, move || {
        let found =
            campanile_system::disk(&path).ok_or_else(|| missing("no file system at this path"))?;
        let usable = found.used.saturating_add(found.available);
        let outcome = bounds.evaluate_as("disk usage", " %", percent(found.used, usable));
        Ok::<_, io::Error>(
            outcome
                .detail("used_bytes", found.used)
                .detail("available_bytes", found.available),
        )
    })
}

/// Creates a check of the memory usage of the container or the machine, in percent of its limit.
pub fn memory(name: impl Into<String>, bounds: Bounds) -> Check {
    let system = System::new();
    Check::blocking(name, move || {
        let readings = system.read();
        let (Some(used), Some(limit)) = (readings.memory_used, readings.memory_limit) else {
            return Err(missing("memory usage is not available on this system"));
        };
        let outcome = bounds.evaluate_as("memory usage", " %", percent(used, limit));
        Ok(outcome
            .detail("used_bytes", used)
            .detail("limit_bytes", limit))
    })
}

/// Creates a check of the CPU usage of the container or the machine since the previous call, in
/// percent of its limit. The first call is healthy.
pub fn cpu(name: impl Into<String>, bounds: Bounds) -> Check {
    let system = System::new();
    let last = Mutex::new(None::<(Instant, Used, Outcome)>);
    Check::blocking(name, move || {
        let readings = system.read();
        let used = readings
            .processors
            .ok_or_else(|| missing("CPU usage is not available on this system"))?;
        let now = clock::now();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = match &*last {
            None => Outcome::healthy(),
            Some((at, before, outcome)) => {
                let elapsed = now.saturating_duration_since(*at);
                // Over a few ticks of the kernel's clock, the share would be noise.
                if elapsed < MIN_ELAPSED {
                    return Ok(outcome.clone());
                }
                let percent = used.percent_since(before, elapsed);
                percent.map_or_else(
                    || outcome.clone(),
                    |percent| bounds.evaluate_as("CPU usage", " %", percent),
                )
            }
        };
        *last = Some((now, used, outcome.clone()));
        Ok::<_, io::Error>(outcome)
    })
}

const MIN_ELAPSED: Duration = Duration::from_millis(100);

/// Creates a check of the load average over 5 minutes per CPU. At 1, the running and waiting tasks
/// use all CPUs.
pub fn load(name: impl Into<String>, bounds: Bounds) -> Check {
    let system = System::new();
    Check::blocking(name, move || {
        let readings = system.read();
        let (Some(load), Some(cores)) = (readings.loads[1], readings.cores) else {
            return Err(missing("the load is not available on this system"));
        };
        Ok(bounds
            .evaluate_as("load per CPU", "", load / cores)
            .detail("load5", load)
            .detail("cores", cores))
    })
}

/// Creates a check of the open file descriptors of the process, in percent of its limit. Without a
/// limit it is healthy.
pub fn descriptors(name: impl Into<String>, bounds: Bounds) -> Check {
    Check::blocking(name, move || {
        let found = campanile_system::descriptors()
            .ok_or_else(|| missing("file descriptors are not available on this system"))?;
        let outcome = match found.most {
            Some(most) => bounds
                .evaluate_as("file descriptor usage", " %", percent(found.open, most))
                .detail("limit", most),
            None => Outcome::healthy(),
        };
        Ok::<_, io::Error>(outcome.detail("open", found.open))
    })
}

fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => (part as f64 / whole as f64 * 1_000.0).round() / 10.0,
    }
}

fn missing(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, text)
}
