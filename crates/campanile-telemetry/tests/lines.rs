//! What the log says of spans and events, and what nothing that is logged can make it say.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::time::Duration;

use campanile_correlation::{Correlation, CorrelationId, TraceContext, TraceState};
use campanile_telemetry::{
    Capture, Format, LogSchema, Sensitive, Telemetry, TelemetryBuilder, Writer,
};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;

use self::memory::Memory;

mod memory;

/// A JSON object that has no key twice.
#[derive(Debug)]
struct Line(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut all = Vec::<(String, Value)>::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    assert!(
                        all.iter().all(|(other, _)| *other != key),
                        "{key} is there twice"
                    );
                    assert!(!value.is_object() && !value.is_array(), "{key} is nested");
                    all.push((key, value));
                }
                Ok(Line(all))
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

impl Line {
    #[track_caller]
    fn get(&self, key: &str) -> &Value {
        let found = self.0.iter().find(|(other, _)| other == key);
        found.map_or(&Value::Null, |(_, value)| value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(key, _)| key.as_str()).collect()
    }
}

/// Returns the text that a function logs.
fn text(builder: TelemetryBuilder, function: impl FnOnce()) -> String {
    let memory = Memory::default();
    let telemetry = builder.writer(Writer::new(memory.clone())).build().unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.filter())
        .with(telemetry.layer());
    tracing::subscriber::with_default(subscriber, function);
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    memory.take()
}

/// Waits until something holds.
fn eventually(holds: impl Fn() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "the test goes by the clock")]
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
}

fn lines(function: impl FnOnce()) -> Vec<Line> {
    let text = text(Telemetry::builder("test"), function);
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn lines_are_flat_and_each_key_is_there_once() {
    let lines = lines(|| {
        let outer = tracing::info_span!("outer", a = 1, b = "outer", late = tracing::field::Empty);
        let _outer = outer.enter();
        let _inner = tracing::info_span!("inner", b = "inner", c = true).entered();
        outer.record("late", 7);
        outer.record("a", 2);
        tracing::warn!(c = 0.5, d = ?Some("x"), e = %"y", "hello {}", "there");
        tracing::info!(b = "event");
    });
    assert_eq!(lines.len(), 2);
    let line = &lines[0];
    assert_eq!(
        line.keys(),
        [
            "timestamp",
            "level",
            "target",
            "message",
            "service",
            "module",
            "function",
            "line",
            "c",
            "d",
            "e",
            "b",
            "a",
            "late"
        ]
    );
    for (key, value) in [
        ("level", Value::from("WARN")),
        ("message", "hello there".into()),
        ("service", "test".into()),
        ("target", module_path!().into()),
        ("function", "inner".into()),
        ("c", 0.5.into()),
        ("d", "Some(\"x\")".into()),
        ("e", "y".into()),
        ("b", "inner".into()),
        ("a", 2.into()),
        ("late", 7.into()),
    ] {
        assert_eq!(*line.get(key), value, "{key}");
    }
    assert!(line.get("line").as_u64().unwrap() > 1);
    let timestamp = line.get("timestamp").as_str().unwrap();
    assert!(
        timestamp.len() == 27 && timestamp.ends_with('Z'),
        "{timestamp}"
    );
    assert_eq!(*lines[1].get("b"), "event");
    assert_eq!(*lines[1].get("message"), "");
}

#[test]
fn nothing_that_is_logged_takes_the_place_of_a_lines_own_fields() {
    let lines = lines(|| {
        let span = tracing::info_span!("span", level = "FAKE", service = "FAKE", trace_id = "FAKE");
        let _span = span.entered();
        tracing::info!(
            level = "FAKE",
            level_ = "mine",
            timestamp = 0,
            target = "FAKE",
            correlation_id = "FAKE",
            module = "FAKE",
            function = "FAKE",
            line = 0,
            "true"
        );
    });
    let line = &lines[0];
    for (key, value) in [
        ("level", "INFO"),
        ("level_", "FAKE"),
        ("level__", "mine"),
        ("message", "true"),
        ("service", "test"),
        ("service_", "FAKE"),
        ("target", module_path!()),
        ("target_", "FAKE"),
        ("module", module_path!()),
        ("function", "span"),
        ("function_", "FAKE"),
        ("correlation_id_", "FAKE"),
        ("trace_id_", "FAKE"),
    ] {
        assert_eq!(*line.get(key), value, "{key} of {line:?}");
    }
    assert_eq!(*line.get("timestamp_"), 0);
    assert_eq!(*line.get("correlation_id"), Value::Null);
    assert_eq!(*line.get("trace_id"), Value::Null);
}

#[test]
fn no_format_lets_a_line_be_forged() {
    let evil: String = (0..=0x9f)
        .chain([0x61c, 0x2028, 0x2029, 0x202e, 0x2066, 0xfeff])
        .filter_map(char::from_u32)
        .collect();
    let evil = &format!("x\nERROR forged\u{1b}[2J{evil}");
    for format in [Format::Json, Format::Compact, Format::Pretty] {
        let builder = Telemetry::builder("test").format(format);
        let text = text(builder, || {
            let span = tracing::info_span!("span", a = %evil, b = evil, c = ?evil);
            let _span = span.entered();
            tracing::info!(d = %evil, e = evil, f = ?evil, "{evil}");
        });
        let is_bad = |char: char| {
            let is_break = char == '\n';
            (char.is_control() && !is_break)
                || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!text.contains(is_bad), "{format:?}: {text:?}");
        // The format's own: one for the line, and in a pretty one for each of six fields.
        let breaks = if format == Format::Pretty { 7 } else { 1 };
        assert_eq!(text.lines().count(), breaks, "{format:?}: {text}");
        assert!(
            !text
                .lines()
                .any(|line| line.trim_start().starts_with("ERROR"))
        );
        if format == Format::Json {
            let line: Line = serde_json::from_str(&text).unwrap();
            assert_eq!(*line.get("e"), evil.as_str());
            assert_eq!(*line.get("message"), evil.as_str());
        }
    }
}

#[test]
fn values_are_what_json_can_hold() {
    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("can't connect")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    let error = Outer(io::Error::other("refused"));
    let long = "é".repeat(20_000);
    let lines = lines(|| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            nan = f64::NAN,
            infinite = f64::INFINITY,
            float = 1e300,
            unsigned = u64::MAX,
            signed = i64::MIN,
            exact = 1_u64 << 53,
            long = long.as_str(),
            password = "hunter2",
            db_token = 7,
            card = %Sensitive::new("4111"),
        );
    });
    let line = &lines[0];
    for (key, value) in [
        ("error", Value::from("can't connect: refused")),
        ("nan", Value::Null),
        ("infinite", Value::Null),
        ("float", 1e300.into()),
        ("unsigned", "18446744073709551615".into()),
        ("signed", "-9223372036854775808".into()),
        ("exact", (1_u64 << 53).into()),
        ("password", "[redacted]".into()),
        ("db_token", 7.into()),
        ("card", "[redacted]".into()),
    ] {
        assert_eq!(*line.get(key), value, "{key}");
    }
    let shown = line.get("long").as_str().unwrap();
    assert!(shown.len() < 20_000 && shown.ends_with('…'));
}

