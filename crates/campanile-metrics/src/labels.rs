use std::borrow::Cow;
use std::sync::Arc;

/// The labels of a series as a type; implemented by `#[derive(Labels)]` with feature `macros`.
///
/// A struct has one label per field, and an enum is one label. If all values of all labels are
/// known at compile time, the number of series is known too.
pub trait Labels {
    /// The name of each label, and all its values if they are known.
    const LABELS: &'static [(&'static str, Option<&'static [&'static str]>)];

    /// Returns the index of the label set: the position of each value in [`LABELS`](Self::LABELS),
    /// as digits of a mixed-radix number. The last label is the lowest digit. The index has no
    /// meaning if the values of a label are unknown.
    fn index(&self) -> usize;

    /// Returns the values, in the order of [`LABELS`](Self::LABELS).
    fn values(&self) -> Vec<Cow<'_, str>>;
}

/// No labels: one series.
impl Labels for () {
    const LABELS: &'static [(&'static str, Option<&'static [&'static str]>)] = &[];

    fn index(&self) -> usize {
        0
    }

    fn values(&self) -> Vec<Cow<'_, str>> {
        Vec::new()
    }
}

/// Returns the number of label sets, if it is known.
pub(crate) fn count<L: Labels>() -> Option<usize> {
    let mut labels = L::LABELS.iter();
    labels.try_fold(1_usize, |count, (_, values)| {
        count.checked_mul((*values)?.len())
    })
}

/// Returns the labels at an index below [`count`].
pub(crate) fn at<L: Labels>(mut index: usize) -> Vec<(&'static str, &'static str)> {
    let mut labels = Vec::with_capacity(L::LABELS.len());
    for (name, values) in L::LABELS.iter().rev() {
        let values = values.unwrap_or_default();
        let count = values.len().max(1);
        labels.push((
            *name,
            values.get(index % count).copied().unwrap_or_default(),
        ));
        index /= count;
    }
    labels.reverse();
    labels
}

/// The value of a label: an enum with `#[derive(Labels)]`, a `bool`, a string or a number.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the value of a label",
    label = "not a label's value",
    note = "derive `Labels` on an enum, or use a text or an integer: their series are capped"
)]
pub trait LabelValue {
    /// All values, if they are known.
    const VALUES: Option<&'static [&'static str]>;

    /// Returns the position of the value in [`VALUES`](Self::VALUES), or 0 without a list.
    fn index(&self) -> usize;

    /// Returns the value as it is exposed.
    fn text(&self) -> Cow<'_, str>;
}

/// A [`LabelValue`] whose values are all known, so the number of series is known at compile time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no list of all its values, so labels from it would have no bound",
    label = "a label without a bound",
    note = "derive `Labels` on an enum of the values that matter, and convert to it"
)]
pub trait Bounded: LabelValue {}

impl<T: LabelValue + ?Sized> LabelValue for &T {
    const VALUES: Option<&'static [&'static str]> = T::VALUES;

    fn index(&self) -> usize {
        T::index(self)
    }

    fn text(&self) -> Cow<'_, str> {
        T::text(self)
    }
}

impl<T: Bounded + ?Sized> Bounded for &T {}

impl LabelValue for bool {
    const VALUES: Option<&'static [&'static str]> = Some(&["false", "true"]);

    fn index(&self) -> usize {
        usize::from(*self)
    }

    fn text(&self) -> Cow<'_, str> {
        if *self { "true" } else { "false" }.into()
    }
}

impl Bounded for bool {}

macro_rules! unbounded {
    ($($type:ty: $self:ident => $text:expr),+ $(,)?) => {
        $(impl LabelValue for $type {
            const VALUES: Option<&'static [&'static str]> = None;

            fn index(&self) -> usize {
                0
            }

            fn text(&$self) -> Cow<'_, str> {
                $text.into()
            }
        })+
    };
}

unbounded! {
    str: self => self,
    Box<str>: self => &**self,
    Arc<str>: self => &**self,
    char: self => self.to_string(),
    String: self => self.as_str(),
    Cow<'_, str>: self => &**self,
    u8: self => self.to_string(),
    u16: self => self.to_string(),
    u32: self => self.to_string(),
    u64: self => self.to_string(),
    u128: self => self.to_string(),
    usize: self => self.to_string(),
    i8: self => self.to_string(),
    i16: self => self.to_string(),
    i32: self => self.to_string(),
    i64: self => self.to_string(),
    i128: self => self.to_string(),
    isize: self => self.to_string(),
}
