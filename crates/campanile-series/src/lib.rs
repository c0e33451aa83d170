//! Labels, matchers, samples, durations and moments: the words that rules, objectives, queries and silences share, and nothing
//! else. Where Prometheus has a form for one, it is that.
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
//! It does no IO and reads no clock.
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
