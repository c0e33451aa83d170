use std::path::{Path, PathBuf};
use std::time::Duration;

/// The directory that contains `proc` and `sys`.
#[derive(Debug)]
pub(crate) struct Root(pub(crate) PathBuf);

impl Root {
    /// Returns the content of a file, or `None` if it can't be read.
    pub(crate) fn read(&self, path: &Path) -> Option<String> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let bytes = std::fs::read(self.0.join(path)).ok()?;
        // A mount point that is not UTF-8 must not hide the others.
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the number in a file that contains nothing else.
    pub(crate) fn number(&self, path: &Path) -> Option<u64> {
        self.read(path)?.trim().parse().ok()
    }
}

/// The CPU time of the CPUs in the process's affinity mask, in clock ticks since boot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Processors {
    pub(crate) busy: u64,
    pub(crate) all: u64,
    /// The number of CPUs.
    pub(crate) count: usize,
    /// The CPUs, or `None` for all of the machine.
    pub(crate) cpus: Option<Box<[u32]>>,
}

impl Processors {
    pub(crate) fn read(root: &Root) -> Option<Self> {
        let status = root.read(Path::new("/proc/self/status"));
        let mut lines = status.as_deref().unwrap_or_default().lines();
        let allowed = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Self::parse(&root.read(Path::new("/proc/stat"))?, allowed)
    }

    /// Parses `/proc/stat` (proc_stat(5)) and the affinity mask, a list such as `0-3,7`
    /// (cpuset(7)).
    fn parse(stat: &str, allowed: Option<&str>) -> Option<Self> {
        let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let (busy, all) = ticks(all)?;
        let each = stat.lines().filter_map(|line| {
            let (number, fields) = line.strip_prefix("cpu")?.split_once(' ')?;
            Some((number.parse::<u32>().ok()?, fields))
        });
        let online: Vec<_> = each.collect();
        let is_allowed = |number| allowed.is_none_or(|list| is_in(list, number));
        let own = online.iter().filter(|(number, _)| is_allowed(*number));
        let own: Vec<_> = own.collect();
        // A list without an online CPU belongs to another machine.
        if own.is_empty() || own.len() == online.len() {
            return Some(Self {
                busy,
                all,
                count: online.len().max(1),
                cpus: None,
            });
        }
        let mut sum = (0_u64, 0_u64);
        for (_, fields) in &own {
            let (busy, all) = ticks(fields)?;
            sum = (sum.0.saturating_add(busy), sum.1.saturating_add(all));
        }
        Some(Self {
            busy: sum.0,
            all: sum.1,
            count: own.len(),
            cpus: Some(own.iter().map(|(number, _)| *number).collect()),
        })
    }
}

/// Returns the busy ticks and all ticks of a line of `/proc/stat`.
fn ticks(fields: &str) -> Option<(u64, u64)> {
    // The guest fields follow. The first two fields include them.
    let mut ticks = [0_u64; 8];
    for (ticks, field) in ticks.iter_mut().zip(fields.split_ascii_whitespace()) {
        *ticks = field.parse().ok()?;
    }
    let [user, nice, system, idle, waiting, interrupts, soft, stolen] = ticks;
    let sum = |ticks: &[u64]| ticks.iter().copied().fold(0, u64::saturating_add);
    let busy = sum(&[user, nice, system, interrupts, soft, stolen]);
    Some((busy, sum(&[busy, idle, waiting])))
}

/// Returns whether a number is in a list such as `0-3,7`.
fn is_in(list: &str, number: u32) -> bool {
    list.trim().split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let parsed = first
            .trim()
            .parse::<u32>()
            .ok()
            .zip(last.trim().parse().ok());
        parsed.is_some_and(|(first, last)| (first..=last).contains(&number))
    })
}

/// The machine's memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    /// `None` before Linux 3.14.
    pub(crate) available: Option<u64>,
}

impl Memory {
    pub(crate) fn read(root: &Root) -> Option<Self> {
        Self::parse(&root.read(Path::new("/proc/meminfo"))?)
    }

    /// Parses `/proc/meminfo` (proc_meminfo(5)). Its kB are 1,024 bytes.
    fn parse(meminfo: &str) -> Option<Self> {
        let bytes = |name| Some(field(meminfo, name)?.saturating_mul(1_024));
        Some(Self {
            total: bytes("MemTotal:")?,
            available: bytes("MemAvailable:"),
        })
    }
}

