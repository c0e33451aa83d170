//! Keyed records and a journal, written together or not at all: in memory, or in a file that survives a crash.
//!
//! ```
//! use campanile_store::{Batch, Memory, Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), campanile_store::StoreError> {
//! let store = Memory::new();
//! let mut batch = Batch::new();
//! batch.put("alerts", "HighErrorRate", "firing").append("HighErrorRate fires");
//! store.commit(batch).await?;
//!
//! assert_eq!(store.get("alerts", "HighErrorRate").await?.as_deref(), Some(&b"firing"[..]));
//! assert_eq!(store.journal(0, 10).await?[0].payload, b"HighErrorRate fires");
//! # Ok(())
//! # }
//! ```
//!
//! # The stores
//!
//! - [`Memory`] ends with the process, and says so in its [`Status`].
//! - `Redb` (feature `redb`) is a file, on a thread of its own. What it has acknowledged survives `kill -9` and the loss of
//!   power.
//!
//! # Bounds
//!
//! | what | limit | past it |
//! |---|---|---|
//! | a table's name, a key | 64 and 1,024 bytes | [`StoreError::TooLarge`] |
//! | a value, an entry of the journal | 1 MiB | the same |
//! | a batch | 10,000 operations, 16 MiB | the same |
//! | records | 100,000 | [`StoreError::Full`] |
//! | entries of the journal | 10,000 in memory, 100,000 in a file | the oldest go; their numbers tell how many |
//! | operations that wait for the file | 256 | [`StoreError::Busy`] |
//! | time of an operation | 10 s | [`StoreError::Timeout`] |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `redb` | no | `Redb` |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod store;

mod batch;
#[cfg(test)]
mod contract;
mod error;
mod memory;
#[cfg(feature = "redb")]
mod redb;

pub use self::batch::Batch;
pub use self::error::StoreError;
pub use self::memory::Memory;
#[cfg(feature = "redb")]
#[cfg_attr(docsrs, doc(cfg(feature = "redb")))]
pub use self::redb::{OpenError, Redb};
pub use self::store::{BoxFuture, Entry, Record, Status, Store};
