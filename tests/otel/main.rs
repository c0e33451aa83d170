//! Libraries that use OpenTelemetry's API, beside an installed telemetry: they share the subscriber and the globals of this process.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

// OpenTelemetry's own log, on with `opentelemetry/internal-logs`.
mod internal_logs;

// What needs the collector in Python, skipped by `CAMPANILE_SKIP_PEERS=1 tests/run`.
mod peers;
