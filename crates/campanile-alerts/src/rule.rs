use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use campanile_series::{Labels, Now};

use crate::evaluate::Closure;
use crate::{Evaluate, ExprError, IntoSamples, Prepared, Problem, Severity};

/// When to ring, how loud, and what to say.
///
/// | setting | default |
/// |---|---|
/// | [`hold`](Self::hold) | 0: at once |
/// | [`severity`](Self::severity) | medium |
/// | [`label`](Self::label), [`annotation`](Self::annotation), [`annotate`](Self::annotate) | none |
/// | [`look_back`](Self::look_back) | 1 minute for a closure, 0 for others |
#[must_use = "a rule does nothing until it is given to a builder"]
pub struct Rule {
    name: String,
    source: Source,
    hold: Duration,
    look_back: Option<Duration>,
    severity: Severity,
    labels: Vec<(String, String)>,
    annotations: BTreeMap<String, String>,
    annotate: Option<Annotate>,
}

type Annotate = Arc<dyn Fn(&Labels, f64) -> Vec<(String, String)> + Send + Sync>;

/// Where a rule's answers come from.
enum Source {
    Expr(String),
    Closure(Box<dyn FnOnce(Duration) -> Arc<dyn Prepared> + Send>),
    Prepared(Arc<dyn Prepared>),
}

impl Rule {
    /// Returns a rule that rings while an expression has a sample, as Prometheus' rules do. The builder's
    /// [`evaluate`](crate::AlertsBuilder::evaluate) says which expressions there are.
    ///
    /// The name is 1 to 128 characters of `[A-Za-z0-9_:.-]`, and becomes the label `alertname`.
    pub fn promql(name: impl Into<String>, expr: impl Into<String>) -> Self {
        Self::new(name.into(), Source::Expr(expr.into()))
    }

    /// Returns a rule that asks a closure at each tick: it returns whether to ring, or a value to ring with, or a sample for each
    /// thing to ring for.
    ///
    /// It must not block its thread. A panic is an error of the rule.
    pub fn when<S: IntoSamples + 'static>(
        name: impl Into<String>,
        check: impl Fn(Now) -> S + Send + Sync + 'static,
    ) -> Self {
        let closure = |look_back| -> Arc<dyn Prepared> {
            Arc::new(Closure {
                check,
                look_back,
                first: OnceLock::new(),
            })
        };
        Self::new(name.into(), Source::Closure(Box::new(closure)))
    }

    /// Returns a rule that evaluates something of the host's own.
    pub fn prepared(name: impl Into<String>, prepared: Arc<dyn Prepared>) -> Self {
        Self::new(name.into(), Source::Prepared(prepared))
    }

    fn new(name: String, source: Source) -> Self {
        Self {
            name,
            source,
            hold: Duration::ZERO,
            look_back: None,
            severity: Severity::Medium,
            labels: Vec::new(),
            annotations: BTreeMap::new(),
            annotate: None,
        }
    }

    /// Sets how long it must be wrong before the alert fires; until then it is pending. It is `for` in Prometheus. 10 years at most.
    ///
    /// Defaults to 0: it fires at once.
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// Sets how much of the past an evaluation reads. If an expression reads more, the larger of the two counts.
    ///
    /// After a restart, an alert that was firing is not resolved before the rule has been evaluated for this long: until then, no match may
    /// only mean that the new process has no data yet. Defaults to 1 minute for a closure, and to 0 for others.
    pub fn look_back(mut self, look_back: Duration) -> Self {
        self.look_back = Some(look_back);
        self
    }

    /// Sets the severity, which becomes the label `severity`.
    ///
    /// Defaults to medium.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Adds a label to all of its alerts, in place of one of the same name that a sample has. An empty value removes that label, as in
    /// Prometheus.
    ///
    /// Defaults to none but `alertname` and `severity`.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// Adds a text to all of its alerts; 4,096 bytes at most.
    ///
    /// Defaults to none.
    pub fn annotation(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), text.into());
        self
    }

    /// Says in one line what is wrong: the annotation `summary`.
    ///
    /// Defaults to none.
    pub fn summary(self, text: impl Into<String>) -> Self {
        self.annotation("summary", text)
    }

    /// Says where to read what to do: the annotation `runbook_url`.
    ///
    /// Defaults to none.
    pub fn runbook(self, url: impl Into<String>) -> Self {
        self.annotation("runbook_url", url)
    }

    /// Adds texts to each of its alerts on its own, by its labels and its value, whenever it is shown or sent; a text comes in place of an
    /// [`annotation`](Self::annotation) of its name, and is cut after 4,096 bytes.
    ///
    /// It must not block its thread. If it panics, the alert has none of them. Defaults to none.
    pub fn annotate(
        mut self,
        annotate: impl Fn(&Labels, f64) -> Vec<(String, String)> + Send + Sync + 'static,
    ) -> Self {
        self.annotate = Some(Arc::new(annotate));
        self
    }

    /// Returns the rule, if all is well with it.
    pub(crate) fn check(
        self,
        evaluate: Option<&dyn Evaluate>,
        problems: &mut Vec<Problem>,
    ) -> Option<CheckedRule> {
        let name = self.name;
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_:.-".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_valid) {
            problems.push(Problem::RuleName { rule: name });
            return None;
        }
        let before = problems.len();
        if self.hold > LONGEST {
            problems.push(Problem::Hold {
                rule: name.clone(),
                hold: self.hold,
            });
        }
        if let Some((annotation, text)) = self
            .annotations
            .iter()
            .find(|(_, text)| text.len() > MAX_TEXT)
        {
            problems.push(Problem::Annotation {
                rule: name.clone(),
                annotation: annotation.clone(),
                bytes: text.len(),
            });
        }
        let own = [
            ("alertname".to_owned(), name.clone()),
            ("severity".to_owned(), self.severity.to_string()),
        ];
        let removed = self.labels.iter().filter(|(_, value)| value.is_empty());
        let removed = removed.map(|(name, _)| name.clone()).collect();
        let labels = Labels::new(self.labels.into_iter().chain(own)).map_err(|error| {
            problems.push(Problem::Label {
                rule: name.clone(),
                error,
            });
        });
        let prepared = match self.source {
            Source::Closure(prepare) => Ok(prepare(self.look_back.unwrap_or(GRACE))),
            Source::Prepared(prepared) => Ok(prepared),
            Source::Expr(expr) => {
                let none =
                    || ExprError::new("no language of expressions was given: see `evaluate`");
                let prepared = evaluate
                    .ok_or_else(none)
                    .and_then(|evaluate| evaluate.prepare(&expr));
                prepared.map_err(|error| {
                    problems.push(Problem::Expr {
                        rule: name.clone(),
                        expr,
                        error,
                    });
                })
            }
        };
        if problems.len() > before {
            return None;
        }
        let labels = labels.ok()?;
        let others = labels.iter().filter(|(name, _)| *name != OVERFLOW);
        let overflow = Labels::new(others.chain([(OVERFLOW, "true")])).ok()?;
        Some(CheckedRule {
            name,
            prepared: prepared.ok()?,
            hold: self.hold,
            look_back: self.look_back.unwrap_or_default(),
            first: OnceLock::new(),
            severity: self.severity,
            labels,
            removed,
            overflow,
            annotations: self.annotations,
            annotate: self.annotate,
        })
    }
}

