use crate::number;
use crate::scrub::Scrubber;

/// The value of a field of [`note`](crate::note).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// A string.
    Text(String),
    /// A signed integer.
    Signed(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A floating-point number.
    Float(f64),
    /// A boolean.
    Bool(bool),
}

impl FieldValue {
    /// Returns the OpenTelemetry attribute. An integer above `i64::MAX` becomes a string.
    #[cfg(feature = "otel")]
    pub(crate) fn attribute(&self, key: &'static str) -> opentelemetry::KeyValue {
        use opentelemetry::{KeyValue, Value};
        let value: Value = match self {
            Self::Text(text) => text.clone().into(),
            Self::Signed(value) => (*value).into(),
            Self::Unsigned(value) => match i64::try_from(*value) {
                Ok(value) => value.into(),
                Err(_) => value.to_string().into(),
            },
            Self::Float(value) => (*value).into(),
            Self::Bool(value) => (*value).into(),
        };
        KeyValue::new(key, value)
    }

    /// Writes the value as JSON.
    pub(crate) fn write(&self, scrubber: &Scrubber, key: &str, out: &mut String) {
        match self {
            Self::Text(text) => {
                out.push('"');
                scrubber.write(key, out, |out| out.write_str(text));
                out.push('"');
            }
            Self::Signed(value) => number::signed(*value, out),
            Self::Unsigned(value) => number::unsigned(*value, out),
            Self::Float(value) => number::float(*value, out),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident)*) => {
        $(
            impl From<$type> for FieldValue {
                fn from(value: $type) -> Self {
                    Self::$variant(value.into())
                }
            }
        )*
    };
}

from! {
    &str => Text
    String => Text
    i32 => Signed
    i64 => Signed
    u16 => Unsigned
    u32 => Unsigned
    u64 => Unsigned
    f64 => Float
    bool => Bool
}

/// The value of an attribute of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fact<'a> {
    Static(&'static str),
    Text(&'a str),
    Number(i64),
}
