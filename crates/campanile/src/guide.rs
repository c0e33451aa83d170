//! A page for each question of who measures their own code, and promises something of it.
//!
//! - [Time a function, a piece of code, or a future](time_a_function)
//! - [Count what is going on: connections, jobs, queues](count_what_goes_on)
//! - [Count money, and other things that add up](count_money)
//! - [Label by tenant, user or product without an explosion](label_by_tenant)
//! - [Show business figures that come from a database](show_business_figures)
//! - [Watch what you depend on: databases, caches, HTTP](watch_what_you_depend_on)
//! - [Call other services](call_other_services)
//! - [Promise a service level, and hear early that it is in danger](promise_a_service_level)
//! - [Serve with `axum::serve`, tonic or hyper](serve_yourself)
//! - [Join the traces of OpenTelemetry](join_opentelemetry)
//! - [Keep `metrics-exporter-prometheus`](keep_your_exporter)
//! - [See the process, the machine, the runtime, and what observing costs](see_the_machine)

#[doc = include_str!("guide/time_a_function.md")]
pub mod time_a_function {}

#[doc = include_str!("guide/count_what_goes_on.md")]
pub mod count_what_goes_on {}

#[doc = include_str!("guide/count_money.md")]
pub mod count_money {}

#[doc = include_str!("guide/label_by_tenant.md")]
pub mod label_by_tenant {}

#[doc = include_str!("guide/show_business_figures.md")]
pub mod show_business_figures {}

#[doc = include_str!("guide/watch_what_you_depend_on.md")]
pub mod watch_what_you_depend_on {}

#[doc = include_str!("guide/call_other_services.md")]
pub mod call_other_services {}

#[doc = include_str!("guide/promise_a_service_level.md")]
pub mod promise_a_service_level {}

#[doc = include_str!("guide/serve_yourself.md")]
pub mod serve_yourself {}

#[doc = include_str!("guide/join_opentelemetry.md")]
pub mod join_opentelemetry {}

#[doc = include_str!("guide/keep_your_exporter.md")]
pub mod keep_your_exporter {}

#[doc = include_str!("guide/see_the_machine.md")]
pub mod see_the_machine {}