/// The label of the alert that stands for the series beyond the limit.
const OVERFLOW: &str = "overflow";

/// How many bytes an annotation may have.
const MAX_TEXT: usize = 4_096;

/// How long a restored alert of a closure is not resolved, if not set.
const GRACE: Duration = Duration::from_secs(60);

/// The longest time that a rule may hold.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A rule that was checked.
pub(crate) struct CheckedRule {
    pub(crate) name: String,
    pub(crate) prepared: Arc<dyn Prepared>,
    pub(crate) hold: Duration,
    /// How much of the past an evaluation reads, as set.
    look_back: Duration,
    /// The time of the first evaluation.
    first: OnceLock<Instant>,
    pub(crate) severity: Severity,
    /// With `alertname` and `severity`.
    pub(crate) labels: Labels,
    /// The labels of samples that alerts don't have.
    pub(crate) removed: BTreeSet<String>,
    /// The labels of the alert that stands for the series beyond the limit.
    pub(crate) overflow: Labels,
    annotations: BTreeMap<String, String>,
    annotate: Option<Annotate>,
}

impl CheckedRule {
    /// Returns how much of the past an evaluation reads, and how far back the data reach.
    pub(crate) fn reach(&self, covers: Duration, now: Now) -> (Duration, Duration) {
        let first = *self.first.get_or_init(|| now.mono);
        let own = self.prepared.look_back();
        let covers = if covers < own {
            covers
        } else {
            covers.max(now.mono.saturating_duration_since(first))
        };
        (own.max(self.look_back), covers)
    }

    /// Returns the texts of an alert.
    pub(crate) fn annotations(&self, labels: &Labels, value: f64) -> BTreeMap<String, String> {
        let mut annotations = self.annotations.clone();
        if *labels == self.overflow {
            let name = &self.name;
            let summary =
                format!("{name}: {value} more series match, beyond the limit of 1000 alerts");
            annotations.insert("summary".to_owned(), summary);
            return annotations;
        }
        let own = self.annotate.as_ref().map(|annotate| {
            let own = catch_unwind(AssertUnwindSafe(|| annotate(labels, value)));
            own.unwrap_or_else(|_| {
                tracing::error!(rule = self.name, "the texts of an alert can't be made");
                Vec::new()
            })
        });
        for (name, mut text) in own.into_iter().flatten() {
            let most = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(most.unwrap_or_default());
            annotations.insert(name, text);
        }
        annotations
    }
}

impl fmt::Debug for CheckedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedRule")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("name", &self.name)
            .field("hold", &self.hold)
            .field("severity", &self.severity)
            .finish_non_exhaustive()
    }
}
