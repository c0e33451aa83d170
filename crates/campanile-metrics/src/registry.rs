//! The registry, in parts: what it holds (`inner`), and what it does.

mod buckets;
mod cardinality;
mod describe;
mod external;
mod families;
mod find;
mod handles;
mod inner;
mod read;
mod register;
mod schema;
mod self_metrics;
mod sweep;

pub use self::cardinality::FamilyCardinality;
pub(crate) use self::external::FamilySource;
pub(crate) use self::find::Lookup;
pub(crate) use self::inner::Refresh;
pub use self::inner::Registry;

#[cfg(test)]
mod tests;
