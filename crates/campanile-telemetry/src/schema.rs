use std::borrow::Cow;

/// The names of the standard keys of a JSON line.
///
/// Elasticsearch reads dots in keys as objects. It rejects a line in which a key has a value and is
/// an object elsewhere. With [`Ecs`](Self::Ecs) and [`OpenTelemetry`](Self::OpenTelemetry) keys are
/// therefore changed:
///
/// - `error` is written as `error.message`.
/// - A key that is an object of the schemas gets a trailing underscore: `service` is written as
///   `service_`.
/// - Dots are kept below the objects of the schemas, such as `user.id` and
///   `http.request.header.accept`. Other dots become underscores: `order.id` is written as
///   `order_id`.
/// - A metadata field of Elasticsearch, such as `_id`, gets a trailing underscore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogSchema {
    /// `timestamp`, `level`, `target`, `message`, `service`, `version`, `environment`, `instance`,
    /// `trace_id`, `span_id`, `correlation_id`, `module`, `function`, `line`.
    #[default]
    Campanile,
    /// The Elastic Common Schema: `@timestamp`, `log.level`, `message`, `service.name`, `trace.id`
    /// and so on.
    Ecs,
    /// OpenTelemetry's log data model and semantic conventions: `timestamp`, `severity_text`,
    /// `body`, `service.name`, `trace_id` and so on.
    OpenTelemetry,
}

/// The keys of a schema.
#[derive(Debug)]
pub(crate) struct SchemaKeys {
    pub(crate) timestamp: &'static str,
    pub(crate) level: &'static str,
    pub(crate) target: &'static str,
    pub(crate) message: &'static str,
    pub(crate) service: &'static str,
    pub(crate) version: &'static str,
    pub(crate) environment: &'static str,
    pub(crate) instance: &'static str,
    pub(crate) trace_id: &'static str,
    pub(crate) span_id: &'static str,
    pub(crate) correlation_id: &'static str,
    pub(crate) module: &'static str,
    pub(crate) function: &'static str,
    pub(crate) line: &'static str,
    /// The key and the value of the schema version, if lines have it.
    pub(crate) version_of_schema: Option<(&'static str, &'static str)>,
    /// The keys that are objects; `None` if dots have no meaning.
    objects: Option<&'static [&'static str]>,
}

impl LogSchema {
    pub(crate) fn keys(self) -> &'static SchemaKeys {
        match self {
            Self::Campanile => &CAMPANILE,
            Self::Ecs => &ECS,
            Self::OpenTelemetry => &OPEN_TELEMETRY,
        }
    }
}

impl SchemaKeys {
    fn own(&self) -> [&'static str; 14] {
        [
            self.timestamp,
            self.level,
            self.target,
            self.message,
            self.service,
            self.version,
            self.environment,
            self.instance,
            self.trace_id,
            self.span_id,
            self.correlation_id,
            self.module,
            self.function,
            self.line,
        ]
    }

    /// Returns whether a key is a standard key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.own().contains(&key)
            || self
                .version_of_schema
                .is_some_and(|(schema, _)| schema == key)
    }

    /// Returns the key that a line has for a field's key.
    ///
    /// The result depends on the key alone, so that all lines agree: a part before a dot is an
    /// object, and a key without a further dot is not.
    pub(crate) fn named<'a>(&self, key: &'a str) -> Cow<'a, str> {
        let Some(objects) = self.objects else {
            return key.into();
        };
        if key == "error" {
            return "error.message".into();
        }
        let is_object = |key: &str| objects.contains(&key);
        let dots = key.match_indices('.').map(|(dot, _)| dot);
        let last = dots.take_while(|dot| is_object(&key[..*dot])).last();
        let (object, field) = key.split_at(last.map_or(0, |dot| dot + 1));
        let is_blank = field.trim().is_empty();
        if !is_blank && !field.contains('.') && !is_object(key) && !METADATA.contains(&key) {
            return key.into();
        }
        let mut name = format!("{object}{}", field.replace('.', "_"));
        if is_blank || is_object(&name) || METADATA.contains(&&*name) {
            name.push('_');
        }
        name.into()
    }
}

/// The metadata fields of Elasticsearch, which no document may have.
const METADATA: [&str; 10] = [
    "_doc_count",
    "_field_names",
    "_id",
    "_ignored",
    "_index",
    "_meta",
    "_routing",
    "_size",
    "_source",
    "_tier",
];

