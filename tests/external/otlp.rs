use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use campanile::telemetry::{
    MetricSource, MetricWriter, Otlp, Point, PointValue, Protocol, Telemetry, Writer,
};
use campanile_tests::{Process, eventually, example, find_in_venv, free_port, get};
use http::StatusCode;
use serde_json::Value;
use tokio::net::TcpStream;

use super::sink::{Sink, attribute};

/// A collector that many use, which sends on what it gets.
struct Rotel {
    grpc: u16,
    http: u16,
    _process: Process,
}

impl Rotel {
    async fn start(sink: &Sink) -> Self {
        let agent = "lib/python3.11/site-packages/rotel/rotel-agent";
        let (grpc, http) = (free_port(), free_port());
        let process = Process::start(
            Command::new(find_in_venv(agent))
                .arg("start")
                .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
                .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
                .args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"])
                .args([
                    "--otlp-exporter-endpoint",
                    &format!("http://127.0.0.1:{}", sink.http),
                ])
                .arg("--disable-batching"),
        );
        for port in [grpc, http] {
            let is_open = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
            eventually(true, is_open).await;
        }
        Self {
            grpc,
            http,
            _process: process,
        }
    }
}

/// The example service.
async fn service(name: &str, variables: &[(&str, &str)]) -> (SocketAddr, Process) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let process = Process::start(
        Command::new(example("otlp"))
            .env("CAMPANILE_ADDR", address.to_string())
            .env("OTEL_SERVICE_NAME", name)
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "200")
            .envs(variables.iter().copied()),
    );
    let ready = async || {
        get(address, "/health/ready")
            .await
            .map(|(status, _)| status)
    };
    eventually(Some(StatusCode::OK), ready).await;
    (address, process)
}

#[tokio::test]
async fn two_services_are_one_trace_with_its_lines_and_its_exemplar() {
    let sink = Sink::start(&[]);
    let rotel = Rotel::start(&sink).await;
    // One over HTTP, the other over gRPC.
    let over_http = format!("http://127.0.0.1:{}", rotel.http);
    let over_grpc = format!("http://127.0.0.1:{}", rotel.grpc);
    let (stock, stock_process) = service(
        "stock",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &over_grpc),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ],
    )
    .await;
    let (shop, shop_process) = service(
        "shop",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &over_http),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("STOCK", &stock.to_string()),
        ],
    )
    .await;
    let (status, body) = get(shop, "/items/tower").await.unwrap();
    assert_eq!((status, body.as_str()), (StatusCode::OK, "3 left"));
    // What is left is exported when they end.
    assert!(shop_process.terminate().success() && stock_process.terminate().success());

    let named = |service: &str, name: &str| {
        let all = sink.spans();
        let is_it = |span: &&Value| span["service"] == service && span["name"] == name;
        all.iter().find(is_it).cloned()
    };
    let found = async || {
        named("shop", "GET /items/{item}").is_some() && named("stock", "SELECT stock").is_some()
    };
    eventually(true, found).await;
    let [server, client, other, query] = [
        ("shop", "GET /items/{item}"),
        ("shop", "GET"),
        ("stock", "GET /items/{item}"),
        ("stock", "SELECT stock"),
    ]
    .map(|(service, name)| {
        named(service, name).unwrap_or_else(|| panic!("{name}: {:?}", sink.spans()))
    });
    let trace = &server["trace_id"];
    let mut parent = &Value::Null;
    for (span, kind) in [
        (&server, "SERVER"),
        (&client, "CLIENT"),
        (&other, "SERVER"),
        (&query, "CLIENT"),
    ] {
        assert_eq!(&span["trace_id"], trace);
        assert_eq!(&span["parent_span_id"], parent);
        assert_eq!(span["kind"], format!("SPAN_KIND_{kind}"));
        assert_eq!(
            attribute(span, "correlation_id"),
            attribute(&server, "correlation_id")
        );
        parent = &span["span_id"];
    }
    assert_eq!(attribute(&server, "http.response.status_code"), "200");
    assert_eq!(attribute(&client, "server.address"), "127.0.0.1");
    assert_eq!(attribute(&query, "db.system.name"), "postgresql");
    // Of a library that uses OpenTelemetry's API.
    let cached = named("stock", "GET stock").unwrap();
    assert_eq!(
        (&cached["trace_id"], &cached["parent_span_id"]),
        (trace, &query["span_id"])
    );

    let looked_up = async || {
        let records = sink.all("logs", "log_records");
        let is_it = |record: &&Value| record["body"]["string_value"] == "looked up";
        records.iter().find(is_it).cloned()
    };
    eventually(true, async || looked_up().await.is_some()).await;
    let line = looked_up().await.unwrap();
    assert_eq!(
        (&line["trace_id"], &line["span_id"]),
        (trace, &query["span_id"])
    );
    assert_eq!(
        attribute(&line, "correlation_id"),
        attribute(&server, "correlation_id")
    );
    assert_eq!(attribute(&line, "left"), "3");
    assert_eq!(line["service"], "stock");

    let exemplar = async || {
        let metrics = sink.all("metrics", "metrics");
        let of_shop = |metric: &&Value| {
            metric["service"] == "shop" && metric["name"] == "http_request_duration_seconds"
        };
        let mut all = metrics.iter().filter(of_shop).flat_map(|metric| {
            let points = metric["histogram"]["data_points"].as_array();
            points.cloned().unwrap_or_default()
        });
        all.find_map(|point| Some(point["exemplars"].as_array()?.first()?.clone()))
    };
    eventually(true, async || exemplar().await.is_some()).await;
    let exemplar = exemplar().await.unwrap();
    assert_eq!(
        (&exemplar["trace_id"], &exemplar["span_id"]),
        (trace, &server["span_id"])
    );
}

