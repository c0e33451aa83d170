use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use campanile_system::{System, Used};
use tokio::time::Instant;

use super::bounds::Bounds;
use crate::{Check, Outcome, clock};

/// Returns a check of how full the file system is that a path is in, in percent of what users other than root may have.
///
/// One of a network whose server is gone keeps a thread waiting, and counts as failed.
pub fn disk(name: impl Into<String>, path: impl Into<PathBuf>, bounds: Bounds) -> Check {
    let path = path.into();
    Check::blocking(name, move || {
        let found =
            campanile_system::disk(&path).ok_or_else(|| missing("there is no such file system"))?;
        let usable = found.used.saturating_add(found.available);
        let outcome = bounds.evaluate_as("the disk usage", " %", percent(found.used, usable));
        Ok::<_, io::Error>(
            outcome
                .detail("used_bytes", found.used)
                .detail("available_bytes", found.available),
        )
    })
}

/// Returns a check of the memory that the container or the machine has in use, in percent of what it may have.
pub fn memory(name: impl Into<String>, bounds: Bounds) -> Check {
    let system = System::new();
    Check::blocking(name, move || {
        let figures = system.read();
        let (Some(used), Some(limit)) = (figures.memory_used, figures.memory_limit) else {
            return Err(missing("the system doesn't say how much memory there is"));
        };
        let outcome = bounds.evaluate_as("the memory usage", " %", percent(used, limit));
        Ok(outcome
            .detail("used_bytes", used)
            .detail("limit_bytes", limit))
    })
}

/// Returns a check of the time on processors that the container or the machine uses, in percent of what it has, since the call before. The first call
/// knows nothing, and is healthy.
pub fn cpu(name: impl Into<String>, bounds: Bounds) -> Check {
    let system = System::new();
    let last = Mutex::new(None::<(Instant, Used, Outcome)>);
    Check::blocking(name, move || {
        let figures = system.read();
        let used = figures
            .processors
            .ok_or_else(|| missing("the system doesn't say how its processors are used"))?;
        let now = clock::now();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = match &*last {
            None => Outcome::healthy(),
            Some((at, before, outcome)) => {
                let elapsed = now.saturating_duration_since(*at);
                // Over less than some ticks of the clock a share is noise.
                if elapsed < SHORTEST {
                    return Ok(outcome.clone());
                }
                let percent = used.percent_since(before, elapsed);
                percent.map_or_else(
                    || outcome.clone(),
                    |percent| bounds.evaluate_as("the CPU usage", " %", percent),
                )
            }
        };
        *last = Some((now, used, outcome.clone()));
        Ok::<_, io::Error>(outcome)
    })
}

const SHORTEST: Duration = Duration::from_millis(100);

/// Returns a check of the tasks that run or wait, on average over 5 minutes, for each processor that there is: 1 is all that can run.
pub fn load(name: impl Into<String>, bounds: Bounds) -> Check {
    let system = System::new();
    Check::blocking(name, move || {
        let figures = system.read();
        let (Some(load), Some(cores)) = (figures.loads[1], figures.cores) else {
            return Err(missing("the system doesn't say what its load is"));
        };
        Ok(bounds
            .evaluate_as("the load per processor", "", load / cores)
            .detail("load5", load)
            .detail("cores", cores))
    })
}

/// Returns a check of the file descriptors that the process has open, in percent of how many there may be; without a limit it is healthy.
pub fn descriptors(name: impl Into<String>, bounds: Bounds) -> Check {
    Check::blocking(name, move || {
        let found = campanile_system::descriptors()
            .ok_or_else(|| missing("the system doesn't say how many there are"))?;
        let outcome = match found.most {
            Some(most) => bounds
                .evaluate_as(
                    "the usage of file descriptors",
                    " %",
                    percent(found.open, most),
                )
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