/// The keys that are objects in the Elastic Common Schema or in OpenTelemetry's semantic
/// conventions.
static OBJECTS: [&str; 110] = [
    "aws",
    "aws.ecs",
    "aws.s3",
    "azure",
    "client",
    "client.geo",
    "cloud",
    "cloud.account",
    "code",
    "code.file",
    "code.function",
    "code.line",
    "container",
    "container.image",
    "db",
    "db.collection",
    "db.operation",
    "db.operation.parameter",
    "db.query",
    "db.query.parameter",
    "db.response",
    "db.system",
    "deployment",
    "deployment.environment",
    "destination",
    "ecs",
    "enduser",
    "error",
    "event",
    "exception",
    "faas",
    "feature_flag",
    "feature_flag.result",
    "file",
    "gcp",
    "gen_ai",
    "gen_ai.request",
    "gen_ai.response",
    "gen_ai.usage",
    "geo",
    "graphql",
    "graphql.operation",
    "host",
    "host.os",
    "http",
    "http.request",
    "http.request.body",
    "http.request.header",
    "http.response",
    "http.response.body",
    "http.response.header",
    "k8s",
    "k8s.cluster",
    "k8s.container",
    "k8s.deployment",
    "k8s.namespace",
    "k8s.node",
    "k8s.pod",
    "labels",
    "log",
    "log.file",
    "log.origin",
    "log.origin.file",
    "messaging",
    "messaging.client",
    "messaging.consumer",
    "messaging.consumer.group",
    "messaging.destination",
    "messaging.destination.partition",
    "messaging.kafka",
    "messaging.kafka.message",
    "messaging.message",
    "messaging.message.body",
    "messaging.operation",
    "messaging.rabbitmq",
    "network",
    "network.local",
    "network.peer",
    "network.protocol",
    "organization",
    "process",
    "process.executable",
    "process.parent",
    "process.thread",
    "rpc",
    "rpc.grpc",
    "rpc.request",
    "rpc.request.metadata",
    "rpc.response",
    "rpc.response.metadata",
    "rpc.system",
    "server",
    "service",
    "service.instance",
    "service.node",
    "source",
    "span",
    "telemetry",
    "telemetry.sdk",
    "thread",
    "tls",
    "tls.client",
    "tls.server",
    "trace",
    "transaction",
    "url",
    "user",
    "user.geo",
    "user_agent",
    "user_agent.os",
];

static CAMPANILE: SchemaKeys = SchemaKeys {
    timestamp: "timestamp",
    level: "level",
    target: "target",
    message: "message",
    service: "service",
    version: "version",
    environment: "environment",
    instance: "instance",
    trace_id: "trace_id",
    span_id: "span_id",
    correlation_id: "correlation_id",
    module: "module",
    function: "function",
    line: "line",
    version_of_schema: None,
    objects: None,
};

static ECS: SchemaKeys = SchemaKeys {
    timestamp: "@timestamp",
    level: "log.level",
    target: "log.logger",
    message: "message",
    service: "service.name",
    version: "service.version",
    environment: "service.environment",
    instance: "service.node.name",
    trace_id: "trace.id",
    span_id: "span.id",
    correlation_id: "labels.correlation_id",
    module: "labels.module",
    function: "log.origin.function",
    line: "log.origin.file.line",
    version_of_schema: Some(("ecs.version", "8.11.0")),
    objects: Some(&OBJECTS),
};

static OPEN_TELEMETRY: SchemaKeys = SchemaKeys {
    timestamp: "timestamp",
    level: "severity_text",
    target: "target",
    message: "body",
    service: "service.name",
    version: "service.version",
    environment: "deployment.environment.name",
    instance: "service.instance.id",
    trace_id: "trace_id",
    span_id: "span_id",
    correlation_id: "correlation_id",
    module: "module",
    function: "function",
    line: "code.line.number",
    version_of_schema: None,
    objects: Some(&OBJECTS),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_below_an_object_keep_their_dots() {
        #[track_caller]
        fn check(key: &str, expected: &str) {
            for names in [&ECS, &OPEN_TELEMETRY] {
                assert_eq!(names.named(key), expected, "{key:?}");
            }
            assert_eq!(CAMPANILE.named(key), key);
        }
        check("error", "error.message");
        check("error.type", "error.type");
        check("error.", "error._");
        check("error..x", "error._x");
        check("service", "service_");
        check("http.request", "http.request_");
        check(
            "http.request.header.x-api-key",
            "http.request.header.x-api-key",
        );
        check("user.id", "user.id");
        check("user.id.kind", "user.id_kind");
        check("order.id", "order_id");
        check("order", "order");
        check(".a.", "_a_");
        check(" ", " _");
        check("", "_");
        check("_id", "_id_");
    }

    #[test]
    fn own_keys_are_below_objects_and_are_none() {
        let fields = [
            "http.request.method",
            "http.response.status_code",
            "http.response.body.size",
            "http.route",
            "url.path",
            "url.full",
            "url.scheme",
            "error.type",
            "rpc.system.name",
            "rpc.method",
            "rpc.status_code",
            "server.address",
            "server.port",
            "db.system.name",
            "db.operation.name",
            "db.collection.name",
            "code.function.name",
        ];
        for names in [&ECS, &OPEN_TELEMETRY] {
            let schema = names.version_of_schema.map(|(key, _)| key);
            for key in names.own().into_iter().chain(schema).chain(fields) {
                assert_eq!(names.named(key), key);
            }
        }
        for object in OBJECTS {
            let parent = object.rsplit_once('.').map(|(parent, _)| parent);
            assert!(
                parent.is_none_or(|parent| OBJECTS.contains(&parent)),
                "{object}"
            );
        }
    }
}
