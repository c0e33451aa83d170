use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::{Kind, Registry, Value};

fn registry(text: &'static str) -> Registry {
    let source = move |out: &mut dyn Write| out.write_all(text.as_bytes());
    Registry::builder().beside(source).build().unwrap()
}

fn read(text: &str) -> Reading {
    Reading::new(text, 0, 1_000, &ConstantLabels::default())
}

/// A source that fails or panics on demand.
#[derive(Default)]
struct Scripted {
    reads: AtomicU64,
    mode: AtomicU64,
    upkeeps: AtomicU64,
}

impl Source for Arc<Scripted> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
        match self.mode.load(Ordering::Relaxed) {
            0 => writeln!(out, "# TYPE reads_total counter\nreads_total {reads}"),
            1 => Err(io::Error::other("out of order")),
            2 => out.write_all(b"# TYPE g gauge\ng{k=\"\xff\"} 1\n"),
            _ => panic!("this test's panic"),
        }
    }

    fn upkeep(&self) {
        self.upkeeps.fetch_add(1, Ordering::Relaxed);
        assert!(self.mode.load(Ordering::Relaxed) < 3, "this test's panic");
    }
}

#[test]
fn a_source_is_read_once_a_second_and_failures_keep_the_last_values() {
    let source = Arc::new(Scripted::default());
    let exporter = Exporter::new(AnySource(Arc::new(Arc::clone(&source))), 10);
    let begun = crate::clock::now();
    let value = |milliseconds| {
        let now = begun + Duration::from_millis(milliseconds);
        let reading = exporter.reading(now, &ConstantLabels::default());
        let family = &reading.get("reads_total").unwrap().family;
        (family.series[0].value.clone(), exporter.status(now))
    };
    let counted = |count, age, failed| {
        (
            Value::Counter(count),
            (Some(Duration::from_millis(age)), failed),
        )
    };
    assert_eq!(value(0), counted(1, 0, 0));
    assert_eq!(value(999), counted(1, 999, 0));
    assert_eq!(value(1_000), counted(2, 0, 0));
    for (mode, at, failed) in [(1, 2_000, 1), (2, 3_000, 2), (3, 4_000, 3)] {
        source.mode.store(mode, Ordering::Relaxed);
        assert_eq!(value(at), counted(2, at - 1_000, failed));
        assert_eq!(value(at + 500), counted(2, at - 500, failed));
    }
    assert_eq!(source.reads.load(Ordering::Relaxed), 5);
    source.mode.store(0, Ordering::Relaxed);
    assert_eq!(value(5_000), counted(6, 0, 3));
}

#[test]
fn upkeep_reaches_the_source_and_survives_its_panic() {
    let source = Arc::new(Scripted::default());
    let registry = Registry::builder()
        .beside(Arc::clone(&source))
        .build()
        .unwrap();
    registry.upkeep();
    source.mode.store(3, Ordering::Relaxed);
    registry.upkeep();
    assert_eq!(source.upkeeps.load(Ordering::Relaxed), 2);
    Registry::new().upkeep();
}

