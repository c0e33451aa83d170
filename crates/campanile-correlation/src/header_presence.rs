use http::{HeaderMap, HeaderName};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The headers that a request may have. Those that are `false` are absent.
#[derive(Clone, Copy)]
pub(crate) struct HeaderPresence {
    pub(crate) id: bool,
    pub(crate) parent: bool,
    pub(crate) state: bool,
    pub(crate) baggage: bool,
}

impl HeaderPresence {
    /// The limit of headers that are scanned.
    const MAX_HEADERS: usize = 32;

    /// Scans the header names once. Up to the limit, this is faster than one lookup per name.
    #[inline]
    pub(crate) fn scan(headers: &HeaderMap, id_headers: &[HeaderName]) -> Self {
        let is_any = headers.keys_len() > Self::MAX_HEADERS;
        let mut presence = Self {
            id: is_any,
            parent: is_any,
            state: is_any,
            baggage: is_any,
        };
        if is_any {
            return presence;
        }
        for name in headers.keys() {
            presence.parent |= *name == TRACEPARENT;
            presence.state |= *name == TRACESTATE;
            presence.baggage |= *name == BAGGAGE;
            presence.id |= id_headers.contains(name);
        }
        presence
    }
}
