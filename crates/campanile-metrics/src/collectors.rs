//! Groups of metrics: of the process, the machine, the runtime, databases, caches and the business.

#[cfg(feature = "business")]
mod business;
mod cache;
mod database;
mod overhead;
mod process;
mod system;
#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "business")]
#[cfg_attr(docsrs, doc(cfg(feature = "business")))]
pub use self::business::{Business, BusinessCollector, BusinessError, BusinessProblem};
pub use self::cache::CacheMetrics;
pub use self::database::{DatabaseMetrics, QueryType};
pub use self::overhead::{Metered, Overhead};
pub use self::process::Process;
pub use self::system::System;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use self::tokio::Runtime;
