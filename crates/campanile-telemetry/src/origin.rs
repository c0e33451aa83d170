//! The source of an event, which is a `tracing` macro or a record of the `log` crate.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use tracing::{Event, Level, Metadata};
use tracing_log::NormalizeEvent;

/// The level, target, module and line of an event.
#[derive(Clone, Debug)]
pub(crate) struct Origin<'a> {
    metadata: &'static Metadata<'static>,
    record: Option<Record<'a>>,
}

/// The source of a record of the `log` crate. Its `tracing` metadata are the same for all records
/// of a level.
#[derive(Clone, Debug)]
struct Record<'a> {
    target: Cow<'a, str>,
    module: Option<Cow<'a, str>>,
    line: Option<u32>,
}

impl<'a> Origin<'a> {
    pub(crate) fn of(event: &'a Event<'a>) -> Self {
        let record = event.normalized_metadata().map(|metadata| Record {
            target: metadata.target().into(),
            module: metadata.module_path().map(Cow::from),
            line: metadata.line(),
        });
        Self {
            metadata: event.metadata(),
            record,
        }
    }

    pub(crate) fn into_owned(self) -> Origin<'static> {
        let record = self.record.map(|record| Record {
            target: record.target.into_owned().into(),
            module: record.module.map(|module| module.into_owned().into()),
            line: record.line,
        });
        Origin {
            metadata: self.metadata,
            record,
        }
    }

    pub(crate) fn is_record(&self) -> bool {
        self.record.is_some()
    }

    pub(crate) fn level(&self) -> &Level {
        self.metadata.level()
    }

    pub(crate) fn target(&self) -> &str {
        match &self.record {
            Some(record) => &record.target,
            None => self.metadata.target(),
        }
    }

    /// Returns the target. Only the target of a `log` record is copied.
    pub(crate) fn kept_target(&self) -> Cow<'static, str> {
        match &self.record {
            Some(record) => record.target.clone().into_owned().into(),
            None => self.metadata.target().into(),
        }
    }

    pub(crate) fn module_path(&self) -> Option<&str> {
        match &self.record {
            Some(record) => record.module.as_deref(),
            None => self.metadata.module_path(),
        }
    }

    pub(crate) fn line(&self) -> Option<u32> {
        match &self.record {
            Some(record) => record.line,
            None => self.metadata.line(),
        }
    }

    /// Returns a number that identifies the callsite.
    pub(crate) fn place(&self) -> usize {
        let Some(record) = &self.record else {
            return std::ptr::from_ref(self.metadata).addr();
        };
        let mut hasher = DefaultHasher::new();
        (&record.target, record.line, self.metadata.level()).hash(&mut hasher);
        // 0 means no callsite.
        hasher.finish() as usize | 1
    }

    /// Returns whether a crate of this library emitted the event.
    pub(crate) fn is_own(&self) -> bool {
        let module = self.metadata.module_path().unwrap_or_default();
        let Some(rest) = module.strip_prefix("campanile") else {
            return false;
        };
        let name = rest.split_once("::").map_or(rest, |(name, _)| name);
        name.is_empty() || CRATES.contains(&name)
    }
}

/// The crates of this library, without the prefix `campanile`.
const CRATES: [&str; 13] = [
    "_alerts",
    "_client",
    "_correlation",
    "_health",
    "_http",
    "_macros",
    "_metrics",
    "_monitor",
    "_series",
    "_sla",
    "_store",
    "_system",
    "_telemetry",
];
