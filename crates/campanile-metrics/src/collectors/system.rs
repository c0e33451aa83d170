use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use campanile_system::{Figures, Pressure as Stall, System as Reader, Used, Waiting, disk};

use crate::clock;
use crate::{Gauge, Kind, RegisterError, Registry, TimeCounter};

/// Metrics of the container or the machine: CPU, memory, disks, load and pressure.
///
/// They describe the container if it has a CPU quota or a memory limit, and else the machine.
///
/// | metric | kind | meaning |
/// |---|---|---|
/// | `cpu_usage_percent` | gauge | CPU time used since the previous collection, as a share of what is available; 0 to 100 |
/// | `cpu_available_cores` | gauge | CPU quota in cores, or the number of CPUs that the process may use if it is lower |
/// | `memory_usage_bytes` | gauge | memory in use that can't be reclaimed immediately |
/// | `memory_limit_bytes` | gauge | maximum memory |
/// | `disk_usage_bytes{mountpoint}` | gauge | used bytes of a file system |
/// | `disk_size_bytes{mountpoint}` | gauge | size of a file system |
/// | `disk_available_bytes{mountpoint}` | gauge | bytes available to users other than root |
/// | `system_load1`, `system_load5`, `system_load15` | gauge | average number of tasks of the machine that run or wait, over 1, 5 and 15 minutes |
/// | `system_pressure_cpu_waiting_seconds_total` | counter | time in which some task waited for a CPU |
/// | `system_pressure_memory_waiting_seconds_total` | counter | time in which some task waited for memory |
/// | `system_pressure_memory_stalled_seconds_total` | counter | time in which all active tasks waited for memory |
/// | `system_pressure_io_waiting_seconds_total` | counter | time in which some task waited for IO |
/// | `system_pressure_io_stalled_seconds_total` | counter | time in which all active tasks waited for IO |
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
/// # Sources
///
/// The container is a control group, of version 1 or 2. Among the groups that contain the process
/// and are visible to it, the group with the lowest limit applies. It can differ for CPU and
/// memory. All usage of that group counts. A limit that is not below the memory of the machine is
/// ignored. Quotas and limits are read at each collection, so they may change.
///
/// - Memory in use of a group excludes file pages that were not used recently (`inactive_file`), as
///   in `kubectl top`. For a machine it is the memory that is not available.
/// - CPU time in use of a machine is all time that is neither idle nor spent waiting for IO. It
///   covers the CPUs that the process may run on: its affinity, which follows a cpuset.
/// - A group may accumulate CPU time and then exceed its quota. The usage is then 100.
/// - The pressures are those of the group of the process if the kernel reports them, and else those
///   of the machine.
///
/// # Collection
///
/// [`collect`](Self::collect) reads the values, takes a few tenths of a millisecond and keeps no
/// file open. A scrape reads nothing. A value that can't be read at registration has no metric.
/// There are no pressures without pressure stall information in the kernel, and no metrics on
/// systems other than Linux. `cpu_usage_percent` exists after two collections that are at least 100
/// ms apart.
///
/// A clone shares the state (an `Arc`).
#[derive(Clone, Debug)]
pub struct SystemMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    system: Reader,
    /// In the order of [`GAUGES`]; `None` for a value that the system does not report.
    gauges: Vec<Option<Gauge>>,
    disks: Vec<Disk>,
    pressures: Vec<Pressure>,
    usage: Mutex<Usage>,
}

/// The gauges, in the order of [`gauges`].
const GAUGES: [(&str, &str); 6] = [
    (
        "cpu_available_cores",
        "CPU cores available to the container or the machine.",
    ),
    (
        "memory_usage_bytes",
        "Memory in use by the container or the machine, in bytes.",
    ),
    (
        "memory_limit_bytes",
        "Memory limit of the container or memory of the machine, in bytes.",
    ),
    (
        "system_load1",
        "Average number of running and waiting tasks over 1 minute.",
    ),
    (
        "system_load5",
        "Average number of running and waiting tasks over 5 minutes.",
    ),
    (
        "system_load15",
        "Average number of running and waiting tasks over 15 minutes.",
    ),
];