#[test]
fn a_value_that_logs_while_it_is_formatted_does_no_harm() {
    struct Logs;

    impl fmt::Debug for Logs {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            tracing::info!(inner = 1, "from within");
            f.write_str("formatted")
        }
    }

    let lines = lines(|| {
        let span = tracing::info_span!("span", field = ?Logs, late = tracing::field::Empty);
        let _span = span.enter();
        span.record("late", tracing::field::debug(&Logs));
        tracing::info!(value = ?Logs, "outer");
    });
    let last = lines.last().unwrap();
    assert_eq!(*last.get("message"), "outer");
    assert_eq!(*last.get("value"), "formatted");
    assert_eq!(*last.get("field"), "formatted");
    assert_eq!(*last.get("late"), "formatted");
    assert_eq!(*last.get("inner"), Value::Null);
}

#[test]
fn ids_are_at_the_root_and_names_can_be_others() {
    let id: CorrelationId = "checkout-42".parse().unwrap();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace = TraceContext::new(parent.parse().unwrap(), TraceState::default());
    let correlation = Correlation::from(id).with_trace(trace);
    for (names, trace_id, span_id, correlation_id, level, service) in [
        (
            LogSchema::Campanile,
            "trace_id",
            "span_id",
            "correlation_id",
            "level",
            "service",
        ),
        (
            LogSchema::Ecs,
            "trace.id",
            "span.id",
            "labels.correlation_id",
            "log.level",
            "service.name",
        ),
        (
            LogSchema::OpenTelemetry,
            "trace_id",
            "span_id",
            "correlation_id",
            "severity_text",
            "service.name",
        ),
    ] {
        let builder = Telemetry::builder("shop")
            .version("1.2")
            .environment("test");
        let text = text(builder.instance("a-1").schema(names), || {
            correlation.clone().enter(|| tracing::info!("hello"));
        });
        let line: Line = serde_json::from_str(&text).unwrap();
        assert_eq!(*line.get(trace_id), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(*line.get(span_id), "b7ad6b7169203331");
        assert_eq!(*line.get(correlation_id), "checkout-42");
        assert_eq!(*line.get(level), "INFO");
        assert_eq!(*line.get(service), "shop");
        assert_eq!(
            line.0.iter().filter(|(_, value)| *value == "1.2").count(),
            1
        );
    }
}

#[test]
fn filters_and_settings_are_checked() {
    let builder = || Telemetry::builder("test").writer(Writer::new(io::sink()));
    let error = |builder: TelemetryBuilder| builder.build().unwrap_err().to_string();
    assert!(error(builder().filter("a=b=c")).contains("invalid filter \"a=b=c\""));
    assert!(
        error(builder().max_waiting_bytes(1))
            .contains("max_waiting_bytes 1: expected at least 1048576")
    );
    assert!(error(Telemetry::builder("")).contains("service name"));
    let file = builder().writer(Writer::file("/no/such/folder/log"));
    assert!(error(file).contains("/no/such/folder/log"));
    let text = text(builder().filter("warn"), || {
        tracing::info!("quiet");
        tracing::warn!("loud");
    });
    assert!(text.contains("loud") && !text.contains("quiet"));
}

#[test]
fn what_is_logged_can_be_changed_for_a_time() {
    let memory = Memory::default();
    let builder = Telemetry::builder("test").filter("warn");
    let telemetry = builder.writer(Writer::new(memory.clone())).build().unwrap();
    let filter = telemetry.filter();
    let text = RefCell::new(String::new());
    telemetry.in_scope(|| {
        // One place in the program, so that what was found out about it has to be forgotten.
        let log = |name: &str| tracing::debug!("{name}");
        log("one");
        filter
            .override_for("debug", Duration::from_secs(3_600))
            .unwrap();
        log("two");
        let error = filter.override_for("a=b=c", Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("invalid directives \"a=b=c\""));
        log("three");
        filter.reset();
        log("four");
        filter.override_for("off", Duration::ZERO).unwrap();
        // It falls back without an event.
        eventually(|| tracing::enabled!(tracing::Level::WARN));
        eventually(|| {
            text.borrow_mut().push_str(&memory.take());
            text.borrow().contains("ended")
        });
        log("five");
        tracing::warn!("six");
    });
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = text.into_inner() + &memory.take();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let messages: Vec<_> = lines.map(|line: Value| line["message"].clone()).collect();
    let expected = [
        "log filter set to \"debug\" for 3600s",
        "two",
        "three",
        "log filter reset to \"warn\"",
        "log filter set to \"off\" for 0ns",
        "temporary log filter ended: it is now \"warn\"",
        "six",
    ];
    assert_eq!(messages, expected);
}

#[test]
fn one_request_can_be_followed_closely() {
    let memory = Memory::default();
    let builder = Telemetry::builder("test").filter("warn");
    let telemetry = builder.writer(Writer::new(memory.clone())).build().unwrap();
    let filter = telemetry.filter();
    let id = |id: &str| -> CorrelationId { id.parse().unwrap() };
    telemetry.in_scope(|| {
        let log = |who: &str, name: &str| {
            Correlation::from(id(who)).enter(|| tracing::debug!("{name}"));
        };
        log("followed", "one");
        filter
            .override_for_request(id("followed"), "debug", Duration::from_secs(3_600))
            .unwrap();
        log("followed", "two");
        log("another", "three");
        tracing::debug!("four");
        // Others take the first one's place.
        for number in 0..100 {
            let other = id(&format!("other-{number}"));
            filter
                .override_for_request(other, "debug", Duration::from_secs(3_600))
                .unwrap();
        }
        log("followed", "six");
        log("other-99", "seven");
        filter.reset();
        log("other-99", "eight");
        tracing::warn!("nine");
        filter
            .override_for_request(id("late"), "debug", Duration::ZERO)
            .unwrap();
        let is_followed = || tracing::enabled!(tracing::Level::DEBUG);
        eventually(|| !Correlation::from(id("late")).enter(is_followed));
        tracing::warn!("ten");
        log("late", "eleven");
    });
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let of_test = lines.filter(|line: &Value| line["target"] != "campanile_telemetry");
    let messages: Vec<_> = of_test.map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["two", "seven", "nine", "ten"]);
}