#[test]
fn families_of_both_are_merged_by_name_in_both_formats() {
    let registry = registry(
        "# HELP jobs Jobs \\\\ \\n done.\n# TYPE jobs counter\njobs{b=\"2\",a=\"1\"} 7\njobs 18446744073709551615\n\n\
         # TYPE busy_seconds_total counter\nbusy_seconds_total 1.5\nbusy_seconds_total{k=\"v\"} 2\n\
         # TYPE taken_total counter\ntaken_total 1\n\
         # TYPE heat gauge\nheat -0.5\nheat{k=\"NaN\"} NaN\n\
         # TYPE time histogram\ntime_bucket{le=\"0.5\"} 1\ntime_bucket{le=\"10\"} 2\n\
         time_bucket{le=\"+Inf\"} 3\ntime_sum 12.25\ntime_count 3\n\
         # TYPE size summary\nsize{quantile=\"0\"} 1\nsize{quantile=\"0.5\"} 2\nsize_sum 3\nsize_count 2\n",
    );
    registry.counter("taken_total", &[]).unwrap().increment(5);
    registry.gauge("alone", &[]).unwrap().set(1.0);
    registry.gauge("zeta", &[]).unwrap().set(2.0);
    let without_own = |page: String| {
        let lines = page
            .lines()
            .filter(|line| !line.contains("campanile_registry_") && !line.contains("_created"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        without_own(registry.render()),
        "# TYPE alone gauge\nalone 1\n\
         # TYPE busy_seconds_total counter\nbusy_seconds_total 1.5\nbusy_seconds_total{k=\"v\"} 2\n\
         # TYPE heat gauge\nheat -0.5\nheat{k=\"NaN\"} NaN\n\
         # HELP jobs Jobs \\\\ \\n done.\n# TYPE jobs counter\njobs 18446744073709551615\njobs{a=\"1\",b=\"2\"} 7\n\
         # TYPE size summary\nsize{quantile=\"0.0\"} 1\nsize{quantile=\"0.5\"} 2\nsize_sum 3\nsize_count 2\n\
         # TYPE taken_total counter\ntaken_total 5\n\
         # TYPE time histogram\ntime_bucket{le=\"0.5\"} 1\ntime_bucket{le=\"10.0\"} 2\n\
         time_bucket{le=\"+Inf\"} 3\ntime_sum 12.25\ntime_count 3\n\
         # TYPE zeta gauge\nzeta 2"
    );
    let open = without_own(registry.render_open_metrics());
    assert!(open.contains("# TYPE jobs unknown\njobs 1844"), "{open}");
    assert!(
        open.contains("# TYPE busy_seconds counter\nbusy_seconds_total 1.5\n"),
        "{open}"
    );
    assert!(open.ends_with("zeta 2\n# EOF"), "{open}");

    let labels = [("b", "2"), ("a", "1")];
    assert_eq!(registry.get("jobs", &labels), Some(Value::Counter(7)));
    assert_eq!(registry.get("jobs", &[("a", "1")]), None);
    assert_eq!(registry.get("taken_total", &[]), Some(Value::Counter(5)));
    assert_eq!(
        registry.family_snapshot("busy_seconds_total").unwrap().kind,
        Kind::TimeCounter
    );
    let snapshot = registry.snapshot();
    assert!(snapshot.families.is_sorted_by_key(|family| &family.name));
    assert_eq!(snapshot.families.len(), 8 + 2);
    let mut exported = Vec::new();
    registry.export(|family| exported.push(family.name));
    let names: Vec<_> = snapshot
        .families
        .iter()
        .map(|family| family.name.clone())
        .collect();
    assert_eq!(exported, names);
    let omitted = |reason| {
        registry.get(
            "campanile_registry_exporter_omitted_lines",
            &[("reason", reason)],
        )
    };
    assert_eq!(omitted("name_taken"), Some(Value::Gauge(1.0)));
    assert_eq!(omitted("invalid"), Some(Value::Gauge(0.0)));
}

#[test]
fn a_name_that_ours_has_in_any_format_is_left_out() {
    let text = "# TYPE orders gauge\norders 1\n# TYPE time_count gauge\ntime_count 1\n# TYPE free gauge\nfree 1\n";
    let registry = registry(text);
    registry.counter("orders_total", &[]).unwrap();
    registry.histogram("time", &[]).unwrap();
    assert_eq!(registry.family_snapshot("orders"), None);
    assert_eq!(registry.get("time_count", &[]), None);
    assert_eq!(registry.get("free", &[]), Some(Value::Gauge(1.0)));
    let omitted = registry.get(
        "campanile_registry_exporter_omitted_lines",
        &[("reason", "name_taken")],
    );
    assert_eq!(omitted, Some(Value::Gauge(2.0)));
}

#[test]
fn constant_labels_are_added_and_overridden() {
    let text = "# TYPE g gauge\ng 1\ng{host=\"b\",k=\"v\"} 2\ng{host=\"a\",k=\"w\"} 3\n";
    let source = move |out: &mut dyn Write| out.write_all(text.as_bytes());
    let builder = Registry::builder()
        .beside(source)
        .constant_label("host", "a");
    let registry = builder.build().unwrap();
    let page = registry.render();
    let lines: Vec<_> = page.lines().filter(|line| line.starts_with("g{")).collect();
    assert_eq!(
        lines,
        [
            "g{host=\"a\"} 1",
            "g{host=\"b\",k=\"v\"} 2",
            "g{host=\"a\",k=\"w\"} 3"
        ]
    );
    assert_eq!(registry.get("g", &[("k", "w")]), Some(Value::Gauge(3.0)));
}

#[test]
fn what_the_format_does_not_allow_is_left_out_and_counted() {
    #[track_caller]
    fn check(text: &str, series: usize, invalid: u64) {
        let reading = read(text);
        let families = reading.families().iter();
        let read: usize = families.map(|theirs| theirs.family.series.len()).sum();
        assert_eq!((read, reading.invalid), (series, invalid), "{text}");
    }
    check("", 0, 0);
    check("a 1\n", 0, 1);
    check("# TYPE a gauge\nb 1\n", 0, 1);
    check("# TYPE a gauge\na 1\na 2\n", 1, 1);
    check("# TYPE a gauge\na  1\na\na x\na 1 now\na 1 17\n", 1, 4);
    check("# TYPE a gauge\na{} 1\na{b=\"1\",} 2\na{,} 3\n", 2, 1);
    check("# TYPE a gauge\na{b=\"1\",b=\"2\"} 1\n", 0, 1);
    check(
        "# TYPE a gauge\na{__b=\"1\"} 1\na{b.c=\"1\"} 1\na{=\"1\"} 1\n",
        0,
        3,
    );
    check(
        "# TYPE a gauge\na{b=\"\\\"} 1\na{b=\"\\t\"} 1\na{b=\"x} 1\na{b=\"x\"",
        0,
        4,
    );
    check("# TYPE a gauge\na{b=\"1\"c=\"2\"} 1\n", 0, 1);
    check(
        "# TYPE a counter\na -1\na{k=\"v\"} NaN\na{k=\"w\"} +Inf\n",
        0,
        3,
    );
    check("# TYPE a counter\na 1\n# TYPE a gauge\na 2\n", 1, 2);
    check("# TYPE a nothing\na 2\n# TYPE\n", 0, 2);
    check("# TYPE a histogram\na_bucket{le=\"1\"} 2\na_sum 1\n", 0, 2);
    check(
        "# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"2\"} 1\na_sum 1\na_count 2\n",
        0,
        4,
    );
    check(
        "# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 3\na_sum 1\na_count 2\n",
        0,
        4,
    );
    check(
        "# TYPE a histogram\na_bucket{le=\"inf\"} 2\na_bucket{le=\"+Inf\"} 2\na_sum 1\na_count 2\n",
        1,
        0,
    );
    check(
        "# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"1.0\"} 2\na_sum 1\na_count 2\n",
        0,
        4,
    );
    check("# TYPE a histogram\na_bucket 2\na 1\na_total 1\n", 0, 3);
    check(
        "# TYPE a summary\na{quantile=\"2\"} 2\na_sum 1\na_count 2\n",
        0,
        3,
    );
    check("# TYPE 1 gauge\n1 1\n", 0, 2);
}

#[test]
fn limits_leave_out_and_count() {
    let text = "# TYPE a gauge\na{k=\"1\"} 1\na{k=\"2\"} 1\na{k=\"3\"} 1\n# TYPE b gauge\nb 1\n";
    let reading = Reading::new(text, 5, 2, &ConstantLabels::default());
    assert_eq!((reading.families().len(), reading.over), (1, 5 + 2));
    assert_eq!(reading.get("a").unwrap().family.series.len(), 2);

    let mut limited = Limited {
        text: Vec::new(),
        limit: 10,
        over: None,
    };
    limited.write_all(b"first\nsecond\nthird\n").unwrap();
    limited.write_all(b"4\n").unwrap();
    assert_eq!(
        (limited.finish(), limited.text.as_slice()),
        (3, &b"first\n"[..])
    );
    let mut whole = Limited {
        text: Vec::new(),
        limit: 6,
        over: None,
    };
    whole.write_all(b"first\n").unwrap();
    assert_eq!(
        (whole.finish(), whole.text.as_slice()),
        (0, &b"first\n"[..])
    );
}

#[test]
fn a_family_that_clashes_with_one_before_is_left_out() {
    let reading = read(
        "# TYPE x gauge\nx 1\n# TYPE x_total counter\nx_total 1\nx_total{k=\"v\"} 1\n# TYPE y_count gauge\ny_count 1\n\
         # TYPE y summary\ny_sum 1\ny_count 1\n",
    );
    let names: Vec<_> = reading
        .families()
        .iter()
        .map(|theirs| &*theirs.family.name)
        .collect();
    assert_eq!((names, reading.taken), (vec!["x", "y"], 2 + 1));
}

/// Takes pieces of valid and invalid lines at random.
#[test]
fn any_text_is_read_without_a_panic_and_makes_a_page_that_is_read_again() {
    const PIECES: [&str; 40] = [
        "# TYPE ",
        "# HELP ",
        "#",
        "\n",
        "\n",
        "\n",
        " ",
        " ",
        "{",
        "}",
        "\"",
        "\"",
        "=",
        "=\"",
        "\",",
        ",",
        "\\",
        "\\n",
        "\\\"",
        "\\\\",
        "a",
        "b",
        "a_sum",
        "a_count",
        "a_bucket",
        "le",
        "quantile",
        "counter",
        "gauge",
        "histogram",
        "summary",
        "1",
        "0.5",
        "-1",
        "+Inf",
        "NaN",
        "ü",
        "\r",
        "\u{2028}",
        "_total",
    ];
    const LINES: [&str; 12] = [
        "# TYPE a counter\n",
        "# TYPE a gauge\n",
        "# TYPE a histogram\n",
        "# TYPE a_sum summary\n",
        "a 1\n",
        "a{b=\"",
        "\"} 2\n",
        "a_bucket{le=\"1\"} 1\n",
        "a_bucket{le=\"+Inf\"} 1\n",
        "a_sum 1\n",
        "a_count 1\n",
        "a{b=\"\\\"\\\\\\n\",c=\"ü\"} 3\n",
    ];
    let mut random = fastrand::Rng::with_seed(11);
    let mut kept = 0;
    for _ in 0..8_000 {
        let mut text = String::new();
        for _ in 0..random.usize(..25) {
            text += match random.bool() {
                true => random.choice(PIECES).unwrap(),
                false => random.choice(LINES).unwrap(),
            };
        }
        let reading = read(&text);
        kept += reading.families().len();
        let page = text.clone();
        let source = move |out: &mut dyn Write| out.write_all(page.as_bytes());
        let registry = Registry::builder().beside(source).build().unwrap();
        let page = registry.render();
        let lines = page
            .lines()
            .filter(|line| !line.contains("campanile_registry_"));
        let page: String = lines.flat_map(|line| [line, "\n"]).collect();
        let again = read(&page);
        assert_eq!(
            again.families().len(),
            reading.families().len(),
            "{text}\n---\n{page}"
        );
        assert_eq!((again.invalid, again.taken), (0, 0), "{text}\n---\n{page}");
    }
    assert!(kept > 500, "{kept}");
}

#[tokio::test]
async fn a_long_response_has_each_series_of_both_once() {
    use http_body_util::BodyExt;

    let mut text = "# TYPE m gauge\n".to_owned();
    (0..5_000).for_each(|number| text += &format!("m{{k=\"{number}\"}} {number}\n"));
    text += "# TYPE o histogram\n";
    for number in 0..1_000 {
        let labels = format!("k=\"{number}\"");
        text += &format!(
            "o_bucket{{{labels},le=\"1\"}} 1\no_sum{{{labels}}} 3\no_count{{{labels}}} 2\n"
        );
    }
    let source = move |out: &mut dyn Write| out.write_all(text.as_bytes());
    let registry = Registry::builder().beside(source).build().unwrap();
    for name in ["a", "n", "z"] {
        for number in 0..1_000 {
            let number = number.to_string();
            registry.gauge(name, &[("k", &number)]).unwrap().set(1.0);
        }
    }
    let same = |page: &str| {
        let lines = page.lines().filter(|line| !line.contains("age_seconds"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for (accept, page) in [
        ("text/plain", registry.render()),
        (
            "application/openmetrics-text",
            registry.render_open_metrics(),
        ),
    ] {
        let request = http::Request::get("/metrics").header(http::header::ACCEPT, accept);
        let (request, ()) = request.body(()).unwrap().into_parts();
        let response = registry.respond(&request);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(same(&body) == same(&page), "{accept}");
        assert!(body.len() > 200_000);
    }
}

/// A scrape must not miss all families because another one reads them for the first time.
#[test]
fn the_first_values_are_waited_for() {
    let (started, has_started) = std::sync::mpsc::channel();
    let (go, waits) = std::sync::mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let source = move |out: &mut dyn Write| {
        started.send(()).unwrap();
        waits.lock().unwrap().recv().unwrap();
        writeln!(out, "# TYPE a gauge\na 1")
    };
    let registry = Registry::builder().beside(source).build().unwrap();
    let page = |registry: Registry| std::thread::spawn(move || registry.render());
    let first = page(registry.clone());
    has_started.recv().unwrap();
    let second = page(registry);
    go.send(()).unwrap();
    for page in [first, second] {
        let page = page.join().unwrap();
        assert!(page.contains("\na 1\n"), "{page}");
    }
}
