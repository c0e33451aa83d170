//! Business metrics from PostgreSQL, as JSON and as gauges.
//!
//! ```sh
//! createdb campanile
//! export DATABASE_URL='host=/var/run/postgresql dbname=campanile'
//! cargo run --example business_metrics -- --seed
//! curl http://localhost:8000/metrics/business
//! curl http://localhost:8000/metrics
//! ```
//!
//! The service creates missing tables. With `--seed` it fills empty tables with rows of the last
//! days. The database may start later than the service, and stop before it.
//!
//! | variable | default | what it is |
//! |---|---|---|
//! | `DATABASE_URL` | none, it is required | the PostgreSQL |
//! | `BUSINESS_PERIOD_SECONDS` | `60` | the time from one query to the next |
//! | `CAMPANILE_ADDR` | `127.0.0.1:8000` | the address to listen on |

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "it prints its results"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use campanile::Campanile;
use campanile::metrics::collectors::BusinessCollector;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();

    let Some(url) = variable("DATABASE_URL") else {
        eprintln!(
            "DATABASE_URL is not set: name a PostgreSQL, as in DATABASE_URL='host=/var/run/postgresql dbname=campanile'"
        );
        std::process::exit(2);
    };
    // The URL may have a password in it, and is not shown.
    let mut config = url
        .parse::<Config>()
        .map_err(|error| format!("DATABASE_URL: {}", with_causes(&error)))?;
    // Else a server that is gone without a word keeps its connection for a quarter of an hour.
    config.tcp_user_timeout(Duration::from_secs(10));
    let database = Arc::new(Database {
        config,
        seeds: std::env::args().any(|argument| argument == "--seed"),
        client: Mutex::default(),
    });

    let period = variable("BUSINESS_PERIOD_SECONDS").unwrap_or_else(|| "60".to_owned());
    let period = period
        .parse::<u64>()
        .map(Duration::from_secs)
        .map_err(|error| format!("BUSINESS_PERIOD_SECONDS={period}: {error}"))?;
    let campanile = Campanile::builder("business")
        .collector(collector("users", &database, users).interval(period))
        .collector(collector("ai_operations", &database, ai_operations).interval(period))
        .collector(collector("blockchain", &database, blockchain).interval(period))
        .build()?;
    let app = campanile.wrap(Router::new());

    let address = variable("CAMPANILE_ADDR").unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("CAMPANILE_ADDR={address}: {error}"))?;
    println!("http://{}/metrics/business", listener.local_addr()?);
    campanile.serve(listener, app).await?;
    Ok(())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns an error's text with those of its causes, which tokio-postgres leaves out.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |&error| error.source());
    let texts: Vec<_> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}

/// Returns the collector of a section. Its query is a single statement, so that the section's
/// values are consistent.
fn collector<F, T>(
    section: &str,
    database: &Arc<Database>,
    query: fn(Arc<Client>) -> F,
) -> BusinessCollector
where
    F: Future<Output = Result<T, tokio_postgres::Error>> + Send + 'static,
    T: Serialize,
{
    let database = Arc::clone(database);
    BusinessCollector::new(section, move || {
        let database = Arc::clone(&database);
        async move {
            let figures = async { query(database.client().await?).await };
            figures.await.map_err(|error| with_causes(&error))
        }
    })
}

/// A PostgreSQL, and the one connection to it.
struct Database {
    config: Config,
    seeds: bool,
    client: Mutex<Option<Arc<Client>>>,
}

impl Database {
    /// Returns the connection's client; connects if there was no connection yet, or it has ended.
    async fn client(&self) -> Result<Arc<Client>, tokio_postgres::Error> {
        let mut current = self.client.lock().await;
        if let Some(client) = current.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let (client, connection) = self.config.connect(NoTls).await?;
        // Its end shows at its client.
        tokio::spawn(connection);
        client.batch_execute(SCHEMA).await?;
        if self.seeds {
            client.batch_execute(SEED).await?;
        }
        Ok(Arc::clone(current.insert(Arc::new(client))))
    }
}

/// The times that something takes are in seconds.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        created_at timestamptz NOT NULL, last_login timestamptz);
    CREATE TABLE IF NOT EXISTS ai_operations (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        operation_type text NOT NULL, status text NOT NULL, processing_time float8 NOT NULL, created_at timestamptz NOT NULL);
    CREATE TABLE IF NOT EXISTS blockchain_transactions (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        transaction_type text NOT NULL, status text NOT NULL, confirmation_time float8, created_at timestamptz NOT NULL);
    CREATE INDEX IF NOT EXISTS ai_operations_created_at ON ai_operations (created_at);
    CREATE INDEX IF NOT EXISTS blockchain_transactions_created_at ON blockchain_transactions (created_at);";

