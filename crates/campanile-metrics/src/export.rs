//! Snapshots, scrape responses and other ways out of a registry.

pub use crate::beside::Source;
pub use crate::encode::CONTENT_TYPE;
pub use crate::registry::FamilyCardinality;
pub use crate::scrape::{RegistryService, ScrapeBody};
pub use crate::snapshot::{
    Exemplar, FamilySnapshot, HistogramSnapshot, SeriesSnapshot, Snapshot, SummarySnapshot,
};
