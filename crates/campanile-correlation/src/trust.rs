use std::fmt;
use std::sync::Arc;

use crate::RequestHead;

/// The clients whose ids, traces and baggage the layer accepts.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Trust {
    /// All clients.
    #[default]
    Always,
    /// No client.
    Never,
    /// The clients of requests for which the closure returns true.
    When(Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>),
}

impl Trust {
    /// Creates a `Trust::When` from a closure.
    ///
    /// ```
    /// use campanile_correlation::{CorrelationIdLayer, Trust};
    ///
    /// let from_gateway = Trust::when(|request| request.headers().contains_key("x-gateway"));
    /// let layer = CorrelationIdLayer::new().trust(from_gateway);
    /// ```
    pub fn when(is_trusted: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::When(Arc::new(is_trusted))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "Always",
            Self::Never => "Never",
            Self::When(_) => "When",
        })
    }
}