const SEED: &str = "
    INSERT INTO users (created_at, last_login)
    SELECT now() - (n - 0.5) * interval '6 hours', now() - (n - 0.5) * interval '2 hours'
    FROM generate_series(1, 200) AS n WHERE NOT EXISTS (SELECT FROM users);
    INSERT INTO ai_operations (operation_type, status, processing_time, created_at)
    SELECT (ARRAY['chat', 'chat', 'image', 'embedding'])[1 + n % 4],
        CASE WHEN n % 5 = 0 THEN 'failed' ELSE 'success' END,
        0.25 * n, now() - (n - 0.5) * interval '1 hour'
    FROM generate_series(1, 48) AS n WHERE NOT EXISTS (SELECT FROM ai_operations);
    INSERT INTO blockchain_transactions (transaction_type, status, confirmation_time, created_at)
    SELECT (ARRAY['transfer', 'transfer', 'stake'])[1 + n % 3],
        CASE WHEN n % 4 = 0 THEN 'failed' ELSE 'confirmed' END,
        CASE WHEN n % 4 <> 0 THEN 1.5 * n END, now() - (n - 0.5) * interval '90 minutes'
    FROM generate_series(1, 32) AS n WHERE NOT EXISTS (SELECT FROM blockchain_transactions);";

#[derive(Serialize)]
struct Users {
    daily_active_users: i64,
    weekly_active_users: i64,
    total_users: i64,
    new_users_today: i64,
}

async fn users(client: Arc<Client>) -> Result<Users, tokio_postgres::Error> {
    let query = "
        SELECT count(*) FILTER (WHERE last_login >= now() - interval '24 hours') AS daily_active_users,
            count(*) FILTER (WHERE last_login >= now() - interval '168 hours') AS weekly_active_users,
            count(*) AS total_users,
            count(*) FILTER (WHERE created_at >= now() - interval '24 hours') AS new_users_today
        FROM users";
    let row = client.query_one(query, &[]).await?;
    Ok(Users {
        daily_active_users: row.try_get("daily_active_users")?,
        weekly_active_users: row.try_get("weekly_active_users")?,
        total_users: row.try_get("total_users")?,
        new_users_today: row.try_get("new_users_today")?,
    })
}

#[derive(Default, Serialize)]
struct AiOperations {
    daily_operations: i64,
    operations_by_type: BTreeMap<String, Outcomes>,
    avg_processing_time_seconds: f64,
}

#[derive(Serialize)]
struct Outcomes {
    total: i64,
    success: i64,
    failed: i64,
}

async fn ai_operations(client: Arc<Client>) -> Result<AiOperations, tokio_postgres::Error> {
    // ROLLUP adds a row for all types together, whose type is null.
    let query = "
        SELECT operation_type, count(*) AS total,
            count(*) FILTER (WHERE status = 'success') AS success,
            count(*) FILTER (WHERE status <> 'success') AS failed,
            coalesce(avg(processing_time), 0) AS seconds
        FROM ai_operations WHERE created_at >= now() - interval '24 hours'
        GROUP BY ROLLUP (operation_type)";
    let mut figures = AiOperations::default();
    for row in client.query(query, &[]).await? {
        let outcomes = Outcomes {
            total: row.try_get("total")?,
            success: row.try_get("success")?,
            failed: row.try_get("failed")?,
        };
        if let Some(operation) = row.try_get::<_, Option<String>>("operation_type")? {
            figures.operations_by_type.insert(operation, outcomes);
        } else {
            figures.daily_operations = outcomes.total;
            figures.avg_processing_time_seconds = row.try_get("seconds")?;
        }
    }
    Ok(figures)
}

#[derive(Default, Serialize)]
struct Blockchain {
    daily_transactions: i64,
    transactions_by_type: BTreeMap<String, i64>,
    avg_confirmation_time_seconds: f64,
    failed_transactions: i64,
}

async fn blockchain(client: Arc<Client>) -> Result<Blockchain, tokio_postgres::Error> {
    let query = "
        SELECT transaction_type, count(*) AS total,
            count(*) FILTER (WHERE status = 'failed') AS failed,
            coalesce(avg(confirmation_time), 0) AS seconds
        FROM blockchain_transactions WHERE created_at >= now() - interval '24 hours'
        GROUP BY ROLLUP (transaction_type)";
    let mut figures = Blockchain::default();
    for row in client.query(query, &[]).await? {
        let total = row.try_get("total")?;
        if let Some(transaction) = row.try_get::<_, Option<String>>("transaction_type")? {
            figures.transactions_by_type.insert(transaction, total);
        } else {
            figures.daily_transactions = total;
            figures.failed_transactions = row.try_get("failed")?;
            figures.avg_confirmation_time_seconds = row.try_get("seconds")?;
        }
    }
    Ok(figures)
}
