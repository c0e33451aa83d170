//! The memory of metrics, counted in a separate process, because counting slows down all
//! allocations.

use std::process::Command;

use crate::figure::{Effort, Figure};

const EXPORTER: &str = "metrics-exporter-prometheus 0.18";

pub(crate) fn series(_: Effort) -> Figure {
    let (ours, peer) = count("series");
    let name = ("memory.series", "bytes");
    Figure::compare(name, &[ours], (EXPORTER, &[peer]), 2.0 / 3.0)
}

pub(crate) fn unscraped(_: Effort) -> Figure {
    let (ours, peer) = count("unscraped");
    let name = ("memory.unscraped", "bytes");
    Figure::at_most(name, &[ours], (EXPORTER, &[peer]), 4_096.0)
}

pub(crate) fn slo(_: Effort) -> Figure {
    let (ours, peer) = count("slo");
    let name = ("sla.memory", "KiB");
    Figure::at_most(name, &[ours], (MINUTES, &[peer]), 100.0)
}

pub(crate) fn percentile(_: Effort) -> Figure {
    let (ours, peer) = count("percentile");
    let name = ("sla.memory.percentile", "KiB");
    Figure::at_most(name, &[ours], (MINUTES, &[peer]), 200.0)
}

const MINUTES: &str = "a bucket for each of 90 days' minutes";

/// Runs the program that counts: our bytes and the exporter's.
fn count(what: &str) -> (f64, f64) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = Command::new(cargo)
        .args([
            "run",
            "-q",
            "--release",
            "--manifest-path",
            manifest,
            "--bin",
            "memory",
            what,
        ])
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text
        .split_whitespace()
        .filter_map(|number| number.parse().ok());
    numbers.next().zip(numbers.next()).unwrap_or_else(|| {
        panic!(
            "memory {what}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}
