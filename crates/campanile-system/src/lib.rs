//! CPU, memory, disk and load of a process's container or machine.
//!
//! ```
//! use campanile_system::{System, disk};
//!
//! let values = System::new().read();
//! # #[cfg(target_os = "linux")]
//! assert!(values.memory_used < values.memory_limit);
//! # #[cfg(target_os = "linux")]
//! assert!(disk("/").is_some_and(|disk| disk.used <= disk.size));
//! ```
//!
//! A container is a control group (cgroup v1 or v2). [`System::new`] finds all visible groups of
//! the process. The group with the lowest limit counts, separately for CPU and memory. The usage
//! includes the children of the group. A memory limit at or above the machine's memory is ignored.
//! Each read reads the quotas and limits again, so they may change.
//!
//! The values come from `/proc`, `/sys` and the file systems. No file stays open. On systems other
//! than Linux, all values are `None`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::cgroup::Cgroups;
use self::machine::{Memory, Processors, Root, loads};

mod cgroup;
mod machine;

/// Reads the values of the process's container or machine.
#[derive(Debug)]
pub struct System {
    root: Root,
    cgroups: Cgroups,
}

/// The values at one time. A value that the system does not provide is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// The CPU quota in cores, or the number of CPUs in the process's affinity mask if that is
    /// lower. The mask follows the container's cpuset.
    pub cores: Option<f64>,
    /// Memory in use that the kernel can't reclaim at once, in bytes. For a group it excludes
    /// `inactive_file`. For the machine it is the total minus `MemAvailable`.
    pub memory_used: Option<u64>,
    /// The memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// The machine's load averages over 1, 5 and 15 minutes.
    pub loads: [Option<f64>; 3],
    /// The CPU time that was used so far.
    pub processors: Option<Used>,
}

/// The CPU time that was used so far.
///
/// For a machine, it is the time that is neither idle nor waiting for I/O, on the CPUs in the
/// process's affinity mask.
#[derive(Clone, Debug, PartialEq)]
pub struct Used(CpuTime);

#[derive(Clone, Debug, PartialEq)]
enum CpuTime {
    /// In clock ticks.
    Machine {
        busy: u64,
        all: u64,
        /// The CPUs, or `None` for all of the machine.
        cpus: Option<Box<[u32]>>,
    },
    Group {
        group: PathBuf,
        time: Duration,
        cores: f64,
    },
}

/// The usage of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disk {
    /// The used bytes.
    pub used: u64,
    /// The size in bytes.
    pub size: u64,
    /// The free bytes for users other than root.
    pub available: u64,
}

/// The process's file descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptors {
    /// The number of open descriptors.
    pub open: u64,
    /// The limit, or `None` for no limit.
    pub most: Option<u64>,
}

/// A source of pressure stall information (PSI), created by [`System::pressure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressure {
    file: PathBuf,
    who: Waiting,
}

/// The tasks that are stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// At least one task (`some`).
    Some,
    /// All non-idle tasks (`full`).
    All,
}

impl Waiting {
    fn as_str(self) -> &'static str {
        match self {
            Self::Some => "some",
            Self::All => "full",
        }
    }
}

impl System {
    /// Finds the control groups of this process.
    pub fn new() -> Self {
        Self::at("/")
    }

