/// What the keys of a line's own fields are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldNames {
    /// `timestamp level target message service version environment instance trace_id span_id correlation_id module function line`.
    #[default]
    Campanile,
    /// Those of the Elastic Common Schema: `@timestamp log.level message service.name trace.id …`.
    Ecs,
    /// Those of OpenTelemetry's log data model and semantic conventions: `timestamp severity_text body service.name trace_id …`.
    OpenTelemetry,
}

/// The names of one of them.
#[derive(Debug)]
pub(crate) struct Names {
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
    /// The key and the version of the schema, if lines name it.
    pub(crate) schema: Option<(&'static str, &'static str)>,
}

impl FieldNames {
    pub(crate) fn names(self) -> &'static Names {
        match self {
            Self::Campanile => &CAMPANILE,
            Self::Ecs => &ECS,
            Self::OpenTelemetry => &OPEN_TELEMETRY,
        }
    }
}

impl Names {
    /// Returns whether a key is one of a line's own.
    pub(crate) fn has(&self, key: &str) -> bool {
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
        .contains(&key)
            || self.schema.is_some_and(|(schema, _)| schema == key)
    }
}

static CAMPANILE: Names = Names {
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
    schema: None,
};

static ECS: Names = Names {
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
    schema: Some(("ecs.version", "8.11.0")),
};

static OPEN_TELEMETRY: Names = Names {
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
    schema: None,
};