/// Metrics of all kinds.
struct AllKinds;

impl MetricSource for AllKinds {
    fn collect(&self, out: &mut MetricWriter<'_>) {
        let labels = [("k", "v\n"), ("l", "")];
        out.metric("count", "A count.", "");
        out.point(Point::new(&labels, PointValue::Count(7)));
        out.point(Point::new(&[], PointValue::Count(u64::MAX)));
        out.metric("amount", "", "s");
        out.point(Point::new(&labels, PointValue::Amount(0.5)));
        out.metric("level", "", "By");
        out.point(Point::new(&labels, PointValue::Gauge(-1.5)));
        out.metric("sizes", "", "");
        let measured = PointValue::Histogram {
            bounds: &[1.0, 2.0],
            counts: &[3, 0, 1],
            sum: Some(6.5),
        };
        out.point(Point::new(&labels, measured));
        out.metric("quantiles", "", "");
        let measured = PointValue::Summary {
            quantiles: &[(0.5, 1.0), (0.9, f64::NAN)],
            count: 2,
            sum: 3.0,
        };
        out.point(Point::new(&labels, measured));
        // There is none of it.
        out.metric("nothing", "", "");
        // More than goes into one request.
        out.metric("many", "", "");
        for number in 0..20_000 {
            let number = format!("{number:0>100}");
            out.point(Point::new(&[("number", &number)], PointValue::Gauge(1.0)));
        }
    }
}

