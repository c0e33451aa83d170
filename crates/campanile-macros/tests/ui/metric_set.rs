use campanile_metrics::{Counter, Histogram, MetricSet};

#[derive(MetricSet)]
struct Mistakes {
    undocumented: Counter,
    /// Falls.
    #[metric(buckets = [1.0, 0.5])]
    falls: Histogram,
    /// None.
    #[metric(buckets = [])]
    none: Histogram,
    /// Not a number.
    #[metric(buckets = ["1"])]
    text: Histogram,
    /// A name.
    #[metric(name = "1st")]
    first: Counter,
    /// A key.
    #[metric(label = "x")]
    key: Counter,
    /// The same name.
    #[metric(name = "key")]
    other: Counter,
}

#[derive(MetricSet)]
#[metrics(prefix = "shop_")]
struct Prefix {
    /// A metric.
    metric: Counter,
}

#[derive(MetricSet)]
#[metric(prefix = "shop")]
struct Misplaced {
    /// A metric.
    metric: Counter,
}

#[derive(MetricSet)]
struct MisplacedToo {
    /// A metric.
    #[metrics(name = "x")]
    metric: Counter,
}

#[derive(MetricSet)]
enum NoStruct {}

fn main() {}
