use std::borrow::Cow;

use crate::error::{BuildError, RegisterError};
use crate::kind::Kind;
use crate::name::{LabelText, labels, push, sanitised_label};

/// The labels of all series.
#[derive(Default)]
pub(crate) struct ConstantLabels {
    /// As they are exposed.
    pub(crate) text: String,
    labels: Vec<(String, String)>,
}

impl ConstantLabels {
    pub(crate) fn new(labels: Vec<(String, String)>) -> Result<Self, BuildError> {
        let invalid = |label: String| BuildError::ConstantLabel { label };
        let mut borrowed: Vec<_> = labels
            .iter()
            .map(|(name, value)| (Cow::Borrowed(name.as_str()), value.as_str()))
            .collect();
        let text =
            LabelText::new("", Kind::Histogram, &mut borrowed, usize::MAX).map_err(|error| {
                match error {
                    RegisterError::ReservedLabel { label, .. }
                    | RegisterError::DuplicateLabel { label, .. } => invalid(label),
                    other => invalid(other.to_string()),
                }
            })?;
        let text = text.text;
        for (name, value) in &labels {
            // `family` is a label of the registry's own.
            if sanitised_label(name) != *name || value.is_empty() || name == "family" {
                return Err(invalid(name.clone()));
            }
        }
        Ok(Self { text, labels })
    }

    /// Returns whether a series exposes this label without having it.
    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.value(name) == Some(value)
    }

    /// Returns the names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(name, value)| (&**name, &**value))
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        labels.find_map(|(of, value)| (of == name).then_some(value.as_str()))
    }

    /// Returns whether a series with these labels has one of the names itself.
    pub(crate) fn is_overridden(&self, text: &str) -> bool {
        let is_constant = |(name, _): (&str, _)| self.value(name).is_some();
        !self.labels.is_empty() && labels(text).any(is_constant)
    }

    /// Returns the labels that a series with these labels does not have itself, as they are
    /// exposed.
    pub(crate) fn without(&self, text: &str) -> String {
        let mut rest = String::new();
        for (name, value) in labels(&self.text) {
            if !labels(text).any(|(own, _)| own == name) {
                push(&mut rest, name, &value);
            }
        }
        rest
    }
}
