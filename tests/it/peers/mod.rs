// A PostgreSQL server whose figures the business example shows.
mod business;

// The page, read by Prometheus' own parser for Python.
mod exposition;

// A PostgreSQL server and a Redis server that checks ask.
mod health;

// Collectors: rotel, and a strict reader in Python.
mod otlp;

// promtool, for what a pattern is.
mod patterns;

// A PostgreSQL server that the quickstart needs.
mod postgres;

// A Prometheus server that scrapes the quickstart.
mod prometheus;

// What such a collector was sent.
pub(crate) mod sink;

// promtool, and a Prometheus that runs the exported rules.
mod slo;
