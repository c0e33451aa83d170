//! A per-thread cache of how each field key is written.

use std::cell::RefCell;

use crate::escape::is_plain;
use crate::redact::{Hidden, Redaction};
use crate::schema::SchemaKeys;

/// How a key is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    /// Which values are redacted.
    pub(crate) hidden: Hidden,
    /// Whether lines have another key: it collides with a key of the line, or the schema renames
    /// it.
    pub(crate) is_renamed: bool,
    /// Whether lines of the library may have the key.
    pub(crate) is_extra: bool,
    /// Whether the key needs no escaping.
    pub(crate) is_plain: bool,
    /// Whether the key describes a span and is not written.
    pub(crate) is_of_span: bool,
    /// Whether the key describes a request or call, so that spans of two requests may both have it.
    pub(crate) is_of_request: bool,
}

/// The namespaces of fields that describe a request or call.
const REQUEST: [&str; 8] = [
    "db",
    "error",
    "http",
    "messaging",
    "network",
    "rpc",
    "server",
    "url",
];

/// Returns the part of a key before its first dot.
pub(crate) fn namespace(key: &str) -> &str {
    key.split_once('.').map_or(key, |(namespace, _)| namespace)
}

/// The keys that only the library adds to lines.
pub(crate) const EXTRA: [&str; 4] = [SUPPRESSED, "recorded", EVENTS_GONE, LEFT_OUT];
pub(crate) const SUPPRESSED: &str = "suppressed";
pub(crate) const LEFT_OUT: &str = "fields_left_out";
pub(crate) const EVENTS_GONE: &str = "recorded_events_gone";

/// The key of the correlation id.
#[cfg(feature = "otel")]
pub(crate) const CORRELATION_ID: &str = "correlation_id";

/// The attribute that has the correlation id until the span ends. The application may use the usual
/// key.
#[cfg(feature = "otlp")]
pub(crate) const OWN_ID: &str = "campanile.correlation_id";

/// The attribute that has the keys of unsigned integers until the span ends.
#[cfg(feature = "otlp")]
pub(crate) const INTEGERS: &str = "campanile.integers";

/// The field of a request whose recording is written.
pub(crate) const RECORDED: &str = "campanile.recorded";

/// The target of the spans and lines of requests: the path of `http.rs`.
pub(crate) const HTTP_TARGET: &str = "campanile_telemetry::http";

/// The attribute that has the number of a recording until the span ends.
#[cfg(feature = "otlp")]
pub(crate) const RING: &str = "campanile.ring";

/// The keys of one log, with its redaction and schema.
#[derive(Debug)]
pub(crate) struct KeyCache {
    pub(crate) redaction: Redaction,
    names: &'static SchemaKeys,
    /// The number of the log in the cache.
    log: usize,
}

/// The cache of a thread: sets of keys, selected by address. How many keys share a set depends on
/// the linker, so each set has several ways.
type Known = [[Option<(usize, &'static str, Key)>; WAYS]; SETS];

const SETS: usize = 64;
const WAYS: usize = 4;

thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new([[None; WAYS]; SETS]) };
}

impl KeyCache {
    pub(crate) fn new(redaction: Redaction, names: &'static SchemaKeys) -> Self {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        Self {
            redaction,
            names,
            log: NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        }
    }

    /// Returns the number of the log.
    pub(crate) fn log(&self) -> usize {
        self.log
    }

    /// Returns how a key is written.
    #[inline]
    pub(crate) fn get(&self, key: &'static str) -> Key {
        let address = key.as_ptr().addr();
        let set = (address ^ address >> 6 ^ address >> 12 ^ key.len()) % SETS;
        let known = KNOWN.try_with(|known| {
            let known = known.try_borrow().ok()?;
            let mut known = known[set].iter().flatten();
            let found = known.find(|(log, of, _)| *log == self.log && std::ptr::eq(*of, key));
            found.map(|(.., key)| *key)
        });
        known.ok().flatten().unwrap_or_else(|| self.find(key, set))
    }

    #[cold]
    fn find(&self, key: &'static str, set: usize) -> Key {
        let is_of_span = is_of_span(key);
        let found = Key {
            // Keys that describe the span are not secret, whatever words the application adds.
            hidden: match is_of_span {
                true => Hidden::Nothing,
                false => self.redaction.hides(key),
            },
            is_renamed: self.names.has(key) || self.names.named(key) != key,
            is_extra: EXTRA.contains(&key),
            is_plain: is_plain(key),
            is_of_span,
            is_of_request: REQUEST.contains(&namespace(key)),
        };
        // A thread that is being torn down has no thread-local storage.
        let _ = KNOWN.try_with(|known| {
            let known = known.try_borrow_mut();
            known.map(|mut known| {
                // The oldest key is replaced.
                known[set].rotate_right(1);
                known[set][0] = Some((self.log, key, found));
            })
        });
        found
    }
}

/// Returns whether a key describes the span itself and is not an attribute.
fn is_of_span(key: &str) -> bool {
    key == RECORDED
        || key
            .strip_prefix("otel.")
            .is_some_and(|key| ["name", "kind", "status_code", "status_description"].contains(&key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogSchema;

    #[test]
    fn logs_do_not_mix_what_they_know() {
        let keys = |word: &str, schema: LogSchema| {
            let mut redaction = Redaction::default();
            redaction.add([word.to_owned()]);
            KeyCache::new(redaction, schema.keys())
        };
        let is_hidden = |keys: &KeyCache, key| keys.get(key).hidden != Hidden::Nothing;
        let one = keys("card", LogSchema::Campanile);
        let other = keys("user", LogSchema::Ecs);
        for _ in 0..3 {
            assert!(is_hidden(&one, "card") && !is_hidden(&other, "card"));
            assert!(!is_hidden(&one, "user") && is_hidden(&other, "user"));
            assert!(one.get("level").is_renamed && !other.get("level").is_renamed);
            assert!(one.get("level").is_plain && !one.get("a\"b").is_plain);
        }
        // Texts that begin at one place.
        let text = "card_s";
        assert!(is_hidden(&one, text) && !is_hidden(&one, &text[..3]));
    }
}
