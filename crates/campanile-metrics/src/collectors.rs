//! Groups of metrics: the process, the machine, the runtime, databases, caches and the business.
//!
//! Each group registers with `register(&registry)?`. `Campanile` registers and collects those of
//! the process, the machine and the runtime.

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
pub use self::business::{
    BusinessCollector, BusinessError, BusinessMetrics, BusinessMetricsBuilder, BusinessProblem,
};
pub use self::cache::CacheMetrics;
pub use self::database::{DatabaseMetrics, QueryType};
pub use self::overhead::{Metered, OverheadMetrics};
pub use self::process::ProcessMetrics;
pub use self::system::SystemMetrics;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use self::tokio::TokioMetrics;