const CPU_USAGE: (&str, &str) = (
    "cpu_usage_percent",
    "CPU usage of the container or the machine, in percent.",
);

/// The gauges of a disk, in the order of [`space`].
const DISK: [(&str, &str); 3] = [
    ("disk_usage_bytes", "Used space of a file system, in bytes."),
    ("disk_size_bytes", "Size of a file system, in bytes."),
    (
        "disk_available_bytes",
        "Space of a file system available to users other than root, in bytes.",
    ),
];

/// The resource, the waiting tasks and the counter of each pressure.
const PRESSURES: [(&str, Waiting, &str, &str); 5] = [
    (
        "cpu",
        Waiting::Some,
        "system_pressure_cpu_waiting_seconds_total",
        "Time in which some task waited for a CPU, in seconds.",
    ),
    (
        "memory",
        Waiting::Some,
        "system_pressure_memory_waiting_seconds_total",
        "Time in which some task waited for memory, in seconds.",
    ),
    (
        "memory",
        Waiting::All,
        "system_pressure_memory_stalled_seconds_total",
        "Time in which all active tasks waited for memory, in seconds.",
    ),
    (
        "io",
        Waiting::Some,
        "system_pressure_io_waiting_seconds_total",
        "Time in which some task waited for IO, in seconds.",
    ),
    (
        "io",
        Waiting::All,
        "system_pressure_io_stalled_seconds_total",
        "Time in which all active tasks waited for IO, in seconds.",
    ),
];

impl SystemMetrics {
    /// Registers the metrics, with the disk of `/`, and collects them once.
    ///
    /// # Errors
    ///
    /// If one of the names belongs to another metric. Then no metric is registered.
    /// `cpu_usage_percent` is registered later, so it is missing if the name is taken.
    pub fn register(registry: &Registry) -> Result<Self, RegisterError> {
        Self::register_with_disks(registry, &["/"])
    }

    /// Registers the metrics with the disks of these paths, which are the values of `mountpoint`.
    /// Any path in a file system is valid.
    ///
    /// A path that does not exist has no metrics. For a network file system whose server is
    /// unreachable, [`collect`](Self::collect) may block.
    ///
    /// ```
    /// use campanile_metrics::collectors::SystemMetrics;
    /// use campanile_metrics::Registry;
    ///
    /// let registry = Registry::new();
    /// let disks = ["/", "/proc", "/no/such/folder"];
    /// let system = SystemMetrics::register_with_disks(&registry, &disks)?;
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

    /// Updates the metrics. A value that can't be read stays as it was.
    pub fn collect(&self) {
        self.0.collect(clock::now());
    }
}

impl Inner {
    /// Registers the metrics of the values that the system reports.
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

/// The metrics of a disk.
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

/// A pressure and its counter.
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

/// Returns the bytes of a file system: used, all, and available to users other than root.
fn space(mountpoint: &str) -> Option<[f64; 3]> {
    let found = disk(mountpoint)?;
    Some([found.used, found.size, found.available].map(|bytes| bytes as f64))
}

/// The gauge of the CPU usage, and the previous reading.
#[derive(Debug, Default)]
struct Usage {
    /// `None` before the first value, because 0 would be wrong.
    gauge: Option<Gauge>,
    last: Option<(Instant, Used)>,
}

impl Usage {
    /// Returns the usage since the previous reading in percent. `None` if it is unknown, or the
    /// reading is too recent.
    fn since_last(&mut self, now: Instant, used: Option<Used>) -> Option<f64> {
        let used = used?;
        let Some((at, last)) = &self.last else {
            self.last = Some((now, used));
            return None;
        };
        let elapsed = now.saturating_duration_since(*at);
        if elapsed < MIN_INTERVAL {
            return None;
        }
        let percent = used.percent_since(last, elapsed);
        self.last = Some((now, used));
        percent
    }
}

/// The minimum time between two readings. Kernel ticks are 10 ms long, so a share of less than some
/// of them is noise.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
