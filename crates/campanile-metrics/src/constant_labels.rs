use std::borrow::Cow;

use crate::error::{BuildProblem, RegisterError};
use crate::kind::Kind;
use crate::name::{LabelText, labels, push, sanitised_label};

/// The labels that all series have in an exposition.
#[derive(Default)]
pub(crate) struct ConstantLabels {
    /// The labels as they are exposed.
    pub(crate) text: String,
    labels: Vec<(String, String)>,
}

impl ConstantLabels {
    pub(crate) fn new(labels: Vec<(String, String)>) -> Result<Self, BuildProblem> {
        let invalid = |label: String, source| BuildProblem::ConstantLabel { label, source };
        let mut borrowed: Vec<_> = labels
            .iter()
            .map(|(name, value)| (Cow::Borrowed(name.as_str()), value.as_str()))
            .collect();
        let text = LabelText::new("", Kind::Histogram, &mut borrowed, usize::MAX);
        let text = text.map_err(|error| match &error {
            RegisterError::ReservedLabel { label, .. }
            | RegisterError::DuplicateLabel { label, .. } => invalid(label.clone(), Some(error)),
            _ => invalid(String::new(), Some(error)),
        })?;
        let text = text.text;
        for (name, value) in &labels {
            // The registry's own metrics have the label `family`.
            if sanitised_label(name) != *name || value.is_empty() || name == "family" {
                return Err(invalid(name.clone(), None));
            }
        }
        Ok(Self { text, labels })
    }

    /// Returns whether all series have this label in an exposition.
    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.value(name) == Some(value)
    }

    /// Returns the names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(name, value)| (&**name, &**value))
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        labels.find_map(|(label, value)| (label == name).then_some(value.as_str()))
    }

    /// Returns whether one of these labels has the name of a constant label.
    pub(crate) fn is_overridden(&self, text: &str) -> bool {
        let is_constant = |(name, _): (&str, _)| self.value(name).is_some();
        !self.labels.is_empty() && labels(text).any(is_constant)
    }

    /// Returns the constant labels whose names are not among these labels, as they are exposed.
    pub(crate) fn without(&self, text: &str) -> String {
        let mut rest = String::new();
        for (name, value) in labels(&self.text) {
            if !labels(text).any(|(label, _)| label == name) {
                push(&mut rest, name, &value);
            }
        }
        rest
    }
}
