use std::time::Duration;

use crate::{Gauge, Kind, RegisterError, Registry, TimeCounter};

/// Metrics of the process, under the names that all Prometheus clients use.
///
/// | metric | kind | meaning |
/// |---|---|---|
/// | `process_cpu_seconds_total` | counter | CPU time in user and system mode |
/// | `process_open_fds` | gauge | open file descriptors |
/// | `process_max_fds` | gauge | maximum number of open file descriptors |
/// | `process_resident_memory_bytes` | gauge | memory in RAM |
/// | `process_virtual_memory_bytes` | gauge | memory in the address space |
/// | `process_virtual_memory_max_bytes` | gauge | maximum size of the address space; -1 for no limit |
/// | `process_start_time_seconds` | gauge | Unix time of the start, in seconds |
/// | `process_threads` | gauge | threads |
///
/// ```
/// use campanile_metrics::collectors::ProcessMetrics;
/// use campanile_metrics::Registry;
///
/// let registry = Registry::new();
/// let process = ProcessMetrics::register(&registry)?;
/// # #[cfg(target_os = "linux")]
/// assert!(registry.render().contains("process_threads "));
/// # Ok::<_, campanile_metrics::RegisterError>(())
/// ```
///
/// [`collect`](Self::collect) reads `/proc/self` and keeps no file open. A scrape reads nothing. A
/// value that can't be read has no metric, so there are none on systems other than Linux.
///
/// A collection takes about a tenth of a millisecond. Before Linux 6.2 it counts the open file
/// descriptors one by one, which takes milliseconds for 10,000 of them. Call it on a thread that
/// may block, as `Campanile::run` does.
#[derive(Clone, Debug)]
pub struct ProcessMetrics {
    /// `None` if the system reports no values.
    handles: Option<Handles>,
}

#[derive(Clone, Debug)]
struct Handles {
    cpu: TimeCounter,
    /// In the order of [`GAUGES`]; `None` for a value that can't be read.
    gauges: [Option<Gauge>; 7],
}

/// The gauges, in the order of [`Figures::gauges`].
const GAUGES: [(&str, &str); 7] = [
    ("process_open_fds", "Number of open file descriptors."),
    (
        "process_max_fds",
        "Maximum number of open file descriptors.",
    ),
    (
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
    ),
    (
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
    ),
    (
        "process_virtual_memory_max_bytes",
        "Maximum amount of virtual memory available in bytes.",
    ),
    (
        "process_start_time_seconds",
        "Start time of the process since the Unix epoch in seconds.",
    ),
    ("process_threads", "Number of threads."),
];

const CPU: (&str, &str) = (
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
);

impl ProcessMetrics {
    /// Registers the metrics and collects them once.
    ///
    /// # Errors
    ///
    /// If one of the names belongs to another metric. Then no metric is registered.
    pub fn register(registry: &Registry) -> Result<Self, RegisterError> {
        Self::with(registry, Figures::read(), boot())
    }

    fn with(
        registry: &Registry,
        figures: Option<Figures>,
        boot: Option<f64>,
    ) -> Result<Self, RegisterError> {
        let Some(mut figures) = figures else {
            return Ok(Self { handles: None });
        };
        figures.start = figures.start.zip(boot).map(|(since, boot)| boot + since);
        let values = figures.gauges();
        let is_there = GAUGES
            .iter()
            .zip(values)
            .filter(|(_, value)| value.is_some());
        let names = is_there.map(|((name, _), _)| (*name, Kind::Gauge));
        let names: Vec<_> = names.chain([(CPU.0, Kind::TimeCounter)]).collect();
        registry.check_names(&names)?;
        registry.describe(CPU.0, CPU.1);
        let cpu = registry.time_counter(CPU.0, &[])?;
        let mut gauges = [const { None }; 7];
        for ((gauge, (name, help)), value) in gauges.iter_mut().zip(GAUGES).zip(values) {
            if value.is_some() {
                registry.describe(name, help);
                *gauge = Some(registry.gauge(name, &[])?);
            }
        }
        let handles = Handles { cpu, gauges };
        handles.show(&figures);
        Ok(Self {
            handles: Some(handles),
        })
    }

    /// Updates the metrics. A value that can't be read stays as it was.
    pub fn collect(&self) {
        if let Some((handles, mut figures)) = self.handles.as_ref().zip(Figures::read()) {
            // The start time is known, and relative to the boot here.
            figures.start = None;
            handles.show(&figures);
        }
    }
}

impl Handles {
    fn show(&self, figures: &Figures) {
        self.cpu.absolute(figures.cpu);
        for (gauge, value) in self.gauges.iter().zip(figures.gauges()) {
            if let (Some(gauge), Some(value)) = (gauge, value) {
                gauge.set(value);
            }
        }
    }
}

/// Returns the Unix time of the system's boot in seconds.
fn boot() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// The values that the system reports for the process.
struct Figures {
    cpu: Duration,
    threads: f64,
    virtual_memory: f64,
    resident_memory: f64,
    /// In seconds since the boot, until the time of the boot is known.
    start: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
    max_virtual_memory: Option<f64>,
}

impl Figures {
    fn gauges(&self) -> [Option<f64>; 7] {
        [
            self.open_fds,
            self.max_fds,
            Some(self.resident_memory),
            Some(self.virtual_memory),
            self.max_virtual_memory,
            self.start,
            Some(self.threads),
        ]
    }

