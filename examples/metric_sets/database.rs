//! A database: its connections as gauges, and its queries timed.

use std::time::Duration;

use campanile::metrics::{Family, Gauge, Histogram, RegisterError, Registry, Timed};
use campanile::{Labels, MetricSet};
use tokio::time::sleep;

#[derive(MetricSet)]
#[metrics(prefix = "database")]
struct DatabaseMetrics {
    /// Connections in the pool.
    connections: Gauge,
    /// Connections that run a query.
    connections_active: Gauge,
    /// Time of queries.
    #[metric(unit = "seconds", buckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0])]
    query_duration: Family<Query, Histogram>,
}

#[derive(Labels)]
struct Query {
    query_type: QueryType,
    table: Table,
}

#[derive(Labels)]
enum QueryType {
    Select,
    Insert,
}

#[derive(Labels)]
enum Table {
    Orders,
    Products,
}

/// A database that makes its answers up.
pub(crate) struct Database {
    metrics: DatabaseMetrics,
}

const CONNECTIONS: f64 = 8.0;
const PRODUCTS: u64 = 10_000;
const LATENCY: Duration = Duration::from_millis(2);

impl Database {
    pub(crate) fn new(registry: &Registry) -> Result<Self, RegisterError> {
        let metrics = DatabaseMetrics::register(registry)?;
        metrics.connections.set(CONNECTIONS);
        Ok(Self { metrics })
    }

    pub(crate) async fn insert_order(&self) {
        let query = Query {
            query_type: QueryType::Insert,
            table: Table::Orders,
        };
        self.run(query, sleep(LATENCY)).await;
    }

    pub(crate) async fn product(&self, id: u64) -> Option<String> {
        let query = Query {
            query_type: QueryType::Select,
            table: Table::Products,
        };
        self.run(query, sleep(LATENCY)).await;
        (1..=PRODUCTS)
            .contains(&id)
            .then(|| format!("product {id}"))
    }

    async fn run<T>(&self, query: Query, answer: impl Future<Output = T>) -> T {
        let _active = self.metrics.connections_active.in_flight();
        let times = self.metrics.query_duration.with(query);
        answer.timed(&times).await
    }
}
