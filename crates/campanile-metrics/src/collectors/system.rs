use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use campanile_system::{Figures, Pressure as Stall, System as Reader, Used, Waiting, disk};

use crate::clock;
use crate::{Gauge, Kind, RegisterError, Registry, TimeCounter};

/// Metrics of what the process runs on: its container where that has a quota of the processors or a limit of memory, and else the
/// machine; and disks.
///
/// | metric | kind | what it is |
/// |---|---|---|
/// | `cpu_usage_percent` | gauge | time on processors that was used, of what there was since the collection before; 0 to 100 |
/// | `cpu_available_cores` | gauge | the quota in processors, or how many the process may run on if that is fewer |
/// | `memory_usage_bytes` | gauge | memory that is in use and can't be had back at once |
/// | `memory_limit_bytes` | gauge | how much there may be |
/// | `disk_usage_bytes{mountpoint}` | gauge | bytes that are used in a file system |
/// | `disk_size_bytes{mountpoint}` | gauge | bytes that it has |
/// | `disk_available_bytes{mountpoint}` | gauge | bytes that are free in it for users other than root |
/// | `system_load1`, `system_load5`, `system_load15` | gauge | average number of the machine's tasks that run or wait, over 1, 5 and 15 minutes |
/// | `system_pressure_cpu_waiting_seconds_total` | counter | time in which some task waited for a processor |
/// | `system_pressure_memory_waiting_seconds_total` | counter | time in which some task waited for memory |
/// | `system_pressure_memory_stalled_seconds_total` | counter | time in which all that had work waited for memory |
/// | `system_pressure_io_waiting_seconds_total` | counter | time in which some task waited for a disk |
/// | `system_pressure_io_stalled_seconds_total` | counter | time in which all that had work waited for a disk |
///
/// ```
/// use campanile_metrics::collectors::SystemMetrics;
/// use campanile_metrics::Registry;
///
/// let registry = Registry::new();
/// let system = SystemMetrics::register(&registry)?;
/// # #[cfg(target_os = "linux")]
/// assert!(registry.render().contains("disk_usage_bytes{mountpoint=\"/\"} "));
/// # Ok::<_, campanile_metrics::RegisterError>(())
/// ```
///
/// # Of what
///
/// The container is a control group, of version 1 or 2: of all that the process is in when this is made, and that it can see, the one
/// that has the least; for processors and memory it need not be the same. What that group uses counts, with all that is in it. A limit
/// that is not below the machine's memory is none. Quotas and limits are read each time, and so may change.
///
/// In a group, the memory in use is without the pages of files that were not used of late (the kernel's `inactive_file`), which is the
/// working set that `kubectl top` shows; in a machine, it is what is not available. Of the
/// processors that the process may run on (its affinity, which follows a cpuset), all time counts
/// as
/// used that is neither idle nor spent waiting for disks.
///
/// A group may save up time and then use more than its quota: that is 100.
///
/// The pressures are those on the process's own group where the kernel tells them for groups, and else the machine's.
///
/// # When
///
/// They are read when [`collect`](Self::collect) is called, which takes a few tenths of a millisecond and keeps no file open; a scrape
/// reads nothing. What can't be read when this is made has no metric: without pressure stall information in the kernel there are no
/// pressures, and elsewhere than on Linux there is nothing. `cpu_usage_percent` is there once two collections were 100 ms or more
/// apart.
///
/// A clone is the same (an `Arc`).
#[derive(Clone, Debug)]
pub struct SystemMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    system: Reader,
    /// In the order of [`GAUGES`]; `None` for a figure that the system doesn't have.
    gauges: Vec<Option<Gauge>>,
    disks: Vec<Disk>,
    pressures: Vec<Pressure>,
    usage: Mutex<Usage>,
}

/// The gauges, in the order of [`gauges`].
const GAUGES: [(&str, &str); 6] = [
    (
        "cpu_available_cores",
        "Processors that the container or the machine has.",
    ),
    (
        "memory_usage_bytes",
        "Memory in use in the container or the machine in bytes.",
    ),
    (
        "memory_limit_bytes",
        "Memory that the container or the machine may use in bytes.",
    ),
    (
        "system_load1",
        "Tasks that run or wait, on average over 1 minute.",
    ),
    (
        "system_load5",
        "Tasks that run or wait, on average over 5 minutes.",
    ),
    (
        "system_load15",
        "Tasks that run or wait, on average over 15 minutes.",
    ),
];

