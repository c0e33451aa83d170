use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use metrics::{Key, SharedString};

use crate::append_only_table::AppendOnlyTable;
use crate::counter::CounterValue;
use crate::gauge::GaugeValue;
use crate::histogram::HistogramValue;
use crate::series::Series;
use crate::summary::SummaryValue;

/// The handles of keys whose names and labels are all string literals, as in most macro calls.
#[derive(Default)]
pub(crate) struct KeyCache(OnceLock<AppendOnlyTable<(Key, Handle)>>);

pub(crate) enum Handle {
    Counter(Arc<Series<CounterValue>>),
    Gauge(Arc<Series<GaugeValue>>),
    Histogram(Arc<Series<HistogramValue>>),
    Summary(Arc<Series<SummaryValue>>),
}

impl KeyCache {
    #[inline]
    pub(crate) fn get(&self, key: &Key) -> Option<&Handle> {
        let table = self.0.get()?;
        let entry = table.get(key.get_hash(), |(of, _)| is_same(of, key))?;
        Some(&entry.1)
    }

    pub(crate) fn insert(&self, key: &Key, handle: Handle) {
        let table = self.0.get_or_init(AppendOnlyTable::new);
        table.insert(
            key.get_hash(),
            |(of, _)| is_same(of, key),
            (key.clone(), handle),
        );
    }
}

/// Returns whether all strings of the key are literals. There is a limited number of such keys, and
/// a clone allocates nothing. An `Arc<str>` is not a literal, even though a clone shares it.
pub(crate) fn is_constant(key: &Key) -> bool {
    let is_borrowed = |text: SharedString| matches!(text.into(), Cow::<'static, str>::Borrowed(_));
    // A clone of all labels at once would allocate for each label that is not a literal.
    let has_constant_labels = key.labels().all(|label| {
        let (name, value) = label.clone().into_parts();
        is_borrowed(value) && is_borrowed(name)
    });
    if !has_constant_labels {
        return false;
    }
    let clone = key.clone();
    std::ptr::eq(key.labels().as_slice(), clone.labels().as_slice())
        && is_borrowed(clone.into_parts().0.into_inner())
}

/// Returns whether two keys are equal. Equal literals are mostly the same strings, which is
/// detected by their addresses.
#[inline]
fn is_same(one: &Key, other: &Key) -> bool {
    if !same_text(one.name(), other.name()) {
        return false;
    }
    let (ones, others) = (one.labels(), other.labels());
    let (ones, others) = (ones.as_slice(), others.as_slice());
    std::ptr::eq(ones, others)
        || ones.len() == others.len()
            && ones.iter().zip(others).all(|(one, other)| {
                same_text(one.key(), other.key()) && same_text(one.value(), other.value())
            })
}

#[inline]
fn same_text(one: &str, other: &str) -> bool {
    std::ptr::eq(one, other) || one == other
}
