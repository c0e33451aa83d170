//! Labels, families and metric sets, as they are derived.

use campanile_metrics::{
    Counter, Family, Gauge, Histogram, Kind, Labels, MetricSet, RegisterError, Registry, Summary,
    TimeCounter, Value,
};

#[derive(Clone, Copy, Labels)]
enum Operation {
    Get,
    #[label(value = "SET")]
    Set,
}

#[derive(Labels)]
#[label(name = "cache_type")]
enum CacheType {
    InMemory,
    Remote,
}

#[derive(Labels)]
struct Access {
    operation: Operation,
    cache_type: CacheType,
    #[label(name = "hit")]
    is_hit: bool,
}

#[derive(Labels)]
struct Query<'a> {
    operation: Operation,
    table: &'a str,
}

#[derive(Labels)]
struct Of<T>
where
    T: Copy,
{
    kind: T,
}

fn counter(registry: &Registry, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
    match registry.get(name, labels)? {
        Value::Counter(value) => Some(value),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn every_label_set_has_its_series() {
    let registry = Registry::new();
    let accesses = registry.family::<Access, Counter>("accesses").unwrap();
    let all = || {
        [Operation::Get, Operation::Set]
            .into_iter()
            .flat_map(|operation| {
                [false, true].into_iter().flat_map(move |is_hit| {
                    [CacheType::InMemory, CacheType::Remote].map(|cache_type| Access {
                        operation,
                        cache_type,
                        is_hit,
                    })
                })
            })
    };
    // The series exist before the first write.
    assert_eq!(
        registry
            .family_snapshot("accesses_total")
            .unwrap()
            .series
            .len(),
        8
    );
    for (count, access) in (1..).zip(all()) {
        accesses.with(access).increment(count);
    }
    let get = |operation, cache_type, hit| {
        let labels = [
            ("operation", operation),
            ("cache_type", cache_type),
            ("hit", hit),
        ];
        counter(&registry, "accesses_total", &labels)
    };
    assert_eq!(get("get", "in_memory", "false"), Some(1));
    assert_eq!(get("get", "in_memory", "true"), Some(3));
    assert_eq!(get("SET", "remote", "true"), Some(8));
    let clone = accesses.clone();
    clone.with(all().last().unwrap()).increment(1);
    assert_eq!(get("SET", "remote", "true"), Some(9));
    assert_eq!(
        registry
            .family_snapshot("accesses_total")
            .unwrap()
            .series
            .len(),
        8
    );
}

#[test]
fn labels_without_a_list_are_capped() {
    let registry = Registry::builder()
        .max_series_per_family(3)
        .build()
        .unwrap();
    let queries = registry
        .family::<Query<'_>, Counter>("queries_total")
        .unwrap();
    for table in ["users", "orders", "items", "views", "users"] {
        let operation = Operation::Get;
        queries.with(Query { operation, table }).increment(1);
    }
    let get = |operation, table| {
        let labels = [("operation", operation), ("table", table)];
        counter(&registry, "queries_total", &labels)
    };
    assert_eq!(get("get", "users"), Some(2));
    assert_eq!(get("_other_", "_other_"), Some(1));
    let cardinality = registry.cardinality();
    let queries = cardinality
        .iter()
        .find(|cardinality| &*cardinality.name == "queries_total");
    let queries = queries.unwrap();
    assert_eq!((queries.series, queries.max_series), (4, 4));
    assert!(!queries.is_bounded);
}

#[test]
fn generic_labels_have_the_bound_of_their_type() {
    let registry = Registry::new();
    let by_truth = registry.family::<Of<bool>, Gauge>("g").unwrap();
    let by_number = registry.family::<Of<u32>, Gauge>("n").unwrap();
    // A gauge without a value is not rendered.
    assert_eq!(registry.render(), "");
    by_truth.with(Of { kind: true }).set(2.0);
    by_number.with(Of { kind: 7 }).set(3.0);
    let page = "# TYPE g gauge\ng{kind=\"true\"} 2\n# TYPE n gauge\nn{kind=\"7\"} 3\n";
    assert_eq!(registry.render(), page);
    let cardinality = registry.cardinality();
    let most: Vec<_> = cardinality
        .iter()
        .map(|cardinality| {
            (
                &*cardinality.name,
                cardinality.max_series,
                cardinality.is_bounded,
            )
        })
        .collect();
    assert_eq!(most, [("g", 2, true), ("n", 2_000, false)]);
}

#[derive(Debug, MetricSet)]
#[metrics(prefix = "app")]
struct Everything {
    /// Jobs done,
    /// well or not.
    ///
    /// This is not in the help.
    jobs: Counter,
    #[metric(help = "Time at work.")]
    work: TimeCounter,
    /// Bytes that wait.
    #[metric(name = "backlog", unit = "bytes")]
    waiting: Family<Operation, Gauge>,
    /// Batches.
    #[metric(buckets = [1, 10, 100.5])]
    batch_size: Histogram,
    /// Answers.
    #[metric(unit = "bytes")]
    answer_bytes: Summary,
}

#[test]
fn a_set_is_named_and_described_by_its_fields() {
    let registry = Registry::builder().prefix("shop").build().unwrap();
    let set = Everything::register(&registry).unwrap();
    set.jobs.increment(3);
    set.work.increment(std::time::Duration::from_millis(1_500));
    set.waiting.with(Operation::Set).set(9.0);
    set.batch_size.record(10.0);
    set.answer_bytes.record(5.0);
    let page = registry.render();
    for lines in [
        "# HELP shop_app_jobs_total Jobs done, well or not.\n# TYPE shop_app_jobs_total counter\nshop_app_jobs_total 3\n",
        "# HELP shop_app_work_seconds_total Time at work.\n",
        "shop_app_work_seconds_total 1.5\n",
        "shop_app_backlog_bytes{operation=\"SET\"} 9\n",
        "shop_app_batch_size_bucket{le=\"10.0\"} 1\nshop_app_batch_size_bucket{le=\"100.5\"} 1\nshop_app_batch_size_bucket{le=\"+Inf\"} 1\n",
        "# TYPE shop_app_answer_bytes summary\n",
    ] {
        assert!(page.contains(lines), "{lines} is not in {page}");
    }
    assert!(
        registry
            .render_open_metrics()
            .contains("# UNIT shop_app_work_seconds seconds\n")
    );
    let cardinality = registry.cardinality();
    let cardinality: Vec<_> = cardinality
        .iter()
        .map(|of| (&*of.name, of.kind, of.max_series, of.samples, of.is_bounded))
        .collect();
    assert_eq!(
        cardinality,
        [
            ("shop_app_answer_bytes", Kind::Summary, 1, 8, true),
            ("shop_app_backlog_bytes", Kind::Gauge, 2, 1, true),
            ("shop_app_batch_size", Kind::Histogram, 1, 7, true),
            ("shop_app_jobs_total", Kind::Counter, 1, 2, true),
            ("shop_app_work_seconds_total", Kind::TimeCounter, 1, 2, true),
        ]
    );
    // A second one is the same.
    Everything::register(&registry).unwrap().jobs.increment(1);
    assert_eq!(set.jobs.value(), 4);
}

#[derive(Debug, MetricSet)]
struct Wrong {
    /// Users that are active.
    #[expect(dead_code, reason = "it is never made")]
    active_users_total: Gauge,
}

#[derive(Debug, MetricSet)]
struct OtherBuckets {
    /// Batches.
    #[metric(name = "app_batch_size", buckets = [2])]
    _batch_size: Histogram,
}

#[derive(Debug, MetricSet)]
struct NoBuckets {
    /// Jobs.
    #[metric(buckets = [1])]
    #[expect(dead_code, reason = "it is never made")]
    jobs: Counter,
}

mod elsewhere {
    pub(crate) use campanile_metrics as telemetry;
}

#[derive(Labels)]
#[label(crate = elsewhere::telemetry)]
struct Shard<'a> {
    zone: &'a str,
    number: usize,
}

#[derive(MetricSet)]
#[metrics(crate = elsewhere::telemetry)]
struct OfShards {
    /// Rows.
    rows: Family<Shard<'static>, Gauge>,
}

macro_rules! set {
    ($name:ident, $kind:ty) => {
        #[derive(MetricSet)]
        struct $name {
            /// A metric.
            made_by_a_macro: $kind,
        }
    };
}

set!(Made, Gauge);

#[test]
fn sets_may_be_made_by_macros_and_through_other_paths() {
    let registry = Registry::new();
    Made::register(&registry).unwrap().made_by_a_macro.set(1.0);
    let shard = Shard {
        zone: "a",
        number: 7,
    };
    let shards = OfShards::register(&registry).unwrap();
    shards.rows.with(shard).set(2.0);
    let page = registry.render();
    assert!(page.contains("\nmade_by_a_macro 1\n"), "{page}");
    assert!(
        page.contains("\nrows{number=\"7\",zone=\"a\"} 2\n"),
        "{page}"
    );
}

#[derive(Labels)]
struct Constant {
    zone: bool,
}

#[test]
fn mistakes_are_typed_errors() {
    let registry = Registry::new();
    let error = Wrong::register(&registry).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid metric name \"active_users_total\" of a gauge: expected no `_total`, only counters have it"
    );
    Everything::register(&registry).unwrap();
    let error = OtherBuckets::register(&registry).unwrap_err();
    assert_eq!(
        error,
        RegisterError::BucketConflict {
            name: "app_batch_size".into(),
            requested: vec![2.0],
            existing: vec![1.0, 10.0, 100.5],
        }
    );
    let error = NoBuckets::register(&registry).unwrap_err();
    let text =
        "unexpected bucket bounds of the metric \"jobs\": expected a histogram, not a counter";
    assert_eq!(error.to_string(), text);
    let error = registry.set_buckets("x", &[]).unwrap_err();
    assert!(
        error.to_string().contains("expected at least one"),
        "{error}"
    );
    let error = registry.family::<Operation, Gauge>("app_jobs_total");
    assert!(matches!(error, Err(RegisterError::TotalSuffix { .. })));
    let error = registry.family::<Operation, Gauge>("app_batch_size");
    assert!(matches!(error, Err(RegisterError::KindConflict { .. })));
    // A label of the series overrides a constant label.
    let zoned = Registry::builder().constant_label("zone", "a").build();
    let zoned = zoned.unwrap();
    let family = zoned.family::<Constant, Gauge>("g").unwrap();
    family.with(Constant { zone: true }).set(1.0);
    let page = zoned.render();
    assert!(page.contains("g{zone=\"true\"} 1\n"), "{page}");
    assert_eq!(Constant { zone: true }.values(), ["true"]);
}

#[derive(Debug, MetricSet)]
struct Blocks {
    /**
     * Jobs that
     * were done.
     *
     * And more of them.
     */
    jobs: Counter,
    /** Jobs that wait. */
    waiting: Gauge,
}

#[test]
fn block_comments_are_help_without_their_stars() {
    let registry = Registry::new();
    let set = Blocks::register(&registry).unwrap();
    set.jobs.increment(1);
    set.waiting.set(1.0);
    let page = registry.render();
    assert!(
        page.contains("# HELP jobs_total Jobs that were done.\n"),
        "{page}"
    );
    assert!(page.contains("# HELP waiting Jobs that wait.\n"), "{page}");
}
