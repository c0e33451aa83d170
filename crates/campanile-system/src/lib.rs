//! What a process runs on: processors, memory, disks and load of its container or machine.
//!
//! ```
//! use campanile_system::{System, disk};
//!
//! let figures = System::new().read();
//! # #[cfg(target_os = "linux")]
//! assert!(figures.memory_used < figures.memory_limit);
//! # #[cfg(target_os = "linux")]
//! assert!(disk("/").is_some_and(|disk| disk.used <= disk.size));
//! ```
//!
//! The container is a control group, of version 1 or 2: of all that the process is in when a [`System`] is made, and that it can see, the one
//! that has the least; for processors and memory it need not be the same. What that group uses counts, with all that is in it. A limit that is
//! not below the machine's memory is none. Quotas and limits are read each time, and so may change.
//!
//! All is read from `/proc`, `/sys` and the file systems, and no file is kept open. On other systems than Linux, all values are `None`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::cgroup::Cgroups;
use self::machine::{Memory, Processors, Root, loads};

mod cgroup;
mod machine;

/// Where the figures are.
#[derive(Debug)]
pub struct System {
    root: Root,
    cgroups: Cgroups,
}

/// What the system says at one time; what it doesn't say is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// The quota in processors, or how many the process may run on (its affinity, which follows the
    /// cpuset of its container) if that is fewer.
    pub cores: Option<f64>,
    /// Bytes of memory that are in use and can't be had back at once: in a group without the pages of files that were not used of late (the
    /// kernel's `inactive_file`), and in a machine what is not available.
    pub memory_used: Option<u64>,
    /// How many bytes there may be.
    pub memory_limit: Option<u64>,
    /// The machine's tasks that run or wait, on average over 1, 5 and 15 minutes.
    pub loads: [Option<f64>; 3],
    /// The time on processors that was used so far.
    pub processors: Option<Used>,
}

/// The time on processors that was used so far. Of a machine, all counts as used that is neither
/// idle nor spent waiting for disks, on the processors that the process may run on.
#[derive(Clone, Debug, PartialEq)]
pub struct Used(Of);

#[derive(Clone, Debug, PartialEq)]
enum Of {
    /// In the clock's ticks, of all that there were.
    Machine {
        busy: u64,
        all: u64,
        /// The processors, if they are not all.
        of: Option<Box<[u32]>>,
    },
    Group {
        group: PathBuf,
        time: Duration,
        cores: f64,
    },
}

/// A file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disk {
    /// How many are used.
    pub used: u64,
    /// How many there are.
    pub size: u64,
    /// How many are free for users other than root.
    pub available: u64,
}

/// The process's file descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptors {
    /// How many are open.
    pub open: u64,
    /// How many there may be; `None` for no limit.
    pub most: Option<u64>,
}

/// Something that tasks wait for, and who waits; from [`System::pressure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressure {
    file: PathBuf,
    who: Waiting,
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Some task.
    Some,
    /// All tasks that have work.
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
    /// Finds the groups that this process is in.
    pub fn new() -> Self {
        Self::at("/")
    }

    /// Finds them below a folder that has `proc` and `sys`, such as where a container has the host's.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let root = Root(root.into());
        let cgroups = Cgroups::find(&root);
        Self { root, cgroups }
    }

    /// Reads the figures, which takes about a tenth of a millisecond.
    pub fn read(&self) -> Figures {
        let processors = Processors::read(&self.root);
        let quota = self.cgroups.quota(&self.root);
        let online = processors.as_ref();
        let online = online.map_or(f64::INFINITY, |processors| processors.count as f64);
        let cores = quota
            .as_ref()
            .map_or(online, |quota| quota.cores.min(online));
        let used = match (quota, processors) {
            (Some(quota), _) => quota.used.map(|time| Of::Group {
                group: quota.group,
                time,
                cores,
            }),
            (None, Some(Processors { busy, all, of, .. })) => Some(Of::Machine { busy, all, of }),
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

    /// Returns where the kernel tells how long tasks have waited for `cpu`, `memory` or `io`: for the process's own group if it tells that for
    /// groups, else for the machine; `None` if it doesn't.
    pub fn pressure(&self, resource: &str, who: Waiting) -> Option<Pressure> {
        let machine = Path::new("/proc/pressure").join(resource);
        let files = self.cgroups.pressure(resource).into_iter().chain([machine]);
        let pressures = files.map(|file| Pressure { file, who });
        { pressures }.find(|pressure| self.stalled(pressure).is_some())
    }

    /// Returns how long they have waited so far.
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

/// Version 1 always has a limit. By default it is just below 2^63 bytes.
const NO_LIMIT: u64 = 1 << 62;

impl Used {
    /// Returns how much was used since an earlier time, in percent of what there was; `None` if that is not known, as after another
    /// group got the least, or the process may run on other processors. A group may save up time
    /// and then use more than its quota: that is 100.
    pub fn percent_since(&self, earlier: &Self, elapsed: Duration) -> Option<f64> {
        let (used, had) = match (&earlier.0, &self.0) {
            (
                Of::Machine { busy, all, of },
                Of::Machine {
                    busy: b,
                    all: a,
                    of: same,
                },
            ) if of == same => {
                let since = |now: &u64, then: &u64| now.saturating_sub(*then) as f64;
                (since(b, busy), since(a, all))
            }
            (
                Of::Group { group, time, .. },
                Of::Group {
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

/// Returns the file system that a path is in; `None` if there is no such path. One of a network whose server is gone may keep this waiting.
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

/// Returns the process's file descriptors. Before Linux 6.2 they are counted one by one, which
/// takes milliseconds for 10,000 of them.
#[cfg(target_os = "linux")]
pub fn descriptors() -> Option<Descriptors> {
    // Since Linux 6.2 it is the folder's size, which takes no time.
    let counted = || {
        // The folder is open itself while it is read.
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
            let of = None;
            Used(Of::Machine { busy, all, of })
        };
        let pinned = |busy, all, processor: u32| {
            let of = Some([processor].into());
            Used(Of::Machine { busy, all, of })
        };
        check_percent(&pinned(10, 100, 1), &pinned(40, 200, 1), Some(30.0));
        check_percent(&pinned(10, 100, 1), &pinned(40, 200, 2), None);
        check_percent(&machine(10, 100), &pinned(40, 200, 2), None);
        check_percent(&machine(10, 100), &machine(40, 200), Some(30.0));
        check_percent(&machine(10, 100), &machine(10, 100), None);
        check_percent(&machine(10, 100), &machine(9, 200), Some(0.0));
        let group = |group: &str, milliseconds, cores| {
            Used(Of::Group {
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
