//! Test support: starts the examples and other programs, and is an HTTP client for loopback.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod client;
mod exposition;
mod orders;
mod process;
#[cfg(doctest)]
mod readmes;
mod wait;

pub use self::client::{Client, get};
pub use self::exposition::{Sample, parse};
pub use self::orders::{Orders, RequestCounts, begin_order, drive_orders, request_counts};
pub use self::process::{Process, example, find, find_in_venv, free_port};
pub use self::wait::eventually;
