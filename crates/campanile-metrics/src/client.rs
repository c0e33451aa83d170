//! What a service asks of others: databases, caches, HTTP.

pub use self::cache::CacheMetrics;
pub use self::database::{DatabaseMetrics, QueryType};
pub use self::http::{AskedOf, HttpClientMetrics};

mod cache;
mod database;
mod http;
