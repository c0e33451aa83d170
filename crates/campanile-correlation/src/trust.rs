use std::fmt;
use std::sync::Arc;

use crate::RequestHead;

/// Whose ids, traces and baggage are taken up.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Trust {
    /// Everybody's.
    #[default]
    Always,
    /// Nobody's.
    Never,
    /// Those of the requests for which a closure returns true.
    When(Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>),
}

impl Trust {
    /// Trusts the requests for which a closure returns true.
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
