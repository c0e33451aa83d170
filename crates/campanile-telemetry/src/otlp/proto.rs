//! Values that are the same in the messages of all signals.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope as ProtoScope, KeyValue, any_value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// The instrumentation scope of all exported items.
const SCOPE: &str = "campanile";

pub(super) fn scope() -> InstrumentationScope {
    let scope = InstrumentationScope::builder(SCOPE);
    scope.with_version(env!("CARGO_PKG_VERSION")).build()
}

pub(super) fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_nanos() as u64
}

/// Returns attributes with string values.
pub(super) fn attributes<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<KeyValue> {
    let pair = |(key, value): (&str, &str)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    };
    pairs.into_iter().map(pair).collect()
}

/// Returns the resource as a Protocol Buffers message.
pub(super) fn proto_resource(resource: &[(String, String)]) -> Resource {
    let pairs = resource.iter().map(|(key, value)| (&**key, &**value));
    Resource {
        attributes: attributes(pairs),
        ..Resource::default()
    }
}

pub(super) fn proto_scope() -> ProtoScope {
    ProtoScope {
        name: SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..ProtoScope::default()
    }
}

/// A placeholder endpoint for the SDK exporters, which [`Transport`](super::transport::Transport)
/// replaces. Without an endpoint they would read the environment.
pub(super) const NOWHERE: &str = "http://collector.invalid";