/// What is wrong with it, and what became of it.
#[test]
fn whatever_is_logged_is_sent_as_the_format_has_it() {
    let sink = Sink::start(&[]);
    let collectors = [
        Otlp::new(format!("http://127.0.0.1:{}", sink.http)),
        Otlp::new(format!("http://127.0.0.1:{}/", sink.http)).gzip(),
        Otlp::new(format!("http://127.0.0.1:{}", sink.grpc)).protocol(Protocol::Grpc),
        Otlp::new(format!("http://127.0.0.1:{}", sink.grpc))
            .protocol(Protocol::Grpc)
            .gzip(),
    ];
    for (number, collector) in collectors.into_iter().enumerate() {
        let service = format!("service {number}");
        let telemetry = Telemetry::builder(&service)
            .writer(Writer::new(std::io::sink()))
            .filter("trace")
            .otlp(
                collector
                    .header("x-tenant", "a b")
                    .metrics_every(Duration::from_secs(3_600)),
            )
            .metric_source(AllKinds)
            .build()
            .unwrap();
        telemetry.in_scope(log_everything);
        assert!(telemetry.shutdown(Duration::from_secs(30)).is_empty());
        let exports = telemetry.exports().unwrap();
        for counts in [exports.traces, exports.logs, exports.metrics] {
            assert!(counts.emitted > 0, "{exports:?}");
            assert_eq!(counts.emitted, counts.exported, "{exports:?}");
        }
        let of = |all: Vec<Value>| {
            all.into_iter()
                .filter(|one| one["service"] == *service)
                .collect::<Vec<_>>()
        };
        // The sink says what came before it answers, but what it says has to be read here.
        #[expect(clippy::disallowed_methods, reason = "a deadline is by the clock")]
        let started = std::time::Instant::now();
        let points = || {
            let metrics = of(sink.all("metrics", "metrics"));
            metrics.iter().map(points_of).sum::<usize>() as u64
        };
        let is_read = || {
            of(sink.spans()).len() as u64 == exports.traces.emitted
                && of(sink.all("logs", "log_records")).len() as u64 == exports.logs.emitted
                && points() == exports.metrics.emitted
        };
        while !is_read() {
            assert!(started.elapsed() < Duration::from_secs(60), "{exports:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let spans = of(sink.spans());
        let [inner, outer, alone] = &spans[..] else {
            panic!("{spans:?}");
        };
        assert_eq!(outer["name"], "a name\nof two lines");
        assert_eq!(
            (&outer["kind"], &outer["status"]["code"]),
            (&"SPAN_KIND_PRODUCER".into(), &"STATUS_CODE_ERROR".into())
        );
        assert_eq!(outer["status"]["message"], "why");
        assert_eq!(outer["dropped_attributes_count"], Value::Null);
        assert_eq!(inner["parent_span_id"], outer["span_id"]);
        assert_eq!(inner["trace_id"], outer["trace_id"]);
        assert_ne!(alone["trace_id"], outer["trace_id"]);
        for (key, expected) in [
            ("text", "\u{1b}[31m \"quoted\" \\ \u{2028}\n🔔"),
            ("integer", "-3"),
            ("password", "[redacted]"),
            ("correlation_id_", "mine"),
        ] {
            assert_eq!(attribute(outer, key), expected, "{key}");
        }
        assert_eq!(attribute(outer, "float"), 0.5);
        assert_eq!(attribute(outer, "truth"), true);
        assert_eq!(
            attribute(outer, "long").as_str().unwrap().len(),
            (16 << 10) + 3
        );

        let records = of(sink.all("logs", "log_records"));
        let about = |text: &str| {
            let is_it = |record: &&Value| record["body"]["string_value"] == text;
            records
                .iter()
                .find(is_it)
                .unwrap_or_else(|| panic!("{text}"))
        };
        let said = about("said \"so\"\n");
        assert_eq!(said["severity_text"], "WARN");
        // The innermost takes precedence, and each key occurs once.
        assert_eq!(attribute(said, "integer"), "1");
        assert_eq!(attribute(said, "of_inner"), true);
        assert_eq!(said["span_id"], inner["span_id"]);
        assert_eq!(about("nowhere")["trace_id"], Value::Null);
        let many = about("many");
        assert_eq!(attribute(many, "float"), 0.5);

        let metrics = of(sink.all("metrics", "metrics"));
        let points = |name: &str, of: &str| {
            let named = metrics.iter().filter(|metric| metric["name"] == name);
            let points = named.map(|metric| metric[of]["data_points"].as_array().unwrap().len());
            points.sum::<usize>()
        };
        for (name, of, count) in [
            ("count", "sum", 2),
            ("amount", "sum", 1),
            ("level", "gauge", 1),
            ("sizes", "histogram", 1),
            ("quantiles", "summary", 1),
            ("many", "gauge", 20_000),
        ] {
            assert_eq!(points(name, of), count, "{name}");
        }
        assert!(metrics.iter().all(|metric| metric["name"] != "nothing"));
    }
    let requests = sink.requests.lock().unwrap();
    assert!(
        requests
            .iter()
            .all(|request| request["headers"]["x-tenant"] == "a b")
    );
}

/// How many points a metric has, whatever its kind is.
fn points_of(metric: &Value) -> usize {
    let kinds = ["sum", "gauge", "histogram", "summary"].into_iter();
    let points = kinds.filter_map(|kind| metric[kind]["data_points"].as_array());
    points.map(Vec::len).sum()
}

fn log_everything() {
    tracing::info!("nowhere");
    let outer = tracing::debug_span!(
        "outer",
        otel.name = "a name\nof two lines",
        otel.kind = "Producer",
        otel.status_code = "error",
        otel.status_description = "why",
        text = "\u{1b}[31m \"quoted\" \\ \u{2028}\n🔔",
        integer = -3,
        float = 0.5,
        nothing = f64::NAN,
        most = u64::MAX,
        truth = true,
        password = "hunter2",
        correlation_id = "mine",
        long = "x".repeat(100_000),
    );
    let inner = tracing::trace_span!(parent: &outer, "", of_inner = true);
    inner.in_scope(|| tracing::warn!(integer = 1, otel.name = "not of an event", "said \"so\"\n"));
    drop(inner);
    drop(outer);
    tracing::info_span!(parent: None, "alone").in_scope(|| {
        tracing::error!(float = 0.5, "many");
    });
}

#[test]
fn what_a_collector_rejects_has_failed() {
    let sink = Sink::start(&["partial"]);
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let port = if protocol == Protocol::Grpc {
            sink.grpc
        } else {
            sink.http
        };
        let telemetry = Telemetry::builder("test")
            .writer(Writer::new(std::io::sink()))
            .otlp(Otlp::new(format!("http://127.0.0.1:{port}")).protocol(protocol))
            .build()
            .unwrap();
        telemetry.in_scope(|| (0..5).for_each(|_| tracing::info!("five")));
        assert_eq!(telemetry.shutdown(Duration::from_secs(30)).records, 1);
        let logs = telemetry.exports().unwrap().logs;
        assert_eq!(
            (logs.emitted, logs.exported, logs.failed, logs.dropped),
            (5, 4, 1, 0)
        );
    }
}