const CPU_USAGE: (&str, &str) = (
    "cpu_usage_percent",
    "Processor time used, of what the container or the machine has, in percent.",
);

/// The gauges of a disk, in the order of [`space`].
const DISK: [(&str, &str); 3] = [
    ("disk_usage_bytes", "Used bytes of a file system."),
    ("disk_size_bytes", "Size of a file system in bytes."),
    (
        "disk_available_bytes",
        "Free bytes of a file system for users other than root.",
    ),
];

/// For each pressure what is waited for, who waits, and the counter.
const PRESSURES: [(&str, Waiting, &str, &str); 5] = [
    (
        "cpu",
        Waiting::Some,
        "system_pressure_cpu_waiting_seconds_total",
        "Time in which some task waited for a processor in seconds.",
    ),
    (
        "memory",
        Waiting::Some,
        "system_pressure_memory_waiting_seconds_total",
        "Time in which some task waited for memory in seconds.",
    ),
    (
        "memory",
        Waiting::All,
        "system_pressure_memory_stalled_seconds_total",
        "Time in which all tasks waited for memory in seconds.",
    ),
    (
        "io",
        Waiting::Some,
        "system_pressure_io_waiting_seconds_total",
        "Time in which some task waited for a disk in seconds.",
    ),
    (
        "io",
        Waiting::All,
        "system_pressure_io_stalled_seconds_total",
        "Time in which all tasks waited for a disk in seconds.",
    ),
];

impl SystemMetrics {
    /// Returns the metrics, in a registry, read for the first time, with the disk of `/`.
    ///
    /// # Errors
    ///
    /// If one of the names is taken there by something else; then none of the metrics is there.
    /// Where `cpu_usage_percent` is, that metric stays away.
    pub fn register(registry: &Registry) -> Result<Self, RegisterError> {
        Self::register_with_disks(registry, &["/"])
    }

    /// Returns the metrics with the disks of these paths, which are their `mountpoint`s; any path of a file system will do.
    ///
    /// A path that is not there has no metrics. One of a network whose server is gone may keep [`collect`](Self::collect) waiting.
    ///
    /// ```
    /// use campanile_metrics::collectors::SystemMetrics;
    /// use campanile_metrics::Registry;
    ///
    /// let registry = Registry::new();
    /// let system = SystemMetrics::register_with_disks(&registry, &["/", "/proc", "/no/such/folder"])?;
    /// let sizes = registry.family_snapshot("disk_size_bytes");
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(sizes.map_or(0, |family| family.series.len()), 2);
    /// # Ok::<_, campanile_metrics::RegisterError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn register_with_disks(registry: &Registry, disks: &[&str]) -> Result<Self, RegisterError> {
        let inner = Inner::new(registry, Reader::new(), disks)?;
        inner.collect(clock::now());
        Ok(Self(Arc::new(inner)))
    }

    /// Reads the figures. One that can't be read stays as it was.
    pub fn collect(&self) {
        self.0.collect(clock::now());
    }
}

