// The page, read by Prometheus' own parser for Python.
mod exposition;

// A Prometheus server that scrapes the quickstart.
mod prometheus;
