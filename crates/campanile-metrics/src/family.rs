use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use crate::labels::{self, Labels};
use crate::metric::Metric;
use crate::{Kind, RegisterError, Registry};

/// The metrics of one name, one for each label set of a type; from [`Registry::family`].
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
/// // Label sets that are known at compile time exist from the start, at 0, and are bounded.
/// assert!(registry.render().contains("orders_total{channel=\"web\"} 0\n"));
/// assert_eq!(registry.cardinality()[0].max_series, 2);
/// # Ok::<_, campanile_metrics::RegisterError>(())
/// ```
///
/// If all values of all labels are known at compile time, and there are at most 1,000 label sets, a
/// series is found by its index. Otherwise it is looked up by its labels, which takes some hundred
/// nanoseconds. In that case keep the handle in hot code.
///
/// Counters and histograms with at most 100 label sets exist at 0 from the registration on, so the
/// first event is an increase. Gauges and summaries exist from the first write on, because 0 would
/// be a wrong value.
///
/// A clone shares the state (an `Arc`).
pub struct Family<L, M> {
    inner: Arc<Inner<M>>,
    labels: PhantomData<fn(L)>,
}

struct Inner<M> {
    registry: Registry,
    name: Box<str>,
    /// The handle of each label set, if the label sets are known and at most [`MAX_HANDLES`].
    handles: Box<[OnceLock<M>]>,
}

/// The maximum number of label sets whose handles are kept.
const MAX_HANDLES: usize = 1_000;

/// The maximum number of label sets that start at 0.
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
    /// Returns the metric with these labels.
    ///
    /// Past a limit of the registry it is the overflow series of the family. A gauge is then not
    /// exported. Call this again later, because a sweep may free series.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers pass literals: `with(Channel::Web)`"
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
                    // The limit may allow a series of these labels later.
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

/// Returns a series. If it is rejected, the rejection is counted, and the series is not exported.
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

/// A field of a metric set: a metric, or a [`Family`] of metrics.
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
    /// As [`Registry::family`]. Also if its bucket bounds are invalid or differ from those of the
    /// name, or it has bounds and is not a histogram.
    fn register(registry: &Registry, definition: &Definition) -> Result<Self, RegisterError>;
}

/// The attributes of a field of a metric set.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The name, without the unit and the `_total` of a counter.
    pub name: &'static str,
    /// The description.
    pub help: &'static str,
    /// The unit, in the plural. It is added to the name unless the name ends with it. A
    /// [`TimeCounter`](crate::TimeCounter) always has `seconds`.
    pub unit: Option<&'static str>,
    /// The upper bounds of the buckets of a histogram, if they are set.
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