    /// Finds the control groups in a directory that contains `proc` and `sys`, such as a mount of
    /// the machine's root in a container.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let root = Root(root.into());
        let cgroups = Cgroups::find(&root);
        Self { root, cgroups }
    }

    /// Reads the values. It takes about 0.1 ms.
    pub fn read(&self) -> Figures {
        let processors = Processors::read(&self.root);
        let quota = self.cgroups.quota(&self.root);
        let online = processors.as_ref();
        let online = online.map_or(f64::INFINITY, |processors| processors.count as f64);
        let cores = quota
            .as_ref()
            .map_or(online, |quota| quota.cores.min(online));
        let used = match (quota, processors) {
            (Some(quota), _) => quota.used.map(|time| CpuTime::Group {
                group: quota.group,
                time,
                cores,
            }),
            (
                None,
                Some(Processors {
                    busy, all, cpus, ..
                }),
            ) => Some(CpuTime::Machine { busy, all, cpus }),
            (None, None) => None,
        };
        let memory = Memory::read(&self.root);
        let total = memory.map(|memory| memory.total);
        let limit = self.cgroups.limit(&self.root, total.unwrap_or(NO_LIMIT));
        let (memory_used, memory_limit) = match limit {
            Some(limit) => (limit.used, Some(limit.bytes)),
            None => {
                let in_use = |memory: Memory| Some(memory.total.saturating_sub(memory.available?));
                (memory.and_then(in_use), total)
            }
        };
        let loadavg = self.root.read(Path::new("/proc/loadavg"));
        Figures {
            cores: cores.is_finite().then_some(cores),
            memory_used,
            memory_limit,
            loads: loads(&loadavg.unwrap_or_default()),
            processors: used.map(Used),
        }
    }

    /// Returns the source of pressure stall information for `cpu`, `memory` or `io`.
    ///
    /// It covers the process's group, or the machine if the kernel has no pressure files for
    /// groups. `None` if the kernel has no pressure files.
    pub fn pressure(&self, resource: &str, who: Waiting) -> Option<Pressure> {
        let machine = Path::new("/proc/pressure").join(resource);
        let files = self.cgroups.pressure(resource).into_iter().chain([machine]);
        let pressures = files.map(|file| Pressure { file, who });
        { pressures }.find(|pressure| self.stalled(pressure).is_some())
    }

    /// Returns the total time that the tasks were stalled.
    pub fn stalled(&self, pressure: &Pressure) -> Option<Duration> {
        let text = self.root.read(&pressure.file)?;
        machine::stalled(&text, pressure.who.as_str())
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

/// Version 1 always has a limit. Its default is just below 2^63 bytes.
const NO_LIMIT: u64 = 1 << 62;

impl Used {
    /// Returns the CPU usage since an earlier reading, in percent of the limit, from 0 to 100.
    ///
    /// A burst above the quota is 100. `None` if the readings are not comparable, because another
    /// group has the lowest quota or the affinity mask changed.
    pub fn percent_since(&self, earlier: &Self, elapsed: Duration) -> Option<f64> {
        let (used, had) = match (&earlier.0, &self.0) {
            (
                CpuTime::Machine { busy, all, cpus },
                CpuTime::Machine {
                    busy: b,
                    all: a,
                    cpus: same,
                },
            ) if cpus == same => {
                let since = |now: &u64, then: &u64| now.saturating_sub(*then) as f64;
                (since(b, busy), since(a, all))
            }
            (
                CpuTime::Group { group, time, .. },
                CpuTime::Group {
                    group: same,
                    time: now,
                    cores,
                },
            ) if group == same => (
                now.saturating_sub(*time).as_secs_f64(),
                elapsed.as_secs_f64() * cores,
            ),
            _ => return None,
        };
        (had > 0.0).then(|| (used / had * 100.0).clamp(0.0, 100.0))
    }
}

/// Returns the usage of the file system of a path, or `None` if the path does not exist.
///
/// It may block if the file system's server is unreachable.
#[cfg(target_os = "linux")]
pub fn disk(path: impl AsRef<Path>) -> Option<Disk> {
    let found = rustix::fs::statvfs(path.as_ref()).ok()?;
    let used = found.f_blocks.saturating_sub(found.f_bfree);
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some(Disk {
        used: bytes(used),
        size: bytes(found.f_blocks),
        available: bytes(found.f_bavail),
    })
}

/// Returns `None`: only Linux is supported.
#[cfg(not(target_os = "linux"))]
pub fn disk(_path: impl AsRef<Path>) -> Option<Disk> {
    None
}

/// Returns the process's file descriptors.
///
/// Before Linux 6.2 it lists them, which takes milliseconds for 10,000 descriptors.
#[cfg(target_os = "linux")]
pub fn descriptors() -> Option<Descriptors> {
    // Since Linux 6.2 the size of the directory is their number.
    let counted = || {
        // The directory itself is open while it is read.
        let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
        Some(open.saturating_sub(1) as u64)
    };
    let size = std::fs::metadata("/proc/self/fd").ok()?.len();
    Some(Descriptors {
        open: if size > 0 { size } else { counted()? },
        most: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
    })
}

/// Returns `None`: only Linux is supported.
#[cfg(not(target_os = "linux"))]
pub fn descriptors() -> Option<Descriptors> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[track_caller]
    fn check_percent(earlier: &Used, later: &Used, expected: Option<f64>) {
        assert_eq!(later.percent_since(earlier, SECOND * 2), expected);
    }

    #[test]
    fn a_share_is_of_what_there_was_since() {
        let machine = |busy, all| {
            let cpus = None;
            Used(CpuTime::Machine { busy, all, cpus })
        };
        let pinned = |busy, all, processor: u32| {
            let cpus = Some([processor].into());
            Used(CpuTime::Machine { busy, all, cpus })
        };
        check_percent(&pinned(10, 100, 1), &pinned(40, 200, 1), Some(30.0));
        check_percent(&pinned(10, 100, 1), &pinned(40, 200, 2), None);
        check_percent(&machine(10, 100), &pinned(40, 200, 2), None);
        check_percent(&machine(10, 100), &machine(40, 200), Some(30.0));
        check_percent(&machine(10, 100), &machine(10, 100), None);
        check_percent(&machine(10, 100), &machine(9, 200), Some(0.0));
        let group = |group: &str, milliseconds, cores| {
            Used(CpuTime::Group {
                group: group.into(),
                time: Duration::from_millis(milliseconds),
                cores,
            })
        };
        check_percent(&group("a", 500, 2.0), &group("a", 1_500, 2.0), Some(25.0));
        check_percent(&group("a", 500, 2.0), &group("a", 9_500, 2.0), Some(100.0));
        check_percent(&group("a", 500, 2.0), &group("a", 400, 2.0), Some(0.0));
        check_percent(&group("a", 500, 2.0), &group("b", 1_500, 2.0), None);
        check_percent(&machine(10, 100), &group("a", 1_500, 2.0), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn descriptors_are_the_processs() {
        let before = descriptors().unwrap();
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let open = descriptors().unwrap().open;
        let listed = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        // Other tests open some too.
        assert!(open.abs_diff(listed) < 20, "{open} of {listed}");
        assert!(open >= 3 && before.most.is_none_or(|most| open < most));
        drop(file);
        assert_eq!(disk("/no/such/folder"), None);
    }
}
