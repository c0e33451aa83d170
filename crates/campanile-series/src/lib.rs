//! Label sets, matchers, samples and durations in Prometheus' syntax, which rules, SLOs, queries
//! and silences share.
//!
//! ```
//! use std::time::Duration;
//!
//! use campanile_series::{LabelSet, Matcher, format_duration, parse_duration};
//!
//! let labels = LabelSet::new([("severity", "critical"), ("alertname", "QueueBacklog")])?;
//! assert_eq!(labels.to_string(), r#"{alertname="QueueBacklog", severity="critical"}"#);
//!
//! let matchers = Matcher::parse_all(r#"{severity=~"high|critical", team!="ops"}"#)?;
//! assert!(matchers.iter().all(|matcher| matcher.matches(&labels)));
//!
//! assert_eq!(parse_duration("1h30m")?, Duration::from_secs(5_400));
//! assert_eq!(format_duration(Duration::from_secs(5_400)), "1h30m");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate does no IO. Only [`Now::system`] reads a clock.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod duration;
mod labels;
mod matcher;
mod now;
mod pattern;
mod sample;

pub use self::duration::{DurationError, format_duration, parse_duration};
pub use self::labels::{Fingerprint, LabelError, LabelSet};
pub use self::matcher::{MatchOp, Matcher, MatcherError};
pub use self::now::Now;
pub use self::pattern::PatternError;
pub use self::sample::Sample;
