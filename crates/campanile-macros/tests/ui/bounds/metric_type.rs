use campanile_metrics::{Counter, Family, Labels, MetricSet};

#[derive(MetricSet)]
struct Types {
    /// Not a metric.
    number: u64,
}

#[derive(Labels)]
struct Value {
    ratio: f64,
}

#[derive(MetricSet)]
struct NoLabels {
    /// By text.
    metric: Family<String, Counter>,
}

fn main() {}