    #[cfg(not(target_os = "linux"))]
    fn read() -> Option<Self> {
        None
    }

    #[cfg(target_os = "linux")]
    fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let ticks = rustix::param::clock_ticks_per_second();
        let mut figures = Self::parse(&stat, ticks, rustix::param::page_size())?;
        let descriptors = campanile_system::descriptors();
        figures.open_fds = descriptors.map(|all| all.open as f64);
        figures.max_fds = descriptors.and_then(|all| Some(all.most? as f64));
        let limit = rustix::process::getrlimit(rustix::process::Resource::As);
        figures.max_virtual_memory = Some(limit.current.map_or(-1.0, |limit| limit as f64));
        Some(figures)
    }

    /// Reads `/proc/self/stat` (proc(5)); the start is in seconds since the system's.
    #[cfg_attr(
        not(any(target_os = "linux", test)),
        expect(dead_code, reason = "there is no such file")
    )]
    fn parse(stat: &str, ticks: u64, page: usize) -> Option<Self> {
        // The name of the program is in brackets, and may contain any character.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first of these fields is the third of the line.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let cpu_ticks = field(14)?.checked_add(field(15)?)?;
        let seconds = |ticked: u64| ticked as f64 / ticks as f64;
        Some(Self {
            cpu: Duration::try_from_secs_f64(seconds(cpu_ticks)).ok()?,
            threads: field(20)? as f64,
            virtual_memory: field(23)? as f64,
            resident_memory: (field(24)? * page as u64) as f64,
            start: field(22).map(seconds),
            open_fds: None,
            max_fds: None,
            max_virtual_memory: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[test]
    fn a_programs_name_may_be_anything() {
        let stat = "19022 (a) b (c) R 1 2 3 4 -1 5 100 0 0 0 250 50 0 0 20 0 7 0 281300 3133440 388 18446744073709551615 9 9";
        let figures = Figures::parse(stat, 100, 4_096).unwrap();
        assert_eq!(figures.cpu, Duration::from_secs(3));
        assert_eq!(figures.threads, 7.0);
        assert_eq!(
            (figures.virtual_memory, figures.resident_memory),
            (3_133_440.0, 388.0 * 4_096.0)
        );
        assert_eq!(figures.start, Some(2_813.0));
        for stat in ["", "1 (a) R", "1 (a) R 1 2 3 4 5 6 7 8 9 x y z"] {
            assert!(Figures::parse(stat, 100, 4_096).is_none(), "{stat}");
        }
    }

    const STAT: &str =
        "19022 (a) R 1 2 3 4 -1 5 100 0 0 0 250 50 0 0 20 0 7 0 281300 3133440 388 0 9";

    #[test]
    fn what_cannot_be_registered_or_read_is_on_no_page() {
        let registry = Registry::new();
        // A metric of the application.
        let _own = registry.counter("process_cpu_seconds_total", &[]).unwrap();
        let before = registry.render();
        let figures = Figures::parse(STAT, 100, 4_096);
        let error = ProcessMetrics::with(&registry, figures, Some(1e9)).unwrap_err();
        assert_eq!(registry.render(), before);
        assert!(
            error
                .to_string()
                .contains("of a counter of time: expected a counter"),
            "{error}"
        );

        let registry = Registry::new();
        let figures = Figures::parse(STAT, 100, 4_096);
        let process = ProcessMetrics::with(&registry, figures, None).unwrap();
        assert!(
            registry
                .family_snapshot("process_start_time_seconds")
                .is_none()
        );
        assert!(registry.family_snapshot("process_open_fds").is_none());
        assert_eq!(
            registry.get("process_threads", &[]),
            Some(Value::Gauge(7.0))
        );
        process.collect();
        assert!(
            registry
                .family_snapshot("process_start_time_seconds")
                .is_none()
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_figures_are_the_systems() {
        let registry = Registry::new();
        let process = ProcessMetrics::register(&registry).unwrap();
        let gauge = |name| match registry.get(name, &[]) {
            Some(Value::Gauge(value)) => value,
            other => panic!("{name} is {other:?}"),
        };
        let resident = gauge("process_resident_memory_bytes");
        assert!((1e6..1e10).contains(&resident), "{resident}");
        assert!(gauge("process_virtual_memory_bytes") > resident);
        assert!(gauge("process_threads") >= 1.0);
        assert!(gauge("process_open_fds") >= 3.0);
        assert!(gauge("process_max_fds") >= 16.0);
        #[expect(clippy::disallowed_methods, reason = "the test is the edge")]
        let now = std::time::SystemTime::now();
        let now = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let age = now - gauge("process_start_time_seconds");
        assert!((-2.0..3_600.0).contains(&age), "{age}");
        let started = gauge("process_start_time_seconds");
        let Some(Value::TimeCounter(before)) = registry.get(CPU.0, &[]) else {
            panic!("there is no {}", CPU.0);
        };
        // Until a tick of the system's clock was used up.
        let used = (0..1_000).any(|_| {
            std::hint::black_box((0..2_000_000_u64).fold(0, u64::wrapping_add));
            process.collect();
            process.handles.as_ref().unwrap().cpu.value() > before
        });
        assert!(used);
        assert_eq!(gauge("process_start_time_seconds"), started);
        assert!(registry.render().contains("process_cpu_seconds_total 0.") || before.as_secs() > 0);
    }
}
