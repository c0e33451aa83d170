//! A writer that logs, as one that speaks TLS does. The subscriber has to be the process's.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io::{self, Write};
use std::time::Duration;

use campanile_telemetry::{Telemetry, Writer};

use self::memory::Memory;

mod memory;

struct Chatty(Memory);

impl Write for Chatty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        tracing::info!(bytes = bytes.len(), "wrote");
        tracing_log::log::info!("wrote");
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_logs_does_not_feed_itself() {
    let memory = Memory::default();
    let writer = Writer::new(Chatty(memory.clone()));
    let guard = Telemetry::builder("test").writer(writer).install().unwrap();
    tracing::info!("one");
    // Each flush is a batch, after which there would be another line.
    for _ in 0..3 {
        assert!(guard.telemetry().flush(Duration::from_secs(10)).is_empty());
    }
    assert!(guard.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    assert_eq!(text.lines().count(), 1, "{text}");
}
