use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};

use crate::labels::Bounded;
use crate::name::OTHER;
use crate::recorder::is_none;

/// An observed function.
pub struct Site {
    pub(super) function: &'static str,
    module: &'static str,
    pub(super) names: Names,
    /// Whether its calls can be cancelled.
    is_async: bool,
    /// The level at which errors are logged; `None` if they are not.
    pub(super) errors_at: Option<tracing::Level>,
    pub(super) report: fn(&Ended<'_>) -> bool,
    /// The keys of the metrics, for each list of label types. A generic function can have several
    /// lists.
    sets: OnceLock<Sets>,
    /// The addresses of the two recorders that got the descriptions last: often the recorders of
    /// requests and of the process alternate.
    described: [AtomicUsize; 2],
}

/// The names of the metrics of a function.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    pub calls: &'static str,
    pub errors: &'static str,
    pub duration: &'static str,
    pub in_flight: &'static str,
}

/// The end of a call, for the log.
#[derive(Clone, Copy)]
pub struct Ended<'a> {
    pub function: &'static str,
    pub outcome: &'static str,
    pub duration_seconds: f64,
    /// Whether it failed, and no nested call has logged the failure.
    pub logs_failure: bool,
    pub panicked: bool,
    pub error_type: Option<&'a str>,
    /// The error message. It is logged as a string, so unprintable characters are escaped.
    pub error: Option<&'a str>,
}

/// The handles that a call writes to.
pub(super) struct Live {
    pub(super) in_flight: Gauge,
    pub(super) duration: Histogram,
    pub(super) succeeded: Counter,
    /// `None` for a function that is not asynchronous.
    pub(super) cancelled: Option<Counter>,
}

/// The keys of all label sets of some types.
struct Sets {
    /// All values of each label.
    values: Box<[&'static [&'static str]]>,
    /// The keys of each used label set. With too many label sets, only those of `_other_`.
    keys: Box<[OnceLock<Keys>]>,
    are_too_many: bool,
    /// The sets of other label types.
    next: OnceLock<Box<Self>>,
}

/// The keys of a label set. They live as long as the program. A function has at most
/// [`MAX_LABEL_SETS`] of them.
pub(super) struct Keys {
    pub(super) labels: &'static [Label],
    calls: [Key; 4],
    duration: Key,
    in_flight: Key,
}

/// The maximum number of label sets of a function. With more, all of its labels are `_other_`.
const MAX_LABEL_SETS: usize = 1_000;

pub(super) static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

