//! Collectors that are broken, or worse: they take nothing but themselves down.

#![cfg(feature = "otlp")]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use campanile_telemetry::{
    ExportStats, MetricSource, MetricWriter, Otlp, Point, PointValue, Protocol, SignalStats,
    Telemetry, Writer,
};
use flate2::Compression;
use flate2::write::GzEncoder;

use self::memory::Memory;

mod memory;

const EVENTS: u64 = 2_000;

const TOKEN: &str = "s3cret-t0ken";

/// What is left when all is over.
struct Left {
    exports: ExportStats,
    log: String,
}

/// Exports to a collector that answers a request as the function does; all has to be over in good time.
fn exported_to(
    protocol: Protocol,
    answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> Left {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                while let Ok(Some(request)) = Request::read(&connection) {
                    if answer(&request, &mut connection).is_err() {
                        break;
                    }
                }
                let _ = connection.shutdown(Shutdown::Both);
            });
        }
    });
    exported(protocol, port)
}

fn exported(protocol: Protocol, port: u16) -> Left {
    let log = Memory::default();
    let otlp = Otlp::new(format!("http://127.0.0.1:{port}"))
        .protocol(protocol)
        .header("authorization", format!("Bearer {TOKEN}"))
        .timeout(Duration::from_millis(500))
        .retry_for(Duration::from_millis(500));
    let telemetry = Telemetry::builder("test").writer(Writer::new(log.clone()));
    let telemetry = telemetry.otlp(otlp).build().unwrap();
    let begun = now();
    telemetry.in_scope(|| {
        for number in 0..EVENTS {
            let _span = tracing::info_span!("work").entered();
            tracing::info!(number, "emitted");
        }
    });
    let lost = telemetry.shutdown(Duration::from_secs(5));
    let took = now() - begun;
    assert!(took < Duration::from_secs(10), "{took:?}");
    let exports = telemetry.exports().unwrap();
    for (counts, lost) in [(exports.traces, lost.spans), (exports.logs, lost.records)] {
        assert_eq!(counts.emitted, EVENTS);
        let ended = counts.exported + counts.failed + counts.dropped;
        assert_eq!(ended, EVENTS, "{counts:?}");
        assert!(lost <= counts.failed, "{lost} {counts:?}");
    }
    let log = log.take();
    // The log is written whatever becomes of the exports, and it tells of them, but not with what.
    assert_eq!(log.matches(r#""message":"emitted""#).count() as u64, EVENTS);
    assert!(!log.contains(TOKEN));
    Left { exports, log }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "what ends in time is the test")]
    Instant::now()
}

/// A request, whose body has been read.
struct Request {
    head: String,
}

impl Request {
    fn read(connection: &TcpStream) -> io::Result<Option<Self>> {
        let mut reader = BufReader::new(connection);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(None);
            }
        }
        let length = head.lines().find_map(|line| {
            let line = line.to_ascii_lowercase();
            line.strip_prefix("content-length:")?.trim().parse().ok()
        });
        reader.read_exact(&mut vec![0; length.unwrap_or(0)])?;
        Ok(Some(Self { head }))
    }
}

fn answer(connection: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n");
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)
}

#[track_caller]
fn assert_failed(left: &Left, reason: &str) {
    for counts in [left.exports.traces, left.exports.logs] {
        assert_eq!((counts.exported, counts.failed), (0, EVENTS));
    }
    let told = left
        .log
        .lines()
        .filter(|line| line.contains("were not exported to"));
    let told: Vec<_> = told.collect();
    // Once for each signal.
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|line| line.contains(reason)), "{told:?}");
}

#[track_caller]
fn assert_exported(left: &Left) {
    for SignalStats { exported, .. } in [left.exports.traces, left.exports.logs] {
        assert_eq!(exported, EVENTS);
    }
    assert!(!left.log.contains("were not exported"));
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert_failed(&exported(Protocol::HttpProtobuf, port), "refused");
}

#[test]
fn it_takes_connections_and_never_answers() {
    let left = exported_to(Protocol::HttpProtobuf, |_, _| {
        thread::park_timeout(Duration::from_secs(60));
        Ok(())
    });
    assert_failed(&left, "500ms");
}

#[test]
fn it_shows_the_token_in_its_errors() {
    let left = exported_to(Protocol::HttpProtobuf, |request, connection| {
        assert!(request.head.contains(TOKEN));
        let head = format!("x-echo: Bearer {TOKEN}\r\n");
        answer(
            connection,
            "500 Internal Server Error",
            &head,
            request.head.as_bytes(),
        )
    });
    assert_failed(&left, "500 Internal Server Error");
}

#[test]
fn it_asks_for_patience_without_end() {
    let left = exported_to(Protocol::HttpProtobuf, |_, connection| {
        answer(
            connection,
            "503 Service Unavailable",
            "retry-after: 99999999999\r\n",
            b"",
        )
    });
    assert_failed(&left, "503 Service Unavailable");
}

#[test]
fn it_says_zero_and_means_it() {
    let requests = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&requests);
    let left = exported_to(Protocol::HttpProtobuf, move |_, connection| {
        count.fetch_add(1, Ordering::Relaxed);
        answer(
            connection,
            "429 Too Many Requests",
            "retry-after: 0\r\n",
            b"",
        )
    });
    assert_failed(&left, "429 Too Many Requests");
    // Each batch once: a second is the least, and there is half of one.
    let requests = requests.load(Ordering::Relaxed);
    assert!(requests <= 16, "{requests}");
}