#[test]
fn the_last_lines_are_kept_and_counted() {
    let builder = Telemetry::builder("test").capture(Capture::new().max_lines(5));
    let telemetry = builder.writer(Writer::new(io::sink())).build().unwrap();
    let id: CorrelationId = "abc".parse().unwrap();
    telemetry.in_scope(|| {
        for number in 0..10 {
            tracing::info!(number, "one of ten");
        }
        let log = || tracing::warn!(target: "elsewhere", "another");
        Correlation::from(id.clone()).enter(log);
    });
    let capture = telemetry.capture().unwrap();
    let all = capture.search(100, |_| true);
    assert_eq!(all.len(), 5);
    assert_eq!(
        (all[0].level, &*all[0].target),
        (tracing::Level::WARN, "elsewhere")
    );
    assert_eq!(all[0].correlation_id, Some(id));
    let line: Line = serde_json::from_str(&all[1].line).unwrap();
    assert_eq!(*line.get("number"), 9);
    let found = capture.search(2, |record| record.line.contains("one of ten"));
    assert_eq!(found.len(), 2);
    let counts = capture.counts();
    assert_eq!(counts.by_level[&tracing::Level::INFO], 10);
    assert_eq!(counts.by_target["elsewhere"], 1);
    // What is too large for all that is kept is not kept.
    let builder = Telemetry::builder("test").capture(Capture::new().max_lines(5).max_bytes(300));
    let telemetry = builder.writer(Writer::new(io::sink())).build().unwrap();
    telemetry.in_scope(|| tracing::info!("{}", "x".repeat(1_000)));
    assert_eq!(telemetry.capture().unwrap().search(1, |_| true), []);
}

