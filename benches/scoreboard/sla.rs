//! What it costs to count for a service level, and to judge a hundred.

use std::collections::VecDeque;
use std::fmt::Write;
use std::hint::black_box;
use std::io::{BufWriter, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use campanile::series::Now;
use campanile::sla::{EventRecorder, ServiceLevels, Slo, Source};
use campanile_tests::{Process, find, free_port};
use tempfile::TempDir;

use crate::figure::{Effort, Figure};
use crate::registry::{milliseconds, nanoseconds, rounds};

fn now() -> Now {
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    Now {
        wall: SystemTime::now(),
        mono: Instant::now(),
    }
}

/// What a user would write: the last hour in seconds, behind a lock.
struct Ring {
    origin: Instant,
    buckets: Mutex<VecDeque<Bucket>>,
}

#[derive(Default)]
struct Bucket {
    second: u64,
    good: u64,
    bad: u64,
    latency: Duration,
}

impl Ring {
    fn record(&self, good: bool, latency: Duration, at: Instant) {
        let second = at.duration_since(self.origin).as_secs();
        let mut buckets = self.buckets.lock().expect("no thread panics");
        if buckets.back().is_none_or(|last| last.second < second) {
            while buckets
                .front()
                .is_some_and(|first| first.second + 3_600 <= second)
            {
                buckets.pop_front();
            }
            buckets.push_back(Bucket {
                second,
                ..Bucket::default()
            });
        }
        if let Some(bucket) = buckets.back_mut() {
            if good {
                bucket.good += 1;
            } else {
                bucket.bad += 1;
            }
            bucket.latency += latency;
        }
    }
}

/// A million requests per second. One in a thousand is bad.
fn record(effort: Effort, name: &'static str, threads: usize) -> Figure {
    let start = now();
    let slo = Slo::availability("orders", "99.9%").over(Duration::from_secs(90 * 86_400));
    let sla = ServiceLevels::builder().slo(slo).build_at(start);
    let sla = sla.expect("the SLO is valid");
    let ring = Ring {
        origin: start.mono,
        buckets: Mutex::default(),
    };
    let latency = Duration::from_millis(20);
    let at = |number: usize| start.mono + Duration::from_micros(number as u64);
    let ours = |number: usize| sla.record_at(!number.is_multiple_of(1_000), latency, at(number));
    let theirs = |number: usize| ring.record(!number.is_multiple_of(1_000), latency, at(number));
    let bare = || {
        nanoseconds(effort, threads, |number| {
            black_box(at(number));
        })
    };
    let (ours, peer) = rounds(
        effort,
        || nanoseconds(effort, threads, ours) - bare(),
        || nanoseconds(effort, threads, theirs) - bare(),
    );
    Figure::at_most_and(
        (name, "ns"),
        &ours,
        ("a ring behind a lock", &peer),
        25.0,
        0.5,
    )
}

pub(crate) fn record_1(effort: Effort) -> Figure {
    record(effort, "sla.record", 1)
}

pub(crate) fn record_2(effort: Effort) -> Figure {
    record(effort, "sla.record.2", 2)
}

const SLOS: usize = 100;
const DAYS: u64 = 30;
/// From one sample for Prometheus to the next, in seconds.
const STEP: u64 = 300;

/// The report of 100 SLOs with the burn rates of all windows, after 30 days with events in each bucket.
pub(crate) fn report(effort: Effort) -> Figure {
    let present = now();
    let end = present.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    let begin = end.as_secs() - DAYS * 86_400;
    let start = Now {
        wall: UNIX_EPOCH + Duration::from_secs(begin),
        ..present
    };
    let builder = (0..SLOS).fold(ServiceLevels::builder(), |builder, number| {
        builder.slo(Slo::availability(format!("slo-{number}"), "99.9%").source(Source::Manual))
    });
    let sla = builder.build_at(start).expect("the SLOs are valid");
    let tracker = |number| {
        sla.event_recorder(&format!("slo-{number}"))
            .expect("it is tracked")
    };
    let trackers: Vec<EventRecorder> = (0..SLOS).map(tracker).collect();
    let mut second = 0;
    while second < DAYS * 86_400 {
        let at = start + Duration::from_secs(second);
        for (number, tracker) in trackers.iter().enumerate() {
            tracker.record_at(
                second % 997 > number as u64,
                Duration::from_millis(20),
                at.mono,
            );
        }
        second += if second < DAYS * 86_400 - 3_600 {
            STEP
        } else {
            1
        };
    }
    let end = start + Duration::from_secs(DAYS * 86_400);
    let ours = || {
        const REPORTS: usize = 20;
        let took = milliseconds(|| (0..REPORTS).for_each(|_| drop(black_box(sla.report_at(end)))));
        took * 1e3 / REPORTS as f64
    };
    let prometheus = Prometheus::start(begin);
    let few = Effort {
        rounds: 5,
        ..effort
    };
    let (ours, peer) = rounds(few, ours, || milliseconds(|| prometheus.burn_rates()) * 1e3);
    let name = ("sla.report", "µs");
    Figure::at_most_and(
        name,
        &ours,
        ("Prometheus 2.42, over HTTP", &peer),
        1_000.0,
        1e-3,
    )
}

/// A Prometheus with the same samples.
struct Prometheus {
    address: SocketAddr,
    end: u64,
    _process: Process,
    _folder: TempDir,
}

impl Prometheus {
    fn start(begin: u64) -> Self {
        let folder = TempDir::new().expect("there is a place for temporary files");
        let path = |name: &str| folder.path().join(name);
        write_samples(&path("page"), begin).expect("there is room for the samples");
        let blocks = Command::new(find("promtool", "prometheus"))
            .args(["tsdb", "create-blocks-from", "openmetrics", "page", "data"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .status();
        assert!(
            blocks.is_ok_and(|status| status.success()),
            "promtool takes the samples"
        );
        std::fs::write(path("prometheus.yml"), "").expect("a file can be written");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let process = Process::start(
            Command::new(find("prometheus", "prometheus"))
                .arg(format!(
                    "--config.file={}",
                    path("prometheus.yml").display()
                ))
                .arg(format!("--storage.tsdb.path={}", path("data").display()))
                .arg("--storage.tsdb.retention.time=60d")
                .arg(format!("--web.listen-address={address}"))
                .arg("--log.level=error"),
        );
        let prometheus = Self {
            address,
            end: begin + DAYS * 86_400,
            _process: process,
            _folder: folder,
        };
        let mut tries = 0;
        while !prometheus.get("/-/ready").contains("200 OK") {
            std::thread::sleep(Duration::from_millis(50));
            tries += 1;
            assert!(tries < 1_000, "Prometheus starts");
        }
        prometheus
    }

    /// Queries the burn rates of all SLOs over the same windows.
    fn burn_rates(&self) {
        for window in ["5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"] {
            let rate = |bad: &str| format!("sum by (slo) (rate(slo_events_total{bad}[{window}]))");
            let expr = format!("{} / {} / 0.001", rate("{result=\"bad\"}"), rate(""));
            let query: String = expr.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let answer = self.get(&format!("/api/v1/query?query={query}&time={}", self.end));
            assert_eq!(
                answer.matches("\"slo\":").count(),
                SLOS,
                "{window}: {answer:.300}"
            );
        }
    }

    fn get(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(self.address) else {
            return String::new();
        };
        let request = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
        let mut answer = String::new();
        let exchange = stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.read_to_string(&mut answer));
        exchange.map(|_| answer).unwrap_or_default()
    }
}

fn write_samples(path: &std::path::Path, begin: u64) -> std::io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    writeln!(file, "# TYPE slo_events counter")?;
    let mut series = String::new();
    for number in 0..SLOS {
        for (result, each) in [("good", 299), ("bad", 1)] {
            series.clear();
            let _ = write!(
                series,
                "slo_events_total{{slo=\"slo-{number}\",result=\"{result}\"}}"
            );
            for sample in 0..=DAYS * 86_400 / STEP {
                writeln!(file, "{series} {} {}", sample * each, begin + sample * STEP)?;
            }
        }
    }
    writeln!(file, "# EOF")?;
    file.flush()
}