#[test]
fn what_is_refused_was_not_flushed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let otlp = Otlp::new(format!("http://127.0.0.1:{port}")).retry_for(Duration::ZERO);
    let telemetry = Telemetry::builder("test").writer(Writer::new(io::sink()));
    let telemetry = telemetry.otlp(otlp).build().unwrap();
    telemetry.in_scope(|| tracing::info!("emitted"));
    let lost = telemetry.flush(Duration::from_secs(10));
    assert_eq!((lost.records, lost.lines), (1, 0));
    assert!(telemetry.flush(Duration::from_secs(10)).is_empty());
}

/// Asks the telemetry for what the telemetry asks it for.
struct Flushes(Arc<std::sync::OnceLock<Telemetry>>);

impl MetricSource for Flushes {
    fn collect(&self, out: &mut MetricWriter<'_>) {
        let telemetry = self.0.get().unwrap();
        let _ = telemetry.flush(Duration::from_secs(60));
        out.metric("up", "", "");
        out.point(Point::new(&[], PointValue::Gauge(1.0)));
    }
}

#[test]
fn a_source_that_flushes_waits_for_nobody() {
    let place = Arc::new(std::sync::OnceLock::new());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let otlp = Otlp::new(format!("http://127.0.0.1:{port}"));
    let telemetry = Telemetry::builder("test").writer(Writer::new(io::sink()));
    let telemetry = telemetry
        .otlp(
            otlp.metrics_every(Duration::from_millis(10))
                .timeout(Duration::from_millis(50))
                .retry_for(Duration::ZERO),
        )
        .metric_source(Flushes(Arc::clone(&place)));
    let telemetry = telemetry.build().unwrap();
    assert!(place.set(telemetry.clone()).is_ok());
    let begun = now();
    while telemetry.exports().unwrap().metrics.emitted < 3 {
        assert!(now() - begun < Duration::from_secs(30));
        thread::yield_now();
    }
    let _ = telemetry.shutdown(Duration::from_secs(5));
}

#[test]
fn its_answer_never_ends() {
    let (written, has_failed) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (count, failed) = (Arc::clone(&written), Arc::clone(&has_failed));
    let left = exported_to(Protocol::HttpProtobuf, move |_, connection| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n";
        connection.write_all(head)?;
        let piece = vec![0xff; 1 << 16];
        loop {
            if let Err(error) = connection.write_all(&piece) {
                failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
            count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
    });
    // It has said that it took them.
    assert_exported(&left);
    // What nobody reads is in the sockets only.
    assert!(has_failed.load(Ordering::Relaxed));
    let written = written.load(Ordering::Relaxed);
    assert!(written < 256 << 20, "{written}");
}

#[test]
fn its_answer_drips() {
    let left = exported_to(Protocol::HttpProtobuf, |_, connection| {
        for byte in b"HTTP/1.1 200 OK\r\nx-filler: "
            .iter()
            .chain([b'x'; 1_000].iter())
        {
            connection.write_all(&[*byte])?;
            thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    });
    assert_failed(&left, "500ms");
}

#[test]
fn its_answer_is_a_bomb() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![0; 50 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let left = exported_to(Protocol::HttpProtobuf, move |_, connection| {
        answer(connection, "200 OK", "content-encoding: gzip\r\n", &bomb)
    });
    // Nobody unpacks it.
    assert_exported(&left);
}

#[test]
fn its_answer_is_garbage() {
    let garbage: [&[u8]; 5] = [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        // A partial success of a length that there isn't.
        b"\x0a\xff\xff\xff\xff\x0f",
        // And within it.
        b"\x0a\x03\x12\xff\x7f",
        b"\x0a\x00\x0a",
        b"<html>ok</html>",
    ];
    let number = AtomicU64::new(0);
    let left = exported_to(Protocol::HttpProtobuf, move |_, connection| {
        let number = number.fetch_add(1, Ordering::Relaxed) as usize;
        answer(connection, "200 OK", "", garbage[number % garbage.len()])
    });
    assert_exported(&left);
}

#[test]
fn it_rejects_more_than_there_were() {
    let left = exported_to(Protocol::HttpProtobuf, |_, connection| {
        // A partial success of -1 rejected.
        let rejected = b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        answer(connection, "200 OK", "", rejected)
    });
    assert_failed(&left, "the collector rejected them");
}

#[cfg(feature = "otlp-grpc")]
#[test]
fn it_does_not_speak_http_2() {
    let left = exported_to(Protocol::Grpc, |_, connection| {
        answer(connection, "400 Bad Request", "", TOKEN.as_bytes())
    });
    assert_failed(&left, "");
}

/// A frame of HTTP/2 has a payload that may be anybody's words.
#[cfg(feature = "otlp-grpc")]
#[test]
fn it_leaves_with_the_token_on_its_lips() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            // SETTINGS, and GOAWAY with ENHANCE_YOUR_CALM.
            let debug = format!("Bearer {TOKEN}");
            let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
            frames.extend([0, 0, 8 + debug.len() as u8, 7, 0, 0, 0, 0, 0]);
            frames.extend([0, 0, 0, 0, 0, 0, 0, 11]);
            frames.extend(debug.bytes());
            let _ = connection.write_all(&frames);
            // It is read to its end.
            let _ = io::copy(&mut connection, &mut io::sink());
        }
    });
    assert_failed(&exported(Protocol::Grpc, port), "");
}

#[cfg(feature = "otlp-grpc")]
#[test]
fn it_never_answers_over_http_2() {
    let left = exported_to(Protocol::Grpc, |_, _| {
        thread::park_timeout(Duration::from_secs(60));
        Ok(())
    });
    assert_failed(&left, "500ms");
}