#[test]
fn a_place_that_logs_too_much_is_left_out_and_says_so() {
    let limit = std::num::NonZeroU32::new(3).unwrap();
    let builder = Telemetry::builder("test").rate_limit(limit);
    let (mut quiet, mut seen) = (0, 0);
    let text = text(builder, || {
        #[expect(clippy::disallowed_methods, reason = "the limit goes by the clock")]
        let begun = std::time::Instant::now();
        // Until a second has passed in which some were left out.
        while begun.elapsed() < Duration::from_millis(2_100) {
            tracing::info!("often");
            seen += 1;
        }
        tracing::info!("another place");
        quiet += 1;
    });
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let often = lines.iter().filter(|line| line["message"] == "often");
    let suppressed: u64 = often
        .clone()
        .filter_map(|line| line["suppressed"].as_u64())
        .sum();
    assert!(
        (3..=9 + 3).contains(&often.clone().count()),
        "{}",
        often.count()
    );
    assert!(
        suppressed > 0 && suppressed < seen,
        "{suppressed} of {seen}"
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| line["message"] == "another place")
            .count(),
        quiet
    );
}

#[test]
fn files_are_written_to_at_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, "before\n").unwrap();
    let telemetry = Telemetry::builder("test")
        .writer(Writer::file(&path))
        .build();
    let telemetry = telemetry.unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.layer());
    tracing::subscriber::with_default(subscriber, || tracing::info!("hello"));
    assert!(telemetry.flush(Duration::from_secs(10)).is_empty());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("before\n{") && text.contains("hello"),
        "{text}"
    );
}

#[test]
fn white_space_in_a_filter_changes_nothing() {
    for filter in [
        "info\n",
        " info",
        "info\r\n",
        "warn, lines=info",
        " info , lines=debug ",
    ] {
        let text = text(Telemetry::builder("test").filter(filter), || {
            tracing::info!("hello");
            tracing::trace!("not this");
        });
        assert!(text.contains("hello"), "{filter:?}");
        assert!(!text.contains("not this"), "{filter:?}");
    }
}

