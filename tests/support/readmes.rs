//! The examples of the crates' READMEs, as doc tests.

#[doc = include_str!("../../crates/campanile-alerts/README.md")]
struct Alerts;

#[doc = include_str!("../../crates/campanile-client/README.md")]
struct Client;

#[doc = include_str!("../../crates/campanile-correlation/README.md")]
struct Correlation;

#[doc = include_str!("../../crates/campanile-health/README.md")]
struct Health;

#[doc = include_str!("../../crates/campanile-http/README.md")]
struct Http;

#[doc = include_str!("../../crates/campanile-macros/README.md")]
struct Macros;

#[doc = include_str!("../../crates/campanile-metrics/README.md")]
struct Metrics;

#[doc = include_str!("../../crates/campanile-monitor/README.md")]
struct Monitor;

#[doc = include_str!("../../crates/campanile-series/README.md")]
struct Series;

#[doc = include_str!("../../crates/campanile-sla/README.md")]
struct Sla;

#[doc = include_str!("../../crates/campanile-store/README.md")]
struct Store;

#[doc = include_str!("../../crates/campanile-system/README.md")]
struct System;

#[doc = include_str!("../../crates/campanile-telemetry/README.md")]
struct Telemetry;
