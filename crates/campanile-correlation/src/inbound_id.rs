use http::{HeaderMap, HeaderName};

use crate::{CorrelationId, InvalidCorrelationId};

/// The correlation id in the headers of a request.
pub(crate) enum InboundId {
    Absent,
    Invalid(InvalidCorrelationId),
    Valid(CorrelationId),
}

impl InboundId {
    /// Reads the id from the first of these headers that the request has.
    #[inline]
    pub(crate) fn from_headers(headers: &HeaderMap, names: &[HeaderName]) -> Self {
        let mut found = names.iter().filter_map(|name| {
            let mut lines = headers.get_all(name).iter();
            Some((name, lines.next()?, lines.next()))
        });
        let Some((name, line, second)) = found.next() else {
            return Self::Absent;
        };
        let id = match second {
            None => CorrelationId::from_bytes(line.as_bytes()),
            Some(_) => Err(InvalidCorrelationId::lines()),
        };
        match id {
            Ok(id) => Self::Valid(id),
            Err(error) => {
                tracing::debug!(header = name.as_str(), %error, "rejected correlation id");
                Self::Invalid(error)
            }
        }
    }
}