#[test]
fn secrets_are_known_however_their_names_are_written() {
    let log = || {
        tracing::info!(
            {
                "x-api-key" = "S",
                "privateKey" = "S",
                "private-key" = "S",
                pwd = "S",
                passphrase = "S",
                session_id = "S",
                credentials = "S",
                password = "S",
                iban = "S",
                account_iban = 7,
                prompt_tokens = 812,
                max_tokens = 4096,
                token = 0.4,
                cookie_consent = true,
                secretary = "Ada",
                kind = "k",
            },
            "m"
        );
    };
    let line = |builder: TelemetryBuilder| {
        let text = text(builder, log);
        serde_json::from_str::<Value>(text.trim_end()).unwrap()
    };
    let defaults = line(Telemetry::builder("test"));
    for key in [
        "x-api-key",
        "privateKey",
        "private-key",
        "pwd",
        "passphrase",
        "session_id",
        "credentials",
        "password",
    ] {
        assert_eq!(defaults[key], "[redacted]", "{key}");
    }
    for (key, value) in [
        ("prompt_tokens", Value::from(812)),
        ("max_tokens", 4096.into()),
        ("token", 0.4.into()),
        ("cookie_consent", true.into()),
        ("secretary", "Ada".into()),
    ] {
        assert_eq!(defaults[key], value, "{key}");
    }
    let more = line(Telemetry::builder("test").redact(["iban"]));
    for key in ["iban", "account_iban", "password"] {
        assert_eq!(more[key], "[redacted]", "{key}");
    }
    let only = line(Telemetry::builder("test").redact_only(["iban"]));
    assert_eq!(only["iban"], "[redacted]");
    assert_eq!(only["password"], "S");
}

#[test]
fn any_value_can_be_the_message() {
    let lines = lines(|| {
        tracing::info!(message = u64::MAX);
        tracing::info!(message = i128::MIN);
        tracing::info!(message = 7);
        tracing::info!(message = f64::NAN);
        tracing::info!(message = true);
    });
    let messages: Vec<_> = lines
        .iter()
        .map(|line| line.get("message").clone())
        .collect();
    let expected = [
        "18446744073709551615",
        "-170141183460469231731687303715884105728",
        "7",
        "null",
        "true",
    ];
    assert_eq!(messages, expected);
}

/// A disk that is full loses lines; what comes after is whole, and says so.
#[test]
fn what_was_not_written_is_lost_and_told() {
    /// Takes three bytes, has no room twice, and then works.
    struct Full(u32, Memory);

    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => self.1.write(&bytes[..3]),
                2 | 3 => Err(io::ErrorKind::StorageFull.into()),
                _ => self.1.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let memory = Memory::default();
    let writer = Writer::new(Full(0, memory.clone()));
    let telemetry = Telemetry::builder("test").writer(writer).build().unwrap();
    for (n, lost) in [(1, 1), (2, 1), (3, 0)] {
        telemetry.in_scope(|| tracing::info!(n, "line"));
        let flushed = telemetry.flush(Duration::from_secs(10));
        assert_eq!(flushed.lines, lost, "{n}");
        assert_eq!(flushed.is_empty(), lost == 0);
    }
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let lines: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["n"], 3);
    assert_eq!(lines[1]["message"], "failed to write 2 log lines");
}

#[test]
fn suppressed_lines_are_counted() {
    let memory = Memory::default();
    let limit = std::num::NonZeroU32::new(10).unwrap();
    let builder = Telemetry::builder("test").rate_limit(limit);
    let telemetry = builder.writer(Writer::new(memory.clone())).build().unwrap();
    telemetry.in_scope(|| {
        for n in 0..1_000 {
            tracing::info!(n, suppressed = "mine", "burst");
        }
    });
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let written = text.lines().count() as u64;
    assert_eq!(written + telemetry.stats().suppressed, 1_000);
    assert!(written < 1_000);
    assert!(
        text.lines()
            .all(|line| line.contains(r#""suppressed_":"mine""#)),
        "{text}"
    );
}

/// As logrotate does it.
#[cfg(unix)]
#[test]
fn a_file_that_was_renamed_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("log"), folder.path().join("log.1"));
    let telemetry = Telemetry::builder("test").writer(Writer::file(&path));
    let telemetry = telemetry.build().unwrap();
    let log = |text: &str| {
        telemetry.in_scope(|| tracing::info!("{text}"));
        assert!(telemetry.flush(Duration::from_secs(10)).is_empty());
    };
    log("first");
    std::fs::rename(&path, &other).unwrap();
    log("second");
    std::fs::rename(&path, folder.path().join("log.2")).unwrap();
    std::fs::write(&path, "").unwrap();
    log("third");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    assert!(read(&other).contains("first") && !read(&other).contains("second"));
    assert!(read(&folder.path().join("log.2")).contains("second"));
    assert!(read(&path).contains("third"));
}

