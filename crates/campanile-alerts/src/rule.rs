use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use campanile_series::{LabelSet, Now};

use crate::error::Problem;
use crate::evaluate::{Closure, ExprEngine, ExprError, IntoSamples, PreparedExpr};
use crate::severity::Severity;

/// An alert rule: a condition, how long it must hold, and the labels and annotations of its alerts.
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`pending_for`](Self::pending_for) | 0 | 10 years |
/// | [`severity`](Self::severity) | medium | |
/// | [`label`](Self::label) | none | |
/// | [`annotation`](Self::annotation), [`annotations_with`](Self::annotations_with) | none | 4,096 bytes each |
/// | [`look_back`](Self::look_back) | 1 minute for a closure, 0 for others | |
#[must_use = "a rule does nothing until it is added to a builder"]
pub struct Rule {
    name: String,
    source: Source,
    pending_for: Duration,
    look_back: Option<Duration>,
    severity: Severity,
    labels: Vec<(String, String)>,
    annotations: BTreeMap<String, String>,
    annotations_with: Option<AnnotationsWith>,
}

type AnnotationsWith = Arc<dyn Fn(&LabelSet, f64) -> Vec<(String, String)> + Send + Sync>;

/// The source of a rule's samples.
enum Source {
    Expr(String),
    Closure(Box<dyn FnOnce(Duration) -> Arc<dyn PreparedExpr> + Send>),
    PreparedExpr(Arc<dyn PreparedExpr>),
}

impl Rule {
    /// Creates a rule from an expression: each sample of its result is an active alert, as in Prometheus. The
    /// builder's [`expr_engine`](crate::AlertsBuilder::expr_engine) evaluates it.
    ///
    /// The name is 1 to 128 characters of `[A-Za-z0-9_:.-]` and becomes the label `alertname`.
    pub fn expr(name: impl Into<String>, expr: impl Into<String>) -> Self {
        Self::new(name.into(), Source::Expr(expr.into()))
    }

