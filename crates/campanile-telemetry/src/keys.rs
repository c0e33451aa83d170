//! What is known of a key, which is a text of the program and so is asked for again and again.

use std::cell::RefCell;

use crate::escape::is_plain;
use crate::names::Names;
use crate::redact::Redaction;

/// What a field's key means for its line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its value is not shown.
    pub(crate) is_hidden: bool,
    /// It is one of the line's own.
    pub(crate) is_reserved: bool,
    /// It can be written as it is.
    pub(crate) is_plain: bool,
    /// It says something of a span, and no line has it.
    pub(crate) is_of_span: bool,
}

/// What the span of a request that has ended badly has.
pub(crate) const RECORDED: &str = "campanile.recorded";

/// The keys of a log.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) redaction: Redaction,
    names: &'static Names,
    /// Tells logs apart.
    log: usize,
}

/// What a thread knows, in sets that follow from where a text is. Texts that fall into one set are a matter of how the program was linked, so
/// there is room for some of them.
type Known = [[Option<(usize, &'static str, Key)>; WAYS]; SETS];

const SETS: usize = 64;
const WAYS: usize = 4;

thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new([[None; WAYS]; SETS]) };
}

impl Keys {
    pub(crate) fn new(redaction: Redaction, names: &'static Names) -> Self {
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

    /// Returns what is known of a key.
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
        let found = Key {
            is_hidden: self.redaction.hides(key),
            is_reserved: self.names.has(key),
            is_plain: is_plain(key),
            is_of_span: is_of_span(key),
        };
        // On a thread that is being torn down nothing is kept.
        let _ = KNOWN.try_with(|known| {
            let known = known.try_borrow_mut();
            known.map(|mut known| {
                // The oldest goes.
                known[set].rotate_right(1);
                known[set][0] = Some((self.log, key, found));
            })
        });
        found
    }
}

/// Returns whether a field says something of its span, and is none of its attributes.
fn is_of_span(key: &str) -> bool {
    key == RECORDED
        || key
            .strip_prefix("otel.")
            .is_some_and(|key| ["name", "kind", "status_code", "status_description"].contains(&key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldNames;

    #[test]
    fn logs_do_not_mix_what_they_know() {
        let keys = |word: &str, names: FieldNames| {
            Keys::new(Redaction::of([word.to_owned()]), names.names())
        };
        let one = keys("card", FieldNames::Campanile);
        let other = keys("user", FieldNames::Ecs);
        for _ in 0..3 {
            assert!(one.get("card").is_hidden && !other.get("card").is_hidden);
            assert!(!one.get("user").is_hidden && other.get("user").is_hidden);
            assert!(one.get("level").is_reserved && !other.get("level").is_reserved);
            assert!(one.get("level").is_plain && !one.get("a\"b").is_plain);
        }
        // Texts that begin at one place.
        let text = "cards";
        assert!(one.get(text).is_hidden && !one.get(&text[..3]).is_hidden);
    }
}
