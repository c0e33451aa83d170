use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use campanile::Campanile;
use campanile::metrics::{Registry, Value};
use campanile::telemetry::{Otlp, Writer};
use campanile_tests::eventually;

const THREADS: u64 = 4;

/// What each of them emits: as many spans, and as many lines.
const RECORDS: u64 = 100_000;

/// Counts the workers' lines, slowly.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicU64>);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        thread::park_timeout(Duration::from_millis(200));
        // It is given whole lines.
        let lines = str::from_utf8(bytes).map_err(io::Error::other)?;
        let lines = lines.matches(r#""message":"done""#).count();
        self.0.fetch_add(lines as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes a while for each request, and fails every third.
fn slow_collector() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let count = Arc::new(AtomicU64::new(0));
        for connection in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            thread::spawn(move || answer(&connection, &count));
        }
    });
    port
}

fn answer(connection: &TcpStream, count: &AtomicU64) -> Option<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        reader
            .read_exact(&mut vec![0; length?.parse().ok()?])
            .ok()?;
        thread::park_timeout(Duration::from_millis(20));
        let status = match count.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => "500 Internal Server Error",
            _ => "200 OK",
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        (&*connection).write_all(head.as_bytes()).ok()?;
    }
}

/// If items are emitted faster than the collector accepts them, each is exported, failed or
/// dropped, and the metrics count each.
#[tokio::test]
async fn what_is_emitted_is_accounted_for() {
    let otlp = Otlp::new(format!("http://127.0.0.1:{}", slow_collector()));
    let written = Slow::default();
    let writer = Writer::new(written.clone());
    let campanile = Campanile::builder("overflow")
        .telemetry(|log| {
            let log = log.writer(writer).max_waiting_bytes(1 << 20);
            log.otlp(otlp.max_waiting_bytes(1 << 20).metrics(false))
        })
        .build()
        .unwrap();
    let telemetry = campanile.telemetry().unwrap();
    thread::scope(|scope| {
        for worker in 0..THREADS {
            scope.spawn(move || {
                telemetry.in_scope(|| {
                    for number in 0..RECORDS {
                        let _span = tracing::info_span!("work", worker).entered();
                        tracing::info!(number, "done");
                    }
                });
            });
        }
    });
    let _ = telemetry.shutdown(Duration::from_secs(30));
    let metrics = campanile.metrics();
    // The first collection is at once.
    let has_counted = eventually(true, async || {
        let labels = [("signal", "logs")];
        metrics.get("campanile_otlp_items_total", &labels).is_some()
    });
    campanile.run(has_counted).await;
    let emitted = THREADS * RECORDS;
    for signal in ["traces", "logs"] {
        let of = |outcome| {
            let labels = [("signal", signal), ("outcome", outcome)];
            count(metrics, "campanile_otlp_exports_total", &labels)
        };
        let labels = [("signal", signal)];
        let all = count(metrics, "campanile_otlp_items_total", &labels);
        // The library has lines of its own, such as the one about the start.
        assert!((emitted..emitted + 10).contains(&all), "{signal}: {all}");
        let (exported, failed, dropped) = (of("exported"), of("failed"), of("dropped"));
        assert!(
            exported > 0 && failed > 0 && dropped > 0,
            "{exported} {failed} {dropped}"
        );
        assert_eq!(exported + failed + dropped, all, "{signal}");
    }
    let lost = |reason| {
        count(
            metrics,
            "campanile_log_dropped_lines_total",
            &[("reason", reason)],
        )
    };
    let (dropped, failed) = (lost("queue_full"), lost("write_error"));
    let written = written.0.load(Ordering::Relaxed);
    assert!(dropped > 0);
    // The log's own lines, which report on the exporter, may have been dropped too.
    let own = (written + dropped + failed).checked_sub(emitted);
    assert!(
        own.is_some_and(|own| own < 10),
        "{written} {dropped} {failed}"
    );
    assert!(
        campanile
            .metrics()
            .render()
            .contains("campanile_otlp_exports_total{")
    );
}

fn count(metrics: &Registry, name: &str, labels: &[(&str, &str)]) -> u64 {
    match metrics.get(name, labels) {
        Some(Value::Counter(count)) => count,
        other => panic!("{name} {labels:?}: {other:?}"),
    }
}
