use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;

use tracing::Level;
use tracing::level_filters::LevelFilter;

use self::env::{Environment, is_service_name};
use crate::capture::Capture;
use crate::emit::Emitter;
use crate::filter::{LogFilter, directives};
use crate::layer::TelemetryLayer;
use crate::limit::Limit;
use crate::line::Format;
use crate::output::{Output, Sink};
use crate::recorder::FlightRecorder;
use crate::redact::Redaction;
use crate::schema::LogSchema;
use crate::{BuildError, InstallError, Problem, Telemetry, TelemetryGuard, Writer};

mod env;
#[cfg(feature = "otlp")]
mod exports;
#[cfg(feature = "otlp")]
mod otlp;

/// Settings of a [`Telemetry`].
///
/// | setting | default |
/// |---|---|
/// | [`version`](Self::version), [`environment`](Self::environment), [`instance`](Self::instance) | none |
/// | [`line_attributes`](Self::line_attributes) | none |
/// | [`format`](Self::format) | [`Format::Json`] |
/// | [`schema`](Self::schema) | [`LogSchema::Campanile`] |
/// | [`writer`](Self::writer) | [`Writer::stdout`] |
/// | [`writer_level`](Self::writer_level) | `TRACE` |
/// | [`output`](Self::output) | none |
/// | [`filter`](Self::filter) | `info` |
/// | [`redact`](Self::redact) | passwords, tokens, keys, cookies, sessions |
/// | [`redact_values`](Self::redact_values) | `true` |
/// | [`scrub`](Self::scrub) | none |
/// | [`max_waiting_bytes`](Self::max_waiting_bytes) | 8 MiB |
/// | [`rate_limit`](Self::rate_limit) | none |
/// | [`capture`](Self::capture) | none |
/// | [`flight_recorder`](Self::flight_recorder) | none |
/// | `otlp`, with feature `otlp` | none |
/// | `sampler`, with feature `otlp` | every root trace, and remote traces whose parent is sampled (`parentbased_always_on`) |
/// | `metric_source`, with feature `otlp` | none |
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` or `install` is called"]
pub struct TelemetryBuilder {
    service: String,
    version: Option<String>,
    environment: Option<String>,
    instance: Option<String>,
    format: Format,
    schema: LogSchema,
    writer: Writer,
    writer_level: LevelFilter,
    outputs: Vec<Output>,
    filter: Option<String>,
    redaction: Redaction,
    max_waiting_bytes: usize,
    rate_limit: Option<NonZeroU32>,
    capture: Option<Capture>,
    recorder: Option<FlightRecorder>,
    env: Environment,
    #[cfg(feature = "otel")]
    tracer: Option<crate::otel::Tracer>,
    line_attributes: Vec<String>,
    #[cfg(feature = "otlp")]
    exports: exports::Exports,
}

impl Telemetry {
    /// Creates a builder for the service with this name.
    pub fn builder(service: impl Into<String>) -> TelemetryBuilder {
        TelemetryBuilder::new(service.into())
    }
}

impl TelemetryBuilder {
    fn new(service: String) -> Self {
        Self {
            service,
            version: None,
            environment: None,
            instance: None,
            format: Format::Json,
            schema: LogSchema::Campanile,
            writer: Writer::stdout(),
            writer_level: LevelFilter::TRACE,
            outputs: Vec::new(),
            filter: None,
            redaction: Redaction::default(),
            max_waiting_bytes: 8 << 20,
            rate_limit: None,
            capture: None,
            recorder: None,
            env: Environment::default(),
            #[cfg(feature = "otel")]
            tracer: None,
            line_attributes: Vec::new(),
            #[cfg(feature = "otlp")]
            exports: exports::Exports::default(),
        }
    }

    /// Sets the version of the service, which every JSON line has.
    ///
    /// Defaults to none.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets the deployment environment, such as `production`, which every JSON line has.
    ///
    /// Defaults to none.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Sets the instance id of the service, which every JSON line has.
    ///
    /// Defaults to none.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Sets the keys of `OTEL_RESOURCE_ATTRIBUTES` that every JSON line has, such as
    /// `k8s.pod.name`, besides version, environment and instance. [`from_env`](Self::from_env)
    /// reads the attributes; missing ones are left out. An event field with the same key gets a
    /// trailing underscore. The limit is 32 keys; further ones are ignored.
    ///
    /// Defaults to none.
    pub fn line_attributes(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let keys = keys.into_iter().map(Into::into);
        self.line_attributes = keys.take(MAX_LINE_ATTRIBUTES).collect();
        self
    }

    /// Sets the format of lines.
    ///
    /// Defaults to [`Format::Json`].
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets the schema of JSON lines.
    ///
    /// Defaults to [`LogSchema::Campanile`].
    pub fn schema(mut self, schema: LogSchema) -> Self {
        self.schema = schema;
        self
    }

    /// Sets the writer of lines.
    ///
    /// Defaults to [`Writer::stdout`].
    pub fn writer(mut self, writer: Writer) -> Self {
        self.writer = writer;
        self
    }

    /// Sets the maximum level of lines that go to the [writer](Self::writer). Use it if an
    /// [output](Self::output) has more levels. The [filter](Self::filter) applies first.
    ///
    /// Defaults to [`LevelFilter::TRACE`].
    pub fn writer_level(mut self, level: LevelFilter) -> Self {
        self.writer_level = level;
        self
    }

    /// Adds an output: another writer with a format and a level. Each output has a thread and a
    /// queue of [`max_waiting_bytes`](Self::max_waiting_bytes). Warnings about settings and
    /// exports go to the [writer](Self::writer) only. The limit is 7 outputs.
    ///
    /// Defaults to none.
    pub fn output(mut self, output: Output) -> Self {
        self.outputs.push(output);
        self
    }

    /// Sets the filter of events, as `RUST_LOG` directives such as `info,orders=debug,hyper=warn`.
    /// It takes precedence over `RUST_LOG`.
    ///
    /// Defaults to `info`.
    pub fn filter(mut self, directives: impl Into<String>) -> Self {
        self.filter = Some(directives.into());
        self
    }

    /// Adds words that redact the value of a field whose name has one of them.
    ///
    /// Whole words are compared, ignoring case. A word ends at `_`, `.`, `-` and where the case
    /// changes: `iban` redacts `customer.iban` and `customerIban`. `card_number` redacts
    /// `cardNumber` and `card-number`, but not `card`.
    ///
    /// The added words redact values of every type. The default words redact strings, errors and
    /// formatted values, but not numbers and booleans, so that `max_tokens = 4096` and
    /// `password_reset = true` stay readable. [`redact_values`](Self::redact_values) redacts
    /// secrets inside of messages and of other values.
    ///
    /// The added words come on top of the default words: `access_key`, `api_key`, `auth`,
    /// `authorization`, `bearer`, `connection_string`, `cookie`, `cookies`, `credential`,
    /// `credentials`, `csrf`, `database_url`, `dsn`, `jwt`, `passphrase`, `passwd`, `password`,
    /// `passwords`, `private_key`, `pwd`, `secret`, `secrets`, `session`, `session_id`,
    /// `session_key`, `signing_key`, `token` and `xsrf`, and compounds such as `accesstoken`.
    pub fn redact(mut self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.redaction.add(words.into_iter().map(Into::into));
        self
    }

    /// Replaces the words of [`redact`](Self::redact), including the default ones. Passwords and
    /// tokens are then shown, unless their words are in the list.
    ///
    /// Defaults to the default words of [`redact`](Self::redact).
    pub fn redact_only(mut self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.redaction.replace(words.into_iter().map(Into::into));
        self
    }

    /// Sets whether secrets inside of messages and string values are replaced by `[redacted]`.
    /// Names match in upper and lower case. These are redacted:
    ///
    /// - the token in `Bearer <token>`, if it has a letter and a digit, or 16 bytes,
    /// - `user:password` in base64 in `Basic <token>`,
    /// - the password in a URL, such as `postgres://app:<password>@db/orders`,
    /// - the value in `name=value`, `name = value`, `name="value"`, `name: "value"`, `name =>
    ///   "value"` and `("name", "value")`, if the name ends with `password`, `passwd`, `pwd`,
    ///   `passphrase`, `secret`, `token`, `api_key`, `access_key`, `account_key`, `private_key`,
    ///   `secret_key`, `session_id`, `authorization`, `cookie`, `jwt`, `signature` or `sig`, also
    ///   with `-` or nothing in place of `_`. Without quotes the value ends at white space, `&` or
    ///   a quote,
    /// - the number in `"password":123456`, and the value in `password: value` if it has a letter
    ///   and a digit, or 16 bytes; also for `passwd`, `pwd`, `passphrase` and `secret`,
    /// - the rest of the line after the headers `Authorization:`, `Cookie:`, `Set-Cookie:` and
    ///   those that end with `Api-Key:` or `-Token:`. Only the next word is replaced after the
    ///   schemes `Basic`, `Bearer`, `Negotiate` and `Token`,
    /// - access key ids of AWS, `AKIA` and 16 letters and digits.
    ///
    /// These are shown:
    ///
    /// - `password: value` with another value, such as `password: too short`,
    /// - a header in lower case after a word, such as `invalid cookie: no name`, unless its value
    ///   looks like a secret, and messages such as `authorization: failed`,
    /// - short words in `unexpected token: "end"`, and numbers as in `max_token=4096`,
    /// - positions in a list, such as `next_token=abc`, `page_token` and `continuation_token`,
    /// - paths in `PWD=/srv`, and algorithms in `signature=sha256`,
    /// - `true`, `false`, `None`, `null`, placeholders such as `$1`, and comparisons with `==`,
    /// - all other strings. Add a [function](Self::scrub) for other secrets.
    ///
    /// The cost is one pass over each string.
    ///
    /// Defaults to `true`.
    pub fn redact_values(mut self, is_on: bool) -> Self {
        self.redaction.scrubber.is_on = is_on;
        self
    }

    /// Adds a function that redacts messages and string values. Functions are called in the order
    /// of the calls, with the key of the field (`message` for a message) and the string. A
    /// function returns the string to write, or `None` to keep it. The patterns of
    /// [`redact_values`](Self::redact_values) apply afterwards.
    ///
    /// The function runs on the logging thread for each string, so keep it fast. It gets at most
    /// 16 KiB. If it panics, the string is `[redacted]`. It is not called for events that it logs
    /// itself.
    ///
    /// ```
    /// use campanile_telemetry::Telemetry;
    ///
    /// let builder = Telemetry::builder("orders").scrub(|_key, text| {
    ///     // The keys of a payment provider.
    ///     text.contains("sk_live_").then(|| "[redacted]".to_owned())
    /// });
    /// # let _ = builder;
    /// ```
    ///
    /// Defaults to none.
    pub fn scrub(
        mut self,
        scrub: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.redaction.scrubber.add(scrub);
        self
    }

    /// Sets the size of the queue of each output in bytes. The minimum is 1 MiB. If the queue is
    /// full, lines are dropped and counted, and the log reports their number.
    ///
    /// Defaults to 8 MiB.
    pub fn max_waiting_bytes(mut self, max: usize) -> Self {
        self.max_waiting_bytes = max;
        self
    }

    /// Sets the maximum number of lines per second of each callsite, such as one `info!`, at every
    /// level. Further lines are dropped and counted in
    /// [`LogStats::suppressed`](crate::LogStats::suppressed). The next line of the callsite has
    /// their number in the field `suppressed`. The first 4,096 callsites are limited. The lines of
    /// [`HttpSpans`](crate::HttpSpans) are not limited.
    ///
    /// Defaults to no limit.
    pub fn rate_limit(mut self, lines_per_second: NonZeroU32) -> Self {
        self.rate_limit = Some(lines_per_second);
        self
    }

    /// Keeps the last lines in memory, for [`Telemetry::capture`].
    ///
    /// Defaults to none.
    pub fn capture(mut self, capture: Capture) -> Self {
        self.capture = Some(capture);
        self
    }

    /// Sets the flight recorder, which writes verbose events of requests that fail or are slow.
    ///
    /// Defaults to none.
    pub fn flight_recorder(mut self, recorder: FlightRecorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Sets the tracer provider, for an application with an OpenTelemetry pipeline. Spans then go
    /// to that provider, and [`otlp`](Self::otlp) exports no spans.
    ///
    /// An application with a layer of `tracing-opentelemetry` in its subscriber needs no provider
    /// here: [`HttpSpans`](crate::HttpSpans) uses that layer.
    ///
    /// Defaults to the provider of [`otlp`](Self::otlp).
    #[cfg(feature = "otel")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otel")))]
    pub fn tracer_provider(
        mut self,
        provider: &impl opentelemetry::global::ObjectSafeTracerProvider,
    ) -> Self {
        let scope = opentelemetry::InstrumentationScope::builder("campanile")
            .with_version(env!("CARGO_PKG_VERSION"));
        self.tracer = Some(crate::otel::Tracer::of_application(provider, scope.build()));
        self
    }

    /// Returns whether a collector is set, by the code or by the environment.
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    #[must_use]
    pub fn is_exporting(&self) -> bool {
        let env = &self.env.exports;
        env.is_on() || self.exports.is_on() && !env.is_disabled
    }

    /// Reads the environment. Settings of the code take precedence, whatever the order of the
    /// calls. Unset and empty variables change nothing.
    ///
    /// There are two exceptions. The name that [`Telemetry::builder`] takes is the default for
    /// `OTEL_SERVICE_NAME`, and `OTEL_SDK_DISABLED` stops every export.
    ///
    /// | variable | sets |
    /// |---|---|
    /// | `RUST_LOG` | the [filter](Self::filter) |
    /// | `OTEL_SERVICE_NAME`, or `service.name` of `OTEL_RESOURCE_ATTRIBUTES` | the service name |
    /// | `OTEL_RESOURCE_ATTRIBUTES` | the version, environment and instance on every line, by `service.version`, `deployment.environment.name` (or `deployment.environment`) and `service.instance.id`; others with [`line_attributes`](Self::line_attributes). All go to the collector |
    ///
    /// With feature `otlp`, in addition:
    ///
    /// | variable | default | sets |
    /// |---|---|---|
    /// | `OTEL_EXPORTER_OTLP_ENDPOINT` | none: nothing is exported | the collector |
    /// | `OTEL_EXPORTER_OTLP_{TRACES,LOGS,METRICS}_ENDPOINT` | the endpoint with `/v1/traces` and so on | the URL of one signal |
    /// | `OTEL_{TRACES,LOGS,METRICS}_EXPORTER` | `otlp` with an endpoint, or else `none` | the exporter of a signal: `otlp`, `console` (traces and metrics as JSON lines in the log), or `none` |
    /// | `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/protobuf` | the protocol; `grpc` needs feature `grpc` |
    /// | `OTEL_EXPORTER_OTLP_HEADERS` | none | `name=value,…`, with percent-encoded values |
    /// | `OTEL_EXPORTER_OTLP_TIMEOUT` | `10000` | the timeout of an attempt in milliseconds |
    /// | `OTEL_EXPORTER_OTLP_COMPRESSION` | `none` | the compression: `gzip` or `none` |
    /// | `OTEL_EXPORTER_OTLP_CERTIFICATE` | Mozilla's list | a PEM file with the trusted authorities |
    /// | `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`, `OTEL_EXPORTER_OTLP_CLIENT_KEY` | none | PEM files with the client certificate and its key |
    /// | `OTEL_EXPORTER_OTLP_INSECURE` | `false` | whether a gRPC endpoint without a scheme is plain text |
    /// | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | `parentbased_always_on` | the sampler |
    /// | `OTEL_BSP_*`, `OTEL_BLRP_*`: `SCHEDULE_DELAY`, `MAX_EXPORT_BATCH_SIZE`, `MAX_QUEUE_SIZE`, `EXPORT_TIMEOUT` | `5000` (`1000` for log records), `512`, 8 MiB, `30000` | the batches of spans, and of log records |
    /// | `OTEL_ATTRIBUTE_COUNT_LIMIT`, `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`, also with `OTEL_SPAN_` and `OTEL_LOGRECORD_` | `128`, no limit | the maximum number of attributes of a span or log record, and the maximum length of a string in characters |
    /// | `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_METRIC_EXPORT_TIMEOUT` | `60000`, `30000` | the interval and the timeout of metric exports in milliseconds |
    /// | `OTEL_SDK_DISABLED` | `false` | `true` stops every export |
    ///
    /// Variables of `OTEL_EXPORTER_OTLP_` can also be set for one signal, as the endpoint. Other
    /// OpenTelemetry variables are not read.
    ///
    /// An invalid variable is ignored, with a line in the log and in [`Telemetry::env_warnings`].
    /// If a certificate or key cannot be read, its signal is not exported.
    ///
    /// [`Telemetry::env_warnings`]: crate::Telemetry::env_warnings
    pub fn from_env(mut self) -> Self {
        self.env = Environment::read();
        self
    }

    /// Reads only `RUST_LOG`, the [filter](Self::filter). A filter of the code takes precedence.
    ///
    /// [`install`](Self::install) and [`from_env`](Self::from_env) read it anyway. Call this
    /// before [`build`](Self::build) in an application that has a subscriber.
    pub fn filter_from_env(mut self) -> Self {
        if !self.env.has_read_filter {
            self.env.read_filter(&|name| std::env::var(name).ok());
        }
        self
    }

    /// Opens the writers and starts the threads: `campanile-log` for each writer, and
    /// `campanile-otlp` if something is exported. No global state changes.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError`] with every invalid setting, and every writer and thread that cannot
    /// be opened or started.
    pub fn build(mut self) -> Result<Telemetry, BuildError> {
        let resource_attributes = self.apply_env();
        let mut problems = Vec::new();
        self.validate(&mut problems);
        let filter = self.log_filter(&mut problems);
        let values = [
            Some(&self.service),
            self.version.as_ref(),
            self.environment.as_ref(),
            self.instance.as_ref(),
        ];
        let values = values.map(|value| value.map(String::as_str));
        let attributes = self.line_attributes.iter().filter_map(|key| {
            let mut resource = resource_attributes.iter().rev();
            let (key, value) = resource.find(|(other, _)| other == key)?;
            Some((key.as_str(), value.as_str()))
        });
        let attributes: Vec<_> = attributes.collect();
        #[cfg(feature = "otlp")]
        let resource = self.resource(&resource_attributes);
        let first = Output::new(self.writer)
            .format(self.format)
            .schema(self.schema)
            .level(self.writer_level);
        let mut open = |output: Output| {
            let redaction = self.redaction.clone();
            let opened = output.open(values, &attributes, redaction, self.max_waiting_bytes);
            opened.map_err(|problem| problems.push(problem)).ok()
        };
        let first = open(first);
        let others: Arc<[_]> = self.outputs.into_iter().filter_map(open).collect();
        #[cfg_attr(
            not(feature = "otlp"),
            expect(unused_mut, reason = "nothing is exported")
        )]
        let mut env_warnings = self.env.warnings;
        #[cfg(feature = "otlp")]
        let plan = {
            let exports = match &self.tracer {
                Some(_) => self.exports.without_traces(),
                None => self.exports,
            };
            exports.plan(
                resource,
                self.redaction.clone(),
                first.as_ref(),
                &mut env_warnings,
                &mut problems,
            )
        };
        let (Some(filter), Some(first), []) = (filter, first, &*problems) else {
            return Err(BuildError::new(problems));
        };
        #[cfg(feature = "otlp")]
        let exporter = plan.map(exports::start).transpose();
        #[cfg(feature = "otlp")]
        let exporter = exporter.map_err(|problem| BuildError::new(vec![problem]))?;
        #[cfg(feature = "otel")]
        let tracer = self.tracer;
        #[cfg(feature = "otlp")]
        let tracer = tracer.or_else(|| exporter.as_ref()?.tracer().cloned());
        for warning in &env_warnings {
            let line = first.style.own_line("WARN", &warning.to_string());
            first.queue.push([&line, ""]);
        }
        let outputs = std::iter::once(&first).chain(&*others);
        let outputs = outputs.filter(|sink| sink.wants(Level::INFO));
        let notices: Vec<_> = outputs.map(Sink::notices).collect();
        filter.on_change(move |notice| notices.iter().for_each(|write| write(notice)));
        Ok(Telemetry {
            env_warnings: env_warnings.into(),
            layer: Arc::new(TelemetryLayer {
                keys: Arc::clone(&first.keys),
                recorder: self.recorder.map(Arc::new),
                filter: filter.clone(),
                is_alone: false,
                limit: self.rate_limit.map(|limit| Arc::new(Limit::new(limit))),
                #[cfg(feature = "otel")]
                tracer,
                #[cfg(feature = "otel")]
                dispatch: std::sync::OnceLock::new(),
                emitter: Emitter {
                    #[cfg(feature = "otlp")]
                    exporter,
                    capture: self.capture,
                    first,
                    others,
                },
            }),
            filter,
        })
    }

    /// Builds the telemetry with the filter of `RUST_LOG`, and [installs](Telemetry::install) it.
    ///
    /// # Errors
    ///
    /// Returns [`InstallError::Build`] as [`build`](Self::build) does, and [`InstallError::Taken`]
    /// if the process already has a subscriber.
    pub fn install(self) -> Result<TelemetryGuard, InstallError> {
        self.filter_from_env().build()?.install()
    }

    /// Adds the settings of the environment where the code has none. Returns the resource
    /// attributes that have no setter.
    fn apply_env(&mut self) -> Vec<(String, String)> {
        let env = &mut self.env;
        if let Some(service) = env.service.take() {
            self.service = service;
        }
        for (setting, variable) in [
            (&mut self.filter, &mut env.filter),
            (&mut self.version, &mut env.version),
            (&mut self.environment, &mut env.environment),
            (&mut self.instance, &mut env.instance),
        ] {
            *setting = setting.take().or(variable.take());
        }
        #[cfg(feature = "otlp")]
        self.exports
            .fill_missing_from(std::mem::take(&mut env.exports));
        std::mem::take(&mut env.resource)
    }

    fn validate(&self, problems: &mut Vec<Problem>) {
        if !is_service_name(&self.service) {
            let name = self.service.clone();
            problems.push(Problem::ServiceName { name });
        }
        if self.max_waiting_bytes < MIN_WAITING_BYTES {
            let given = self.max_waiting_bytes;
            problems.push(Problem::MaxWaitingBytes { given });
        }
        if self.outputs.len() > MAX_OUTPUTS {
            let given = self.outputs.len();
            problems.push(Problem::Outputs { given });
        }
    }

    fn log_filter(&self, problems: &mut Vec<Problem>) -> Option<LogFilter> {
        let invalid =
            |setting, directives: &str, error: Arc<dyn Error + Send + Sync>| Problem::Filter {
                setting,
                directives: directives.to_owned(),
                source: error,
            };
        let recorded = self.recorder.as_ref().and_then(|recorder| {
            let parsed = directives::parse(&recorder.filter);
            let setting = "flight recorder filter";
            let invalid = |error| invalid(setting, &recorder.filter, Arc::new(error));
            parsed.map_err(|error| problems.push(invalid(error))).ok()
        });
        let filter = self.filter.as_deref().unwrap_or("info");
        let parsed = LogFilter::new(filter, recorded);
        let invalid = |error| invalid("filter", filter, Arc::new(error));
        parsed.map_err(|error| problems.push(invalid(error))).ok()
    }
}

/// The minimum of `max_waiting_bytes`.
const MIN_WAITING_BYTES: usize = 1 << 20;

/// The limit of attributes of the environment on each line.
const MAX_LINE_ATTRIBUTES: usize = 32;

/// The limit of outputs besides the writer.
const MAX_OUTPUTS: usize = 7;