impl Inner {
    /// Registers what the system has.
    fn new(registry: &Registry, system: Reader, disks: &[&str]) -> Result<Self, RegisterError> {
        let figures = gauges(&system.read());
        let pressures = PRESSURES.iter().filter_map(|&(resource, who, name, help)| {
            Some((system.pressure(resource, who)?, name, help))
        });
        let pressures: Vec<_> = pressures.collect();
        let known = GAUGES.iter().zip(figures);
        let known = known.filter_map(|((name, _), figure)| figure.map(|_| *name));
        let of_disks = DISK.iter().map(|(name, _)| *name);
        let names = known.chain(of_disks).map(|name| (name, Kind::Gauge));
        let stalls = pressures
            .iter()
            .map(|(_, name, _)| (*name, Kind::TimeCounter));
        registry.check_names(&names.chain(stalls).collect::<Vec<_>>())?;
        let gauges = GAUGES.iter().zip(figures);
        let gauges = gauges.map(|(&(name, help), figure)| {
            let gauge = || {
                registry.describe(name, help);
                registry.gauge(name, &[])
            };
            figure.map(|_| gauge()).transpose()
        });
        let gauges = gauges.collect::<Result<_, _>>()?;
        let disks = disks.iter().filter(|disk| space(disk).is_some());
        let disks = disks.map(|disk| Disk::new(registry, disk));
        let disks = disks.collect::<Result<_, _>>()?;
        let pressures = pressures.into_iter().map(|(stall, name, help)| {
            registry.describe(name, help);
            let counter = registry.time_counter(name, &[])?;
            Ok(Pressure { stall, counter })
        });
        let pressures = pressures.collect::<Result<_, RegisterError>>()?;
        Ok(Self {
            registry: registry.clone(),
            system,
            gauges,
            disks,
            pressures,
            usage: Mutex::default(),
        })
    }

    fn collect(&self, now: Instant) {
        let figures = self.system.read();
        for (gauge, value) in self.gauges.iter().zip(gauges(&figures)) {
            if let (Some(gauge), Some(value)) = (gauge, value) {
                gauge.set(value);
            }
        }
        for disk in &self.disks {
            let values = space(&disk.mountpoint).into_iter().flatten();
            for (gauge, value) in disk.gauges.iter().zip(values) {
                gauge.set(value);
            }
        }
        for pressure in &self.pressures {
            if let Some(time) = self.system.stalled(&pressure.stall) {
                pressure.counter.absolute(time);
            }
        }
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(percent) = usage.since_last(now, figures.processors) {
            if usage.gauge.is_none() {
                self.registry.describe(CPU_USAGE.0, CPU_USAGE.1);
                usage.gauge = self.registry.gauge(CPU_USAGE.0, &[]).ok();
            }
            if let Some(gauge) = &usage.gauge {
                gauge.set(percent);
            }
        }
    }
}

/// A disk's metrics.
#[derive(Debug)]
struct Disk {
    mountpoint: Box<str>,
    gauges: [Gauge; 3],
}

impl Disk {
    fn new(registry: &Registry, mountpoint: &str) -> Result<Self, RegisterError> {
        let gauge = |(name, help): (&str, &str)| {
            registry.describe(name, help);
            registry.gauge(name, &[("mountpoint", mountpoint)])
        };
        let [a, b, c] = DISK.map(gauge);
        Ok(Self {
            mountpoint: mountpoint.into(),
            gauges: [a?, b?, c?],
        })
    }
}

/// A counter, and where its time is.
#[derive(Debug)]
struct Pressure {
    stall: Stall,
    counter: TimeCounter,
}

fn gauges(figures: &Figures) -> [Option<f64>; 6] {
    let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
    let [load1, load5, load15] = figures.loads;
    [
        figures.cores,
        bytes(figures.memory_used),
        bytes(figures.memory_limit),
        load1,
        load5,
        load15,
    ]
}

/// The bytes of a file system: used, all, and free for users other than root.
fn space(mountpoint: &str) -> Option<[f64; 3]> {
    let found = disk(mountpoint)?;
    Some([found.used, found.size, found.available].map(|bytes| bytes as f64))
}

/// The gauge of what is used, and since when.
#[derive(Debug, Default)]
struct Usage {
    /// `None` until there is a value, since 0 would be a wrong one.
    gauge: Option<Gauge>,
    last: Option<(Instant, Used)>,
}

impl Usage {
    /// Returns how much was used since the last time, in percent; `None` if it is not known or too short ago.
    fn since_last(&mut self, now: Instant, used: Option<Used>) -> Option<f64> {
        let used = used?;
        let Some((at, last)) = &self.last else {
            self.last = Some((now, used));
            return None;
        };
        let elapsed = now.saturating_duration_since(*at);
        if elapsed < SHORTEST {
            return None;
        }
        let percent = used.percent_since(last, elapsed);
        self.last = Some((now, used));
        percent
    }
}

/// The clock's ticks are 10 ms long: over less than some of them a share is noise.
const SHORTEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
