use opentelemetry_sdk::trace::SpanLimits;

/// Limits on the attributes of a span or a log record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttributeLimits {
    /// The maximum number of attributes. Further ones are dropped.
    pub(crate) count: usize,
    /// The maximum length of a string value, in characters.
    pub(crate) length: usize,
}

impl AttributeLimits {
    pub(super) fn of_spans(self) -> SpanLimits {
        // The SDK counts a key again each time that it is set, and ours come last.
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        let count = count.saturating_mul(4).max(1_024);
        SpanLimits {
            max_attributes_per_span: count,
            ..SpanLimits::default()
        }
    }
}

impl Default for AttributeLimits {
    fn default() -> Self {
        Self {
            count: 128,
            length: usize::MAX,
        }
    }
}

/// Returns the first characters of a string.
pub(super) fn first(text: &str, max_length: usize) -> &str {
    // Most are shorter even in bytes.
    if text.len() <= max_length {
        return text;
    }
    let end = text.char_indices().nth(max_length);
    end.map_or(text, |(end, _)| &text[..end])
}
