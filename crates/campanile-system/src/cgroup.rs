use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::machine::{Root, field};

/// The control groups of this process, per controller (cgroups(7)).
#[derive(Debug)]
pub(crate) struct Cgroups {
    cpu: Option<Hierarchy>,
    /// Version 1's controller that counts the CPU time.
    accounting: Option<Hierarchy>,
    memory: Option<Hierarchy>,
    /// Version 2's hierarchy. Next to version 1 it has no controllers.
    unified: Option<Hierarchy>,
}

/// The lowest CPU quota among the process's groups.
#[derive(Debug, PartialEq)]
pub(crate) struct Quota {
    pub(crate) cores: f64,
    /// The group with this quota.
    pub(crate) group: PathBuf,
    /// The CPU time of the whole group since it was created.
    pub(crate) used: Option<Duration>,
}

/// The lowest memory limit among the process's groups, in bytes.
#[derive(Debug, PartialEq)]
pub(crate) struct Limit {
    pub(crate) bytes: u64,
    /// The memory in use by the whole group.
    pub(crate) used: Option<u64>,
}

impl Cgroups {
    /// Finds the groups. Their paths don't change, but their limits may.
    pub(crate) fn find(root: &Root) -> Self {
        let read = |path| root.read(Path::new(path)).unwrap_or_default();
        Self::parse(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
    }

    /// Parses `/proc/self/cgroup` and `/proc/self/mountinfo`.
    fn parse(own: &str, mounts: &str) -> Self {
        let unified = || Hierarchy::parse(own, mounts, UNIFIED);
        let with = |controller| Hierarchy::parse(own, mounts, controller).or_else(unified);
        Self {
            cpu: with("cpu"),
            accounting: with("cpuacct"),
            memory: with("memory"),
            unified: unified(),
        }
    }

    /// Returns the lowest quota from the process's group up to the outermost visible group, or
    /// `None`.
    pub(crate) fn quota(&self, root: &Root) -> Option<Quota> {
        let cpu = self.cpu.as_ref()?;
        let cores = |group| {
            let number = |name| root.number(&cpu.file(group, name));
            let (quota, period) = if cpu.is_unified {
                let max = root.read(&cpu.file(group, "cpu.max"))?;
                let (quota, period) = max.trim().split_once(' ')?;
                (quota.parse().ok()?, period.parse().ok()?)
            } else {
                (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
            };
            (quota > 0 && period > 0).then_some(quota as f64 / period as f64)
        };
        let quotas = cpu
            .groups()
            .filter_map(|group| Some((cores(group)?, group)));
        let (cores, group) = quotas.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
        let used = || {
            if cpu.is_unified {
                let stat = root.read(&cpu.file(group, "cpu.stat"))?;
                return field(&stat, "usage_usec").map(Duration::from_micros);
            }
            let used = self.accounting.as_ref()?.file(group, "cpuacct.usage");
            root.number(&used).map(Duration::from_nanos)
        };
        Some(Quota {
            cores,
            group: group.to_path_buf(),
            used: used(),
        })
    }

    /// Returns the lowest limit in the same way, if it is below a number of bytes.
    pub(crate) fn limit(&self, root: &Root, below: u64) -> Option<Limit> {
        let memory = self.memory.as_ref()?;
        let [limit, current, inactive] = if memory.is_unified {
            ["memory.max", "memory.current", "inactive_file"]
        } else {
            [
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            ]
        };
        let limits = memory
            .groups()
            .filter_map(|group| Some((root.number(&memory.file(group, limit))?, group)));
        let (bytes, group) = limits.min_by_key(|&(bytes, _)| bytes)?;
        if bytes >= below {
            return None;
        }
        let used = || {
            let current = root.number(&memory.file(group, current))?;
            let stat = root.read(&memory.file(group, "memory.stat"))?;
            // The kernel reclaims these pages before it kills a process.
            Some(current.saturating_sub(field(&stat, inactive)?))
        };
        Some(Limit {
            bytes,
            used: used(),
        })
    }

    /// Returns the pressure file of the process's group.
    pub(crate) fn pressure(&self, resource: &str) -> Option<PathBuf> {
        let unified = self.unified.as_ref()?;
        Some(unified.file(&unified.own, &format!("{resource}.pressure")))
    }
}

/// Version 2's hierarchy, which `/proc/self/cgroup` lists without controllers.
const UNIFIED: &str = "";

/// A mounted tree of groups.
#[derive(Debug, PartialEq)]
struct Hierarchy {
    is_unified: bool,
    mountpoint: PathBuf,
    /// The process's group in the tree.
    own: PathBuf,
}

impl Hierarchy {
    fn parse(own: &str, mounts: &str, controller: &str) -> Option<Self> {
        let group = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let mut controllers = fields.next()?.split(',');
            let group = fields.next()?;
            controllers.any(|name| name == controller).then_some(group)
        })?;
        let is_unified = controller == UNIFIED;
        let mounts = mounts.lines().filter_map(|line| {
            let (mount, system) = line.split_once(" - ")?;
            let mut system = system.split(' ');
            let kind = system.next()?;
            let matches = if is_unified {
                kind == "cgroup2"
            } else {
                let mut options = system.next_back()?.split(',');
                kind == "cgroup" && options.any(|option| option == controller)
            };
            let mut mount = mount.split(' ').skip(3);
            let (root, mountpoint) = (unescaped(mount.next()?), unescaped(mount.next()?));
            matches.then_some((below(group, &root), PathBuf::from(mountpoint)))
        });
        // A cgroup namespace or a partial mount may hide the group's path. The mounted root is the
        // container's group then.
        let (own, mountpoint) = mounts.min_by_key(|(own, _)| own.is_none())?;
        Some(Self {
            is_unified,
            mountpoint,
            own: own.unwrap_or_default(),
        })
    }

