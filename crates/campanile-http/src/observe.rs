//! The tower middleware: layer, service, future and body, and the guard that moves through them.

mod body;
mod future;
mod guard;
mod layer;
mod service;
mod shared;

pub use self::body::ResponseBody;
pub use self::future::ResponseFuture;
pub use self::layer::{ObserveBuilder, ObserveLayer, Stats};
pub use self::service::Observe;

#[cfg(test)]
mod tests;
