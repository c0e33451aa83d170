//! A transactional store of records and a journal, in memory or in a file.
//!
//! ```
//! use campanile_store::{Batch, Memory, Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), campanile_store::StoreError> {
//! let store = Memory::new();
//! let mut batch = Batch::new();
//! batch.put("alerts", "HighErrorRate", "firing").append("HighErrorRate firing");
//! store.commit(batch).await?;
//!
//! assert_eq!(store.get("alerts", "HighErrorRate").await?.as_deref(), Some(&b"firing"[..]));
//! assert_eq!(store.journal(0, 10).await?[0].payload, b"HighErrorRate firing");
//! # Ok(())
//! # }
//! ```
//!
//! # Stores
//!
//! - [`Memory`] is in memory; its contents end with the process.
//! - `Redb` (feature `redb`) is a file. Acknowledged commits survive `kill -9` and a loss of power.
//!
//! # Limits
//!
//! | what | limit | beyond it |
//! |---|---|---|
//! | name of a table, key | 64 and 1,024 bytes | [`StoreError::TooLarge`] |
//! | value, journal entry | 1 MiB | [`StoreError::TooLarge`] |
//! | batch | 10,000 operations, 16 MiB | [`StoreError::TooLarge`] |
//! | records | 100,000 | [`StoreError::Full`] |
//! | journal entries | 10,000 in memory, 100,000 in a file | the oldest are removed; numbers stay |
//! | queued operations of a file | 256 | [`StoreError::Busy`] |
//! | time of an operation | 10 s | [`StoreError::Timeout`] |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `redb` | no | `Redb` |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
#[cfg(test)]
mod contract;
mod error;
mod memory;
#[cfg(feature = "redb")]
mod redb;
mod store;

pub use self::batch::Batch;
pub use self::error::{Item, StoreError};
pub use self::memory::Memory;
#[cfg(feature = "redb")]
#[cfg_attr(docsrs, doc(cfg(feature = "redb")))]
pub use self::redb::{OpenError, Redb};
pub use self::store::{BoxFuture, Entry, Record, Status, Store};