#[test]
fn a_target_is_raised_without_silencing_others() {
    let memory = Memory::default();
    let builder = Telemetry::builder("test").filter("warn");
    let telemetry = builder.writer(Writer::new(memory.clone())).build().unwrap();
    let filter = telemetry.filter();
    telemetry.in_scope(|| {
        let log = |name: &str| {
            tracing::debug!(target: "orders", "{name}");
            tracing::debug!(target: "payments", "not {name}");
        };
        log("one");
        filter
            .raise("orders=debug", Duration::from_secs(3_600))
            .unwrap();
        log("two");
        tracing::error!(target: "payments", "card declined");
        assert!(filter.raise("[span]=debug", Duration::ZERO).is_err());
        assert_eq!(filter.directives(), "warn");
        filter.reset();
        log("three");
        filter.raise("orders=debug", Duration::ZERO).unwrap();
        eventually(|| !tracing::enabled!(target: "orders", tracing::Level::DEBUG));
        log("four");
    });
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let of_test = lines.filter(|line: &Value| line["target"] != "campanile_telemetry");
    let messages: Vec<_> = of_test.map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["two", "card declined"]);
}

#[cfg(target_os = "linux")]
#[test]
fn no_thread_waits_for_a_filter_that_is_gone() {
    // Its name, as it is cut.
    let is_there = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let mut names = tasks
            .flatten()
            .map(|task| std::fs::read_to_string(task.path().join("comm")));
        names.any(|name| name.is_ok_and(|name| name.trim() == "campanile-filte"))
    };
    let telemetry = Telemetry::builder("test").writer(Writer::new(io::sink()));
    let telemetry = telemetry.build().unwrap();
    let hour = Duration::from_secs(3_600);
    telemetry.filter().override_for("debug", hour).unwrap();
    drop(telemetry);
    // Other tests have such threads for a moment.
    eventually(|| !is_there());
}

#[test]
fn a_search_does_not_block_threads_that_log() {
    let builder = Telemetry::builder("test").capture(Capture::new().max_lines(5));
    let telemetry = builder.writer(Writer::new(io::sink())).build().unwrap();
    telemetry.in_scope(|| {
        tracing::info!("one");
        // A closure that logs would wait for itself.
        let found = telemetry.capture().unwrap().search(10, |record| {
            tracing::info!("two");
            record.line.contains("one")
        });
        assert_eq!(found.len(), 1);
    });
    assert_eq!(telemetry.capture().unwrap().search(10, |_| true).len(), 2);
}

#[test]
fn a_message_cannot_look_like_fields() {
    for format in [Format::Compact, Format::Pretty] {
        let text = text(Telemetry::builder("test").format(format), || {
            tracing::info!(amount = 1, "paid amount=100 is_admin=true \"x\"");
            tracing::info!("plain");
        });
        let quoted = r#": "paid amount=100 is_admin=true \"x\"""#;
        assert!(text.contains(quoted), "{text}");
        assert!(text.contains(": plain\n"), "{text}");
    }
}

#[test]
fn a_line_says_how_many_fields_it_has_no_room_for() {
    let large = "x".repeat(16_000);
    let x = large.as_str();
    let lines = lines(|| {
        let outer = tracing::info_span!(
            "outer",
            a = x,
            b = x,
            c = x,
            d = x,
            e = x,
            f = x,
            g = x,
            h = x,
            i = x,
            j = x,
            k = x,
            fields_left_out = "mine",
        );
        outer.in_scope(|| {
            tracing::info!(
                a = x,
                l = x,
                m = x,
                n = x,
                o = x,
                p = x,
                q = x,
                r = x,
                s = x,
                t = x,
                u = x,
                v = x,
                w = x,
                y = x,
                z = x,
                aa = x,
                bb = x,
                cc = x,
                "large"
            );
            tracing::info!(fields_left_out = 1, "small");
        });
    });
    let fields = |line: &Line| line.0.iter().filter(|(_, value)| *value == x).count();
    let (large, small) = (&lines[0], &lines[1]);
    let left_out = large.get("fields_left_out").as_u64().unwrap();
    // Those of the span whose keys are not among the event's, and those of the event.
    assert_eq!(left_out, 18 + 11 - fields(large) as u64);
    assert!(left_out > 0);
    assert_eq!(*small.get("fields_left_out"), Value::Null);
    assert_eq!(*small.get("fields_left_out_"), 1);
}
