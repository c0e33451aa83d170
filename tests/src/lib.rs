//! What the tests of the whole have in common: programs to start, and a client for loopback.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod client;
mod exposition;
mod process;
mod wait;

pub use self::client::{Client, get};
pub use self::exposition::{Sample, parse};
pub use self::process::{Process, example, find, free_port, target_dir};
pub use self::wait::eventually;