/// Parses the load averages over 1, 5 and 15 minutes in `/proc/loadavg` (proc_loadavg(5)).
pub(crate) fn loads(loadavg: &str) -> [Option<f64>; 3] {
    let mut loads = loadavg.split_ascii_whitespace().map(|load| {
        let load = load.parse::<f64>().ok()?;
        load.is_finite().then_some(load)
    });
    [(); 3].map(|()| loads.next().flatten())
}

/// Parses the total stall time in a pressure file, from the line `some` or `full`.
pub(crate) fn stalled(pressure: &str, who: &str) -> Option<Duration> {
    let mut lines = pressure.lines().map(str::split_ascii_whitespace);
    let mut line = lines.find_map(|mut line| (line.next()? == who).then_some(line))?;
    let total = line.find_map(|field| field.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

/// Returns the number after a name at the start of a line.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    let mut line = lines.find_map(|mut line| (line.next()? == name).then_some(line))?;
    line.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_busy_unless_they_idle_or_wait() {
        let stat = "cpu  100 20 30 1000 50 6 7 8 90 9\ncpu0 50 10 15 500 25 3 3 4 45 4\n\
            cpu1 50 10 15 500 25 3 4 4 45 5\nintr 1\ncpufreq 3\n";
        let expected = Processors {
            busy: 171,
            all: 1_221,
            count: 2,
            cpus: None,
        };
        for allowed in [
            None,
            Some("\t0-63"),
            Some("0,1"),
            Some("7"),
            Some(""),
            Some("x-1"),
        ] {
            let found = Processors::parse(stat, allowed);
            assert_eq!(found.as_ref(), Some(&expected), "{allowed:?}");
        }
        let expected = Processors {
            busy: 86,
            all: 611,
            count: 1,
            cpus: Some([1].into()),
        };
        for allowed in ["1", "\t1-3\n", "3,1"] {
            let found = Processors::parse(stat, Some(allowed));
            assert_eq!(found.as_ref(), Some(&expected), "{allowed}");
        }
        // An old kernel has fewer columns.
        let found = Processors::parse("cpu  1 2 3 4", None).unwrap();
        assert_eq!((found.busy, found.all, found.count), (6, 10, 1));
        for stat in ["", "cpu", "cpu  1 x", "cpu0 1 2 3 4", "cpu  -1 2 3 4"] {
            assert_eq!(Processors::parse(stat, None), None, "{stat}");
        }
        let most = format!("cpu  {0} {0} {0} {0}", u64::MAX);
        assert_eq!(Processors::parse(&most, None).unwrap().all, u64::MAX);
    }

    #[test]
    fn memory_is_in_kibibytes() {
        let meminfo =
            "MemTotal:        2000 kB\nMemFree:          500 kB\nMemAvailable:    1500 kB\n";
        let found = Memory::parse(meminfo).unwrap();
        assert_eq!(
            (found.total, found.available),
            (2_000 * 1_024, Some(1_500 * 1_024))
        );
        assert_eq!(Memory::parse("MemTotal: 1 kB").unwrap().available, None);
        for meminfo in ["", "MemTotal:", "MemTotal: kB", "MemTotalled: 1 kB"] {
            assert_eq!(Memory::parse(meminfo), None, "{meminfo}");
        }
    }

    #[test]
    fn each_load_is_parsed_separately() {
        assert_eq!(
            loads("0.00 0.49 12.06 1/81 3983\n"),
            [Some(0.0), Some(0.49), Some(12.06)]
        );
        assert_eq!(loads("1.5 nan inf"), [Some(1.5), None, None]);
        assert_eq!(loads(""), [None; 3]);
    }

    #[test]
    fn pressure_is_a_time_in_microseconds() {
        let text = "some avg10=0.03 avg60=0.09 avg300=2.50 total=716311676\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(
            stalled(text, "some"),
            Some(Duration::from_micros(716_311_676))
        );
        assert_eq!(stalled(text, "full"), Some(Duration::from_micros(7)));
        for text in ["", "some", "some total=", "some total=-1", "total=5 some"] {
            assert_eq!(stalled(text, "some"), None, "{text}");
        }
    }
}