    /// Returns the process's group and its ancestors.
    fn groups(&self) -> impl Iterator<Item = &Path> {
        self.own.ancestors()
    }

    fn file(&self, group: &Path, name: &str) -> PathBuf {
        self.mountpoint.join(group).join(name)
    }
}

/// Returns a group's path relative to the mounted group, if it is below it.
fn below(group: &str, root: &str) -> Option<PathBuf> {
    let path = Path::new(group).strip_prefix(root).ok()?;
    let mut components = path.components();
    let is_below = components.all(|component| matches!(component, Component::Normal(_)));
    is_below.then(|| path.to_path_buf())
}

/// Decodes the octal escapes of a path in `/proc/self/mountinfo`, such as `\040`.
fn unescaped(path: &str) -> String {
    let mut parts = path.split('\\');
    let mut bytes: Vec<u8> = parts.next().unwrap_or_default().into();
    for part in parts {
        let byte = part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (byte, part.get(3..)) {
            (Some(byte), Some(rest)) => {
                bytes.push(byte);
                bytes.extend_from_slice(rest.as_bytes());
            }
            _ => {
                bytes.push(b'\\');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(own: &str, mounts: &str, controller: &str, expected: Option<(&str, &str)>) {
        let found = Hierarchy::parse(own, mounts, controller);
        let expected = expected.map(|(mountpoint, own)| Hierarchy {
            is_unified: controller == UNIFIED,
            mountpoint: mountpoint.into(),
            own: own.into(),
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_group_is_found_below_its_mount() {
        let own = "4:memory:/a/b\n2:cpu,cpuacct:/c\n1:name=systemd:/\n0::/d\n";
        let mounts = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 /a /groups\\040of\\134memory rw - cgroup cgroup rw,memory\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        check(
            own,
            mounts,
            "cpu",
            Some(("/sys/fs/cgroup/cpu,cpuacct", "c")),
        );
        check(
            own,
            mounts,
            "cpuacct",
            Some(("/sys/fs/cgroup/cpu,cpuacct", "c")),
        );
        check(own, mounts, "memory", Some(("/groups of\\memory", "b")));
        check(own, mounts, UNIFIED, Some(("/sys/fs/cgroup/unified", "d")));
        check(own, mounts, "pids", None);
        check(own, "", "cpu", None);
    }

    #[test]
    fn a_hidden_group_is_the_mounted_one() {
        let mount = |root: &str| format!("41 31 0:38 {root} /groups rw - cgroup2 cgroup2 rw\n");
        check("0::/", &mount("/"), UNIFIED, Some(("/groups", "")));
        check("0::/", &mount("/docker/5f"), UNIFIED, Some(("/groups", "")));
        check(
            "0::/docker/5f",
            &mount("/docker/5f"),
            UNIFIED,
            Some(("/groups", "")),
        );
        check(
            "0::/docker/5f",
            &mount("/docker/5"),
            UNIFIED,
            Some(("/groups", "")),
        );
        check("0::/../..", &mount("/"), UNIFIED, Some(("/groups", "")));
        check(
            "0::/../..",
            &mount("/../.."),
            UNIFIED,
            Some(("/groups", "")),
        );
        // Of several mounts, the mount that contains the group counts.
        let both = [mount("/other"), mount("/").replace("/groups", "/all")].concat();
        check("0::/docker/5f", &both, UNIFIED, Some(("/all", "docker/5f")));
    }

    #[test]
    fn paths_are_unescaped() {
        for (path, expected) in [
            ("/a\\040b", "/a b"),
            ("/a\\134040", "/a\\040"),
            ("\\", "\\"),
            ("\\0", "\\0"),
            ("\\777x", "\\777x"),
            ("\\0\u{e9}1", "\\0\u{e9}1"),
            ("\\303\\251", "\u{e9}"),
        ] {
            assert_eq!(unescaped(path), expected);
        }
    }
}