impl Site {
    /// Creates the site of an observed function.
    pub const fn new(
        function: &'static str,
        module: &'static str,
        names: Names,
        is_async: bool,
        errors_at: Option<tracing::Level>,
        report: fn(&Ended<'_>) -> bool,
    ) -> Self {
        Self {
            function,
            module,
            names,
            is_async,
            errors_at,
            report,
            sets: OnceLock::new(),
            described: [const { AtomicUsize::new(0) }; 2],
        }
    }

    /// Returns the handles that a call writes to, if there is a recorder.
    pub(super) fn live(&self, keys: &Keys, recorder: &dyn Recorder) -> Option<Live> {
        if is_none(recorder) {
            warn_once();
            return None;
        }
        let address = std::ptr::from_ref(recorder).cast::<()>().addr();
        let [last, before] = &self.described;
        let is_there = |at: &AtomicUsize| at.load(Ordering::Relaxed) == address;
        if !is_there(last) && !is_there(before) {
            self.describe(recorder);
            before.store(last.swap(address, Ordering::Relaxed), Ordering::Relaxed);
        }
        let in_flight = recorder.register_gauge(&keys.in_flight, &METADATA);
        in_flight.increment(1.0);
        let calls = |outcome| recorder.register_counter(keys.calls(outcome), &METADATA);
        Some(Live {
            in_flight,
            duration: recorder.register_histogram(&keys.duration, &METADATA),
            // A future may be dropped or polled without the recorder.
            succeeded: calls(Outcome::Ok),
            cancelled: self.is_async.then(|| calls(Outcome::Cancelled)),
        })
    }

    fn describe(&self, recorder: &dyn Recorder) {
        let Names {
            calls,
            errors,
            duration,
            in_flight,
        } = self.names;
        let text = "Ended calls, by outcome.";
        recorder.describe_counter(calls.into(), None, text.into());
        let text = "Calls that returned an error, by kind of error.";
        recorder.describe_counter(errors.into(), None, text.into());
        let text = "Time from the start of a call to its end, in seconds.";
        recorder.describe_histogram(duration.into(), Some(Unit::Seconds), text.into());
        let text = "Calls that have begun and not ended.";
        recorder.describe_gauge(in_flight.into(), None, text.into());
    }

    pub(super) fn keys(&self, labels: &[LabelAt]) -> &Keys {
        let mut sets = self.sets.get_or_init(|| self.new_sets(labels));
        while !sets.are_of(labels) {
            sets = sets.next.get_or_init(|| self.new_sets(labels).into());
        }
        if sets.are_too_many {
            return sets.keys[0].get_or_init(|| self.new_keys(labels, |_| OTHER));
        }
        // The indices of all labels form the index of the label set.
        sets.keys[place(labels)].get_or_init(|| self.new_keys(labels, LabelAt::text))
    }

    fn new_sets(&self, labels: &[LabelAt]) -> Sets {
        let count = labels.iter().try_fold(1_usize, |count, label| {
            let count = count.checked_mul(label.values.len());
            count.filter(|&count| count <= MAX_LABEL_SETS)
        });
        if count.is_none() {
            tracing::warn!(
                function = self.function,
                module = self.module,
                "more than {MAX_LABEL_SETS} label sets of an observed function, all labels are `_other_`"
            );
        }
        let keys = std::iter::repeat_with(OnceLock::new);
        Sets {
            values: labels.iter().map(|label| label.values).collect(),
            keys: keys.take(count.unwrap_or(1)).collect(),
            are_too_many: count.is_none(),
            next: OnceLock::new(),
        }
    }

    fn new_keys(&self, labels: &[LabelAt], text: fn(&LabelAt) -> &'static str) -> Keys {
        let own = [("function", self.function), ("module", self.module)];
        let given = labels.iter().map(|label| (label.name, text(label)));
        let labels = own.into_iter().chain(given);
        let labels = labels.map(|(name, value)| Label::from_static_parts(name, value));
        let labels: &'static [Label] = Vec::leak(labels.collect());
        let calls = Outcome::ALL.map(|outcome| {
            let outcome = Label::from_static_parts("outcome", outcome.as_str());
            let labels = labels.iter().cloned().chain([outcome]);
            Key::from_static_parts(self.names.calls, Vec::leak(labels.collect()))
        });
        Keys {
            labels,
            calls,
            duration: Key::from_static_parts(self.names.duration, labels),
            in_flight: Key::from_static_parts(self.names.in_flight, labels),
        }
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("function", &self.function)
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended")
            .field("function", &self.function)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl Sets {
    fn are_of(&self, labels: &[LabelAt]) -> bool {
        let values = labels.iter().map(|label| label.values);
        let mut both = self.values.iter().zip(values);
        both.all(|(one, other)| std::ptr::eq(*one, other) || *one == other)
    }
}

/// Returns the index of a label set.
fn place(labels: &[LabelAt]) -> usize {
    labels
        .iter()
        .fold(0, |place, label| place * label.values.len() + label.index)
}

impl Keys {
    pub(super) fn calls(&self, outcome: Outcome) -> &Key {
        &self.calls[outcome as usize]
    }
}

/// Logs once per process that calls are not counted.
fn warn_once() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "function with `#[observe]` called without a metrics recorder, its calls are not counted: \
             install a registry, or call it while a request is handled"
        );
    }
}

/// The value of a label in a call.
#[derive(Clone, Copy, Debug)]
pub struct LabelAt {
    pub(super) name: &'static str,
    index: usize,
    values: &'static [&'static str],
}

impl LabelAt {
    /// Creates a label with a value of a bounded type.
    pub fn new<T: Bounded + ?Sized>(name: &'static str, value: &T) -> Self {
        const {
            assert!(
                matches!(T::VALUES, Some([_, ..])),
                "a `Bounded` type has a list of values"
            );
        }
        let values = T::VALUES.unwrap_or_default();
        Self {
            name,
            index: value.index().min(values.len() - 1),
            values,
        }
    }

    pub(super) fn text(&self) -> &'static str {
        self.values.get(self.index).copied().unwrap_or(OTHER)
    }
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Error,
    Cancelled,
    Panicked,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Ok, Self::Error, Self::Cancelled, Self::Panicked];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
        }
    }
}
