use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::Value;

/// A folder that stands for `/`, and is removed in the end.
struct Tree(PathBuf);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("campanile-system-{}-{number}", std::process::id());
        let tree = Self(std::env::temp_dir().join(name));
        std::fs::create_dir(&tree.0).unwrap();
        tree.write(files);
        tree
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = self.0.join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    /// Returns the metrics after a first collection, and when that was.
    fn system(&self, registry: &Registry) -> (Inner, Instant) {
        let now = clock::now();
        let system = Inner::new(registry, Reader::at(&self.0), &[]).unwrap();
        system.collect(now);
        (system, now)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Files that remain do no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A machine of 4 processors, of which half a one is used, and of 8 GiB, 3 of which are.
const MACHINE: [(&str, &str); 6] = [
    (
        "/proc/stat",
        "cpu  100 0 100 1000 0 0 0 0 0 0\ncpu0 1\ncpu1 1\ncpu2 1\ncpu3 1\nbtime 5\n",
    ),
    (
        "/proc/meminfo",
        "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 5242880 kB\n",
    ),
    ("/proc/loadavg", "0.25 1.50 3.75 1/81 3983\n"),
    ("/proc/pressure/cpu", "some avg10=0.00 total=1500000\n"),
    ("/proc/self/cgroup", ""),
    ("/proc/self/mountinfo", ""),
];

const GIB: f64 = (1_u64 << 30) as f64;

const UNIFIED_MOUNT: (&str, &str) = (
    "/proc/self/mountinfo",
    "29 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
);

#[track_caller]
fn gauges<const N: usize>(registry: &Registry, names: [&str; N]) -> [Option<f64>; N] {
    names.map(|name| match registry.get(name, &[])? {
        Value::Gauge(value) => Some(value),
        other => panic!("{name} is {other:?}"),
    })
}

#[track_caller]
fn check(registry: &Registry, cores: f64, in_use: f64, limit: f64) {
    let names = [
        "cpu_available_cores",
        "memory_usage_bytes",
        "memory_limit_bytes",
    ];
    let expected = [Some(cores), Some(in_use), Some(limit)];
    assert_eq!(gauges(registry, names), expected);
}

#[track_caller]
fn check_cpu(registry: &Registry, percent: Option<f64>) {
    assert_eq!(gauges(registry, ["cpu_usage_percent"]), [percent]);
}

#[test]
fn without_groups_it_is_the_machine() {
    let tree = Tree::new(&MACHINE);
    let registry = Registry::new();
    let (system, begun) = tree.system(&registry);
    check(&registry, 4.0, 3.0 * GIB, 8.0 * GIB);
    let loads = gauges(&registry, ["system_load1", "system_load5", "system_load15"]);
    assert_eq!(loads, [Some(0.25), Some(1.5), Some(3.75)]);
    check_cpu(&registry, None);
    let stat = "cpu  150 0 100 1300 50 0 0 0 0 0\ncpu0 1\ncpu1 1\n";
    tree.write(&[("/proc/stat", stat)]);
    system.collect(begun + MIN_INTERVAL / 2);
    check_cpu(&registry, None);
    system.collect(begun + SECOND);
    check_cpu(&registry, Some(12.5));
    check(&registry, 2.0, 3.0 * GIB, 8.0 * GIB);
}

#[test]
fn of_the_machine_it_is_the_processors_that_the_process_may_run_on() {
    let tree = Tree::new(&MACHINE);
    let stat = |busy: u32| {
        let stat = format!("cpu  9999 0 0 9999\ncpu0 {busy} 0 0 100\ncpu1 5 0 0 5\n");
        tree.write(&[("/proc/stat", &stat)]);
    };
    tree.write(&[("/proc/self/status", "Name:\ta\nCpus_allowed_list:\t0\n")]);
    stat(100);
    let registry = Registry::new();
    let (system, now) = tree.system(&registry);
    assert_eq!(gauges(&registry, ["cpu_available_cores"]), [Some(1.0)]);
    // All of its one processor.
    stat(300);
    system.collect(now + SECOND * 2);
    check_cpu(&registry, Some(100.0));
}

#[test]
fn a_figure_that_is_gone_stays_and_one_that_never_was_has_no_metric() {
    let tree = Tree::new(&MACHINE);
    let registry = Registry::new();
    let (system, begun) = tree.system(&registry);
    let waited = || match registry.get("system_pressure_cpu_waiting_seconds_total", &[]) {
        Some(Value::TimeCounter(time)) => time,
        other => panic!("it is {other:?}"),
    };
    assert_eq!(waited(), Duration::from_millis(1_500));
    assert!(!registry.render().contains("system_pressure_memory"));
    tree.write(&MACHINE.map(|(path, _)| (path, "\u{0}")));
    system.collect(begun + SECOND);
    std::fs::remove_dir_all(tree.0.join("proc")).unwrap();
    system.collect(begun + SECOND * 2);
    check(&registry, 4.0, 3.0 * GIB, 8.0 * GIB);
    assert_eq!(waited(), Duration::from_millis(1_500));
    check_cpu(&registry, None);

    let registry = Registry::new();
    let (system, begun) = tree.system(&registry);
    tree.write(&MACHINE);
    system.collect(begun + SECOND);
    assert!(!registry.render().contains("memory_usage_bytes"));
}

#[test]
fn version_2_has_the_least_of_all_groups() {
    let tree = Tree::new(&MACHINE);
    let job = "/sys/fs/cgroup/jobs/one";
    tree.write(&[
        ("/proc/self/cgroup", "0::/jobs/one/worker\n"),
        UNIFIED_MOUNT,
        ("/sys/fs/cgroup/jobs/one/worker/cpu.max", "max 100000\n"),
        ("/sys/fs/cgroup/jobs/one/worker/cpu.stat", "usage_usec 1\n"),
        ("/sys/fs/cgroup/jobs/one/worker/memory.max", "max\n"),
        ("/sys/fs/cgroup/jobs/one/cpu.max", "50000 100000\n"),
        (
            "/sys/fs/cgroup/jobs/one/cpu.stat",
            "usage_usec 1000000\nuser_usec 1\n",
        ),
        ("/sys/fs/cgroup/jobs/one/memory.max", "2147483648\n"),
        ("/sys/fs/cgroup/jobs/one/memory.current", "2147483648\n"),
        (
            "/sys/fs/cgroup/jobs/one/memory.stat",
            "anon 5\ninactive_file 1073741824\n",
        ),
        ("/sys/fs/cgroup/jobs/cpu.max", "300000 100000\n"),
        ("/sys/fs/cgroup/jobs/memory.max", "4294967296\n"),
        (
            "/sys/fs/cgroup/jobs/one/worker/memory.pressure",
            "some total=3\nfull total=2\n",
        ),
        ("/proc/pressure/memory", "some total=30\nfull total=20\n"),
    ]);
    let registry = Registry::new();
    let (system, begun) = tree.system(&registry);
    check(&registry, 0.5, GIB, 2.0 * GIB);
    let waited = registry.get("system_pressure_memory_waiting_seconds_total", &[]);
    assert_eq!(waited, Some(Value::TimeCounter(Duration::from_micros(3))));
    tree.write(&[(&format!("{job}/cpu.stat"), "usage_usec 1250000\n")]);
    system.collect(begun + SECOND);
    check_cpu(&registry, Some(50.0));

    // Another group has the least now: what it used so far says nothing yet.
    tree.write(&[
        ("/sys/fs/cgroup/jobs/one/worker/cpu.max", "25000 100000\n"),
        (
            "/sys/fs/cgroup/jobs/one/worker/cpu.stat",
            "usage_usec 900000\n",
        ),
        (&format!("{job}/memory.max"), "3221225472\n"),
    ]);
    system.collect(begun + SECOND * 2);
    check_cpu(&registry, Some(50.0));
    check(&registry, 0.25, GIB, 3.0 * GIB);
    // And it used more than its quota.
    let stat = (
        "/sys/fs/cgroup/jobs/one/worker/cpu.stat",
        "usage_usec 1200000\n",
    );
    tree.write(&[stat]);
    system.collect(begun + SECOND * 3);
    check_cpu(&registry, Some(100.0));
}

#[test]
fn version_1_has_a_hierarchy_for_each() {
    let tree = Tree::new(&MACHINE);
    tree.write(&[
        (
            "/proc/self/cgroup",
            "4:memory:/docker/5f\n2:cpuacct:/docker/5f\n1:cpu:/docker/5f\n0::/\n",
        ),
        (
            "/proc/self/mountinfo",
            "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
             33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n\
             35 31 0:32 /docker/5f /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        ),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
        ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ("/sys/fs/cgroup/cpu/docker/5f/cpu.cfs_quota_us", "200000\n"),
        ("/sys/fs/cgroup/cpu/docker/5f/cpu.cfs_period_us", "100000\n"),
        (
            "/sys/fs/cgroup/cpuacct/docker/5f/cpuacct.usage",
            "7000000000\n",
        ),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824"),
        ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824"),
        (
            "/sys/fs/cgroup/memory/memory.stat",
            "inactive_file 1\ntotal_inactive_file 536870912\n",
        ),
    ]);
    let registry = Registry::new();
    let (system, begun) = tree.system(&registry);
    check(&registry, 2.0, GIB / 2.0, GIB);
    tree.write(&[(
        "/sys/fs/cgroup/cpuacct/docker/5f/cpuacct.usage",
        "7500000000\n",
    )]);
    system.collect(begun + SECOND);
    check_cpu(&registry, Some(25.0));
    // The value without a limit.
    tree.write(&[(
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "9223372036854771712",
    )]);
    system.collect(begun + SECOND * 2);
    check(&registry, 2.0, 3.0 * GIB, 8.0 * GIB);
}

#[test]
fn a_container_sees_its_group_as_the_outermost() {
    let tree = Tree::new(&MACHINE);
    tree.write(&[
        ("/proc/self/cgroup", "0::/../../5f\n"),
        UNIFIED_MOUNT,
        ("/sys/fs/cgroup/cpu.max", "900000 100000\n"),
        ("/sys/fs/cgroup/memory.max", "1073741824\n"),
        ("/sys/fs/cgroup/memory.current", "5\n"),
        ("/sys/fs/cgroup/memory.stat", "inactive_file 9\n"),
    ]);
    let registry = Registry::new();
    tree.system(&registry);
    // The quota is above what the machine has, and of the files more is not in use than there is.
    check(&registry, 4.0, 0.0, GIB);
}

#[test]
fn no_content_is_too_odd() {
    let names = MACHINE.map(|(path, _)| path);
    let groups = ["cpu.max", "cpu.stat", "memory.max", "memory.stat"];
    let groups = groups.map(|name| format!("/sys/fs/cgroup/{name}"));
    let words = [
        "cpu",
        "cpu0",
        " ",
        "\n",
        ":",
        "0::/",
        "/..",
        " - ",
        "cgroup2",
        "cgroup",
        "memory",
        ",",
        "MemTotal:",
        "some",
        "total=",
        "18446744073709551616",
        "18446744073709551615",
        "0",
        "-1",
        "NaN",
        "\\04",
        "\\",
        "\u{e9}",
        "usage_usec",
        "max",
        "\u{0}",
        "/sys/fs/cgroup",
    ];
    for _ in 0..200 {
        let content = || {
            let some = (0..fastrand::usize(..40)).map(|_| words[fastrand::usize(..words.len())]);
            some.collect::<String>()
        };
        let tree = Tree::new(&[]);
        for path in names.into_iter().chain(groups.iter().map(|path| &**path)) {
            tree.write(&[(path, &content())]);
        }
        let registry = Registry::new();
        let (system, begun) = tree.system(&registry);
        system.collect(begun + SECOND);
        let values = GAUGES.map(|(name, _)| name);
        let found = gauges(&registry, values).into_iter().flatten();
        assert!({ found }.all(f64::is_finite));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_figures_are_the_systems() {
    let registry = Registry::new();
    let system = SystemMetrics::register_with_disks(&registry, &["/", "/no/such/folder"]).unwrap();
    system.0.collect(clock::now() + SECOND);
    let [cores, in_use, limit, load] = gauges(
        &registry,
        [
            "cpu_available_cores",
            "memory_usage_bytes",
            "memory_limit_bytes",
            "system_load1",
        ],
    )
    .map(Option::unwrap);
    assert!(cores > 0.0, "{cores}");
    // With a cpuset or affinity it is what that leaves.
    let parallel = std::thread::available_parallelism().unwrap().get();
    assert!(cores < parallel as f64 + 1.0, "{cores} of {parallel}");
    assert!((1e6..limit).contains(&in_use), "{in_use} of {limit}");
    assert!(load >= 0.0);
    let disk = |name| match registry.get(name, &[("mountpoint", "/")]) {
        Some(Value::Gauge(value)) => value,
        other => panic!("{name} is {other:?}"),
    };
    let [used, size, available] = DISK.map(|(name, _)| disk(name));
    assert!(used > 0.0 && used + available <= size);
    let sizes = registry.family_snapshot("disk_size_bytes").unwrap();
    assert_eq!(sizes.series.len(), 1);
}

#[test]
fn a_name_that_is_taken_is_an_error_unless_it_is_not_known_yet() {
    let tree = Tree::new(&MACHINE);
    let registry = Registry::new();
    registry.histogram("memory_usage_bytes", &[]).unwrap();
    assert!(Inner::new(&registry, Reader::at(&tree.0), &[]).is_err());

    let registry = Registry::new();
    registry.histogram("cpu_usage_percent", &[]).unwrap();
    let (system, begun) = tree.system(&registry);
    tree.write(&[("/proc/stat", "cpu  150 0 100 1300 50\ncpu0 1\n")]);
    system.collect(begun + SECOND);
    assert!(system.usage.lock().unwrap().gauge.is_none());
}

#[test]
fn it_can_be_shared() {
    fn check<T: Send + Sync>() {}
    check::<SystemMetrics>();
}

#[cfg(target_os = "linux")]
#[test]
fn if_a_name_is_taken_no_metric_is_there() {
    let registry = Registry::new();
    let _own = registry.histogram("disk_available_bytes", &[]).unwrap();
    let before = registry.render();
    assert!(SystemMetrics::register(&registry).is_err());
    assert_eq!(registry.render(), before);
}
