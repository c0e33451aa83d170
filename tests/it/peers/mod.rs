// A PostgreSQL server whose figures the business example shows.
mod business;

// The page, read by Prometheus' own parser for Python.
mod exposition;

// Collectors: rotel, and a strict reader in Python.
mod otlp;

// A PostgreSQL server that the quickstart needs.
mod postgres;

// A Prometheus server that scrapes the quickstart.
mod prometheus;
