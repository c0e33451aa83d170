use serde::{Serialize, Serializer};

/// The value of a [detail](crate::Outcome::detail).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A string.
    String(String),
    /// An integer. In JSON, an absolute value above 2^53 is a string, since a float cannot hold it.
    Integer(i64),
    /// A float. In JSON, a value that is not finite is `null`.
    Float(f64),
    /// A boolean.
    Bool(bool),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::String(text) => serializer.serialize_str(text),
            Self::Integer(number) if number.unsigned_abs() > 1 << f64::MANTISSA_DIGITS => {
                serializer.collect_str(number)
            }
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
        }
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl From<$integer> for Value {
            /// A larger integer becomes `i64::MAX`.
            fn from(value: $integer) -> Self {
                Self::Integer(value.try_into().unwrap_or(i64::MAX))
            }
        })*
    };
}

integers!(i32, i64, u16, u32, u64, usize);
