use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use crate::labels::{self, Labels};
use crate::metric::Metric;
use crate::{Kind, RegisterError, Registry};

/// The metrics of one name, one for each label set of a type.
///
/// ```
/// use campanile_metrics::{Counter, Labels, Registry};
///
/// #[derive(Labels)]
/// enum Channel {
///     Web,
///     MobileApp,
/// }
///
/// let registry = Registry::new();
/// let orders = registry.family::<Channel, Counter>("orders_total")?;
/// orders.with(Channel::MobileApp).increment(1);
/// assert!(registry.render().contains("orders_total{channel=\"mobile_app\"} 1\n"));
/// // What is known when the program is compiled is there from the start, at 0, and has a bound.
/// assert!(registry.render().contains("orders_total{channel=\"web\"} 0\n"));
/// assert_eq!(registry.cardinality()[0].max_series, 2);
/// # Ok::<_, campanile_metrics::RegisterError>(())
/// ```
///
/// If all values of all labels are known, and there are at most 1,000 label sets, a series is found by an index. Otherwise it is looked
/// up by its labels' text, which takes some hundred nanoseconds: keep the handle where that matters.
///
/// Counters and histograms with at most 100 label sets begin at 0 when the family is registered, so that the first event is a rise. Gauges
/// and summaries begin when they are first written to, since 0 would be a claim.
///
/// A clone is the same family (an `Arc`).
pub struct Family<L, M> {
    inner: Arc<Inner<M>>,
    labels: PhantomData<fn(L)>,
}

struct Inner<M> {
    registry: Registry,
    name: Box<str>,
    /// A place for each label set, if they are known and not too many.
    handles: Box<[OnceLock<M>]>,
}

/// The maximum number of label sets whose handles are kept.
const MAX_HANDLES: usize = 1_000;

/// The maximum number of label sets that begin at 0.
const MAX_AT_ZERO: usize = 100;

impl Registry {
    /// Returns the family with this name, which is new or was registered with the same kind.
    ///
    /// If a counter's name does not end with `_total`, the suffix is added.
    ///
    /// # Errors
    ///
    /// If the name or a label name is invalid, the name belongs to another metric, or the name of
    /// another kind ends with `_total`.
    pub fn family<L: Labels, M: Metric>(&self, name: &str) -> Result<Family<L, M>, RegisterError> {
        let count = labels::count::<L>();
        let names = L::LABELS.iter().map(|(name, _)| *name);
        self.declare(name, M::KIND, names, count)?;
        let kept = count.filter(|&count| count <= MAX_HANDLES).unwrap_or(0);
        let family = Family {
            inner: Arc::new(Inner {
                registry: self.clone(),
                name: name.into(),
                handles: std::iter::repeat_with(OnceLock::new).take(kept).collect(),
            }),
            labels: PhantomData,
        };
        if M::BEGINS_AT_ZERO && kept <= MAX_AT_ZERO {
            for (index, handle) in family.inner.handles.iter().enumerate() {
                let metric = M::find(self, name, &labels::at::<L>(index))?;
                if metric.is_own() {
                    handle.get_or_init(|| metric);
                }
            }
        }
        Ok(family)
    }
}

impl<L: Labels, M: Metric> Family<L, M> {
    /// Returns the metric with these labels. Past a limit of the registry it is the family's
    /// overflow series, or for a gauge one that no page shows; ask again later, since a sweep may
    /// make room.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "labels are written where they are used: `with(Channel::Web)`"
    )]
    pub fn with(&self, labels: L) -> Cow<'_, M> {
        let Inner {
            registry,
            name,
            handles,
        } = &*self.inner;
        match handles.get(labels.index()) {
            Some(handle) => match handle.get() {
                Some(metric) => Cow::Borrowed(metric),
                None => {
                    let metric: M = found(registry, name, &labels::at::<L>(labels.index()));
                    // There may be room for its own series later.
                    match metric.is_own() {
                        true => Cow::Borrowed(handle.get_or_init(|| metric)),
                        false => Cow::Owned(metric),
                    }
                }
            },
            None => {
                let values = labels.values();
                let names = L::LABELS.iter().map(|(name, _)| *name);
                let labels: Vec<_> = names.zip(values.iter().map(AsRef::as_ref)).collect();
                Cow::Owned(found(registry, name, &labels))
            }
        }
    }
}

/// Returns a series; where it is refused, which is counted, one that no page shows.
fn found<M: Metric>(registry: &Registry, name: &str, labels: &[(&str, &str)]) -> M {
    let found = M::find(registry, name, labels);
    found.unwrap_or_else(|error| {
        registry.reject(&error);
        M::detached(registry)
    })
}

impl<L, M> Clone for Family<L, M> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            labels: PhantomData,
        }
    }
}

impl<L, M> fmt::Debug for Family<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}

/// A field of a metric set: a metric, or a [`Family`] of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a field of a metric set",
    label = "not a metric",
    note = "use `Counter`, `TimeCounter`, `Gauge`, `Histogram`, `Summary`, or `Family<L, M>` where `M` is one of them and `L` derives `Labels`"
)]
pub trait Field: Sized {
    /// Registers the metric of a field.
    ///
    /// # Errors
    ///
    /// As [`Registry::family`]; or if the bounds of its buckets are not valid, are not those that the name has already, or the metric is no
    /// histogram.
    fn register(registry: &Registry, definition: &Definition) -> Result<Self, RegisterError>;
}

/// What the attributes of a metric set say of a field.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The name, without the unit and a counter's `_total`.
    pub name: &'static str,
    /// What is counted.
    pub help: &'static str,
    /// The unit, in the plural, which the name gets if it doesn't end with it; a [`TimeCounter`](crate::TimeCounter) has `seconds`
    /// without being told.
    pub unit: Option<&'static str>,
    /// The upper bounds of a histogram's buckets, if they are its own.
    pub buckets: Option<&'static [f64]>,
}

impl Definition {
    /// Describes the metric, and returns its name.
    fn announce<M: Metric>(&self, registry: &Registry) -> Result<Cow<'static, str>, RegisterError> {
        let unit = self.unit.or(M::UNIT);
        let base = self
            .name
            .strip_suffix("_total")
            .filter(|_| M::KIND.is_counter());
        let base = base.unwrap_or(self.name);
        let name = match unit {
            Some(unit)
                if !base
                    .strip_suffix(unit)
                    .is_some_and(|rest| rest.ends_with('_')) =>
            {
                [base, "_", unit].concat().into()
            }
            _ => Cow::Borrowed(base),
        };
        registry.describe_as(&name, self.help, unit);
        match self.buckets {
            Some(bounds) if M::KIND == Kind::Histogram => registry.set_buckets(&name, bounds)?,
            Some(_) => {
                return Err(RegisterError::NoBuckets {
                    name: name.into(),
                    kind: M::KIND,
                });
            }
            None => {}
        }
        Ok(name)
    }
}

impl<M: Metric> Field for M {
    fn register(registry: &Registry, definition: &Definition) -> Result<Self, RegisterError> {
        let name = definition.announce::<M>(registry)?;
        registry.declare(&name, M::KIND, std::iter::empty(), Some(1))?;
        M::find(registry, &name, &[])
    }
}

impl<L: Labels, M: Metric> Field for Family<L, M> {
    fn register(registry: &Registry, definition: &Definition) -> Result<Self, RegisterError> {
        let name = definition.announce::<M>(registry)?;
        registry.family(&name)
    }
}
