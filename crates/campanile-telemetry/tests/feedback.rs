//! What exports must not export what it logs itself; the process's subscriber is one to a process.

#![cfg(feature = "otlp")]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use campanile_telemetry::{Otlp, Telemetry, Writer};

use self::memory::Memory;

mod memory;

#[test]
fn exports_make_no_lines() {
    // Whoever comes is turned away, so there is a lot to log.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let otlp = Otlp::new(format!("http://localhost:{port}"));
    let log = Memory::default();
    let telemetry = Telemetry::builder("test").filter("trace");
    let telemetry = telemetry
        .writer(Writer::new(log.clone()))
        .otlp(otlp.retry_for(Duration::ZERO));
    let guard = telemetry.install().unwrap();
    for number in 0..100 {
        let _span = tracing::info_span!("work").entered();
        tracing::info!(number, "emitted");
    }
    for _ in 0..3 {
        let _ = guard.telemetry().flush(Duration::from_secs(10));
        let exports = guard.telemetry().exports().unwrap();
        let emitted = [exports.traces.emitted, exports.logs.emitted];
        assert_eq!(emitted, [100, 100]);
    }
    assert!(guard.shutdown(Duration::from_secs(5)).is_empty());
    let log = log.take();
    let others = log
        .lines()
        .filter(|line| !line.contains(r#""message":"emitted""#));
    let others: Vec<_> = others.collect();
    // It is told once for each signal.
    assert_eq!(others.len(), 2, "{others:?}");
    assert!(
        others
            .iter()
            .all(|line| line.contains("were not exported to"))
    );
}