    /// Creates a rule from a closure, which is called at each evaluation. It returns a `bool`, an `Option<f64>`
    /// (the value of the alert), or a `Vec<Sample>` with one sample per alert.
    ///
    /// The closure must not block its thread. A panic counts as a failed evaluation.
    pub fn when<S: IntoSamples + 'static>(
        name: impl Into<String>,
        check: impl Fn(Now) -> S + Send + Sync + 'static,
    ) -> Self {
        let closure = |look_back| -> Arc<dyn PreparedExpr> {
            Arc::new(Closure {
                check,
                look_back,
                first: OnceLock::new(),
            })
        };
        Self::new(name.into(), Source::Closure(Box::new(closure)))
    }

    /// Creates a rule from a custom expression.
    pub fn prepared(name: impl Into<String>, prepared: Arc<dyn PreparedExpr>) -> Self {
        Self::new(name.into(), Source::PreparedExpr(prepared))
    }

    fn new(name: String, source: Source) -> Self {
        Self {
            name,
            source,
            pending_for: Duration::ZERO,
            look_back: None,
            severity: Severity::Medium,
            labels: Vec::new(),
            annotations: BTreeMap::new(),
            annotations_with: None,
        }
    }

    /// Sets how long an alert must be active before it fires. Until then it is pending. This is `for` in Prometheus.
    ///
    /// Defaults to 0: the alert fires at the first evaluation. The limit is 10 years.
    pub fn pending_for(mut self, pending_for: Duration) -> Self {
        self.pending_for = pending_for;
        self
    }

    /// Sets the length of the past that an evaluation reads. If the expression reads more, the larger value counts.
    ///
    /// A restored alert is not resolved until the rule has been evaluated for this long after the restart. Before that,
    /// no sample may only mean that the new process has no data yet.
    ///
    /// Defaults to 1 minute for a closure, and to 0 for others.
    pub fn look_back(mut self, look_back: Duration) -> Self {
        self.look_back = Some(look_back);
        self
    }

    /// Sets the severity. It becomes the label `severity`.
    ///
    /// Defaults to medium.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Adds a label to the rule's alerts. It overrides a sample's label of the same name. An empty value removes that
    /// label, as in Prometheus.
    ///
    /// Defaults to `alertname` and `severity` only.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// Adds an annotation to the rule's alerts.
    ///
    /// Defaults to none. The limit of the text is 4,096 bytes.
    pub fn annotation(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), text.into());
        self
    }

    /// Sets the annotation `summary`: one line that says what is wrong.
    ///
    /// Defaults to none.
    pub fn summary(self, text: impl Into<String>) -> Self {
        self.annotation("summary", text)
    }

    /// Sets the annotation `runbook_url`: the URL of the instructions for the operator.
    ///
    /// Defaults to none.
    pub fn runbook(self, url: impl Into<String>) -> Self {
        self.annotation("runbook_url", url)
    }

    /// Sets a closure that returns annotations from an alert's labels and value. It is called whenever the alert is
    /// listed or sent, and overrides an [`annotation`](Self::annotation) of the same name.
    ///
    /// The closure must not block its thread. If it panics, the alert has only its other annotations.
    ///
    /// Defaults to none. A text is cut after 4,096 bytes.
    pub fn annotations_with(
        mut self,
        annotations_with: impl Fn(&LabelSet, f64) -> Vec<(String, String)> + Send + Sync + 'static,
    ) -> Self {
        self.annotations_with = Some(Arc::new(annotations_with));
        self
    }

    /// Checks the rule. Adds its problems to `problems`.
    pub(crate) fn check(
        self,
        engine: Option<&dyn ExprEngine>,
        problems: &mut Vec<Problem>,
    ) -> Option<CheckedRule> {
        let name = self.name;
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_:.-".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_valid) {
            problems.push(Problem::RuleName { rule: name });
            return None;
        }
        let before = problems.len();
        if self.pending_for > MAX_PENDING {
            problems.push(Problem::PendingFor {
                rule: name.clone(),
                pending_for: self.pending_for,
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
        let labels = LabelSet::new(self.labels.into_iter().chain(own)).map_err(|source| {
            problems.push(Problem::Label {
                rule: name.clone(),
                source,
            });
        });
        let prepared = match self.source {
            Source::Closure(prepare) => Ok(prepare(self.look_back.unwrap_or(CLOSURE_LOOK_BACK))),
            Source::PreparedExpr(prepared) => Ok(prepared),
            Source::Expr(expr) => {
                let none =
                    || ExprError::new("no expression engine: set `expr_engine` on the builder");
                let prepared = engine
                    .ok_or_else(none)
                    .and_then(|engine| engine.prepare(&expr));
                prepared.map_err(|source| {
                    problems.push(Problem::Expr {
                        rule: name.clone(),
                        expr,
                        source,
                    });
                })
            }
        };
        if problems.len() > before {
            return None;
        }
        let labels = labels.ok()?;
        let others = labels.iter().filter(|(name, _)| *name != OVERFLOW);
        let overflow = LabelSet::new(others.chain([(OVERFLOW, "true")])).ok()?;
        Some(CheckedRule {
            name,
            prepared: prepared.ok()?,
            pending_for: self.pending_for,
            look_back: self.look_back.unwrap_or_default(),
            first: OnceLock::new(),
            severity: self.severity,
            labels,
            removed,
            overflow,
            annotations: self.annotations,
            annotations_with: self.annotations_with,
        })
    }
}

/// The label of the overflow alert.
const OVERFLOW: &str = "overflow";

/// The maximum length of an annotation in bytes.
const MAX_TEXT: usize = 4_096;

/// The default look-back of a closure.
const CLOSURE_LOOK_BACK: Duration = Duration::from_secs(60);

/// The maximum pending time.
const MAX_PENDING: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A valid rule.
pub(crate) struct CheckedRule {
    pub(crate) name: String,
    pub(crate) prepared: Arc<dyn PreparedExpr>,
    pub(crate) pending_for: Duration,
    /// The configured look-back.
    look_back: Duration,
    /// The time of the first evaluation.
    first: OnceLock<Instant>,
    pub(crate) severity: Severity,
    /// The labels, including `alertname` and `severity`.
    pub(crate) labels: LabelSet,
    /// The names of sample labels that alerts drop.
    pub(crate) removed: BTreeSet<String>,
    /// The labels of the overflow alert.
    pub(crate) overflow: LabelSet,
    annotations: BTreeMap<String, String>,
    annotations_with: Option<AnnotationsWith>,
}

impl CheckedRule {
    /// Returns the look-back, and the length of the history that covers it.
    pub(crate) fn reach(&self, history: Duration, now: Now) -> (Duration, Duration) {
        let first = *self.first.get_or_init(|| now.mono);
        let own = self.prepared.look_back();
        let history = if history < own {
            history
        } else {
            history.max(now.mono.saturating_duration_since(first))
        };
        (own.max(self.look_back), history)
    }

    /// Returns the annotations of an alert.
    pub(crate) fn annotations(&self, labels: &LabelSet, value: f64) -> BTreeMap<String, String> {
        let mut annotations = self.annotations.clone();
        if *labels == self.overflow {
            let name = &self.name;
            let summary =
                format!("{name}: {value} more series match, beyond the limit of 1000 alerts");
            annotations.insert("summary".to_owned(), summary);
            return annotations;
        }
        let own = self.annotations_with.as_ref().map(|annotations_with| {
            let own = catch_unwind(AssertUnwindSafe(|| annotations_with(labels, value)));
            own.unwrap_or_else(|_| {
                tracing::error!(rule = self.name, "annotations_with panicked");
                Vec::new()
            })
        });
        for (name, mut text) in own.into_iter().flatten() {
            let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or_default());
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
            .field("pending_for", &self.pending_for)
            .field("severity", &self.severity)
            .finish_non_exhaustive()
    }
}
