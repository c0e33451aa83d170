//! Tests with other programs: Prometheus, PostgreSQL, Redis, rotel, and Python packages.
//!
//! `tests/run` installs the programs. `CAMPANILE_SKIP_PEERS=1 tests/run` skips these tests.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

// A PostgreSQL server whose figures the business example shows.
mod business;

// The page, read by Prometheus' own parser for Python.
mod exposition;

// A PostgreSQL server and a Redis server that checks ask.
mod health;

// Collectors: rotel, and a strict reader in Python.
mod otlp;

// promtool, which validates patterns.
mod patterns;

// A PostgreSQL server that the orders service needs.
mod postgres;

// A Prometheus server that scrapes the orders service.
mod prometheus;

// What such a collector was sent.
mod sink;

// promtool, and a Prometheus that runs the exported rules.
mod slo;
