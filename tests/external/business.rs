use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use campanile_tests::{Process, eventually, example, get};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::postgres::Postgres;

/// The example as built, on a free port, with a period of 1 s.
struct Service {
    process: Process,
    address: SocketAddr,
}

const SECTIONS: [&str; 3] = ["users", "ai_operations", "blockchain"];

impl Service {
    fn start(database: &str) -> Self {
        let mut process = Process::start(
            Command::new(example("business_metrics"))
                .arg("--seed")
                .env("CAMPANILE_ADDR", "127.0.0.1:0")
                .env("DATABASE_URL", database)
                .env("BUSINESS_PERIOD_SECONDS", "1"),
        );
        let line = process.line_with("http://");
        let address = line
            .trim()
            .strip_prefix("http://")
            .and_then(|url| url.strip_suffix("/metrics/business"))
            .unwrap();
        Self {
            address: address.parse().unwrap(),
            process,
        }
    }

    async fn page(&self) -> String {
        get(self.address, "/metrics").await.unwrap().1
    }

    /// The lines of the gauges that are figures.
    async fn gauges(&self) -> Vec<String> {
        let page = self.page().await;
        let lines = page.lines().filter(|line| line.starts_with("business_"));
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }

    /// How many collections of the users failed.
    async fn failures(&self) -> u64 {
        let name = r#"campanile_business_collections_total{outcome="error",section="users"} "#;
        let page = self.page().await;
        let mut lines = page.lines();
        let count = lines.find_map(|line| line.strip_prefix(name)).unwrap();
        count.parse().unwrap()
    }

    async fn sections(&self) -> [Value; 3] {
        let (status, body) = get(self.address, "/metrics/business").await.unwrap();
        assert_eq!(status.as_u16(), 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        SECTIONS.map(|section| body[section].clone())
    }

    /// What all sections say under a name.
    async fn each(&self, name: &str) -> [Value; 3] {
        self.sections().await.map(|section| section[name].clone())
    }

    /// What all sections say besides how they are.
    async fn figures(&self) -> [Value; 3] {
        self.sections().await.map(|mut section| {
            let map = section.as_object_mut().unwrap();
            for own in ["as_of", "error", "stale"] {
                assert!(map.remove(own).is_some(), "{own}");
            }
            section
        })
    }

    /// Waits until all sections have an error, or none has.
    async fn wait_for_errors(&self, failing: bool) {
        // The text of an error is for those with a credential.
        let error = if failing {
            json!("failed")
        } else {
            Value::Null
        };
        let expected = [error.clone(), error.clone(), error];
        eventually(expected, async || self.each("error").await).await;
    }
}

/// What the rows of `--seed` add up to.
fn seeded() -> [Value; 3] {
    [
        json!({
            "daily_active_users": 12,
            "weekly_active_users": 84,
            "total_users": 200,
            "new_users_today": 4
        }),
        json!({
            "daily_operations": 24,
            "operations_by_type": {
                "chat": {"total": 12, "success": 10, "failed": 2},
                "embedding": {"total": 6, "success": 5, "failed": 1},
                "image": {"total": 6, "success": 5, "failed": 1}
            },
            "avg_processing_time_seconds": 3.125
        }),
        json!({
            "daily_transactions": 16,
            "transactions_by_type": {"stake": 5, "transfer": 11},
            "avg_confirmation_time_seconds": 12.0,
            "failed_transactions": 4
        }),
    ]
}

/// The same as gauges.
const SEEDED: [&str; 20] = [
    "business_ai_operations_avg_processing_time_seconds 3.125",
    "business_ai_operations_daily_operations 24",
    r#"business_ai_operations_operations_by_type_failed{type="chat"} 2"#,
    r#"business_ai_operations_operations_by_type_failed{type="embedding"} 1"#,
    r#"business_ai_operations_operations_by_type_failed{type="image"} 1"#,
    r#"business_ai_operations_operations_by_type_success{type="chat"} 10"#,
    r#"business_ai_operations_operations_by_type_success{type="embedding"} 5"#,
    r#"business_ai_operations_operations_by_type_success{type="image"} 5"#,
    r#"business_ai_operations_operations_by_type{type="chat"} 12"#,
    r#"business_ai_operations_operations_by_type{type="embedding"} 6"#,
    r#"business_ai_operations_operations_by_type{type="image"} 6"#,
    "business_blockchain_avg_confirmation_time_seconds 12",
    "business_blockchain_daily_transactions 16",
    "business_blockchain_failed_transactions 4",
    r#"business_blockchain_transactions_by_type{type="stake"} 5"#,
    r#"business_blockchain_transactions_by_type{type="transfer"} 11"#,
    "business_users_daily_active_users 12",
    "business_users_new_users_today 4",
    "business_users_total_users 200",
    "business_users_weekly_active_users 84",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_outlive_their_database_and_follow_it_when_it_is_back() {
    let postgres = Postgres::new();
    let service = Service::start(&postgres.url());
    service.wait_for_errors(true).await;
    assert_eq!(service.each("as_of").await, [const { Value::Null }; 3]);
    assert_eq!(service.gauges().await, [""; 0]);

    let running = postgres.start();
    service.wait_for_errors(false).await;
    assert_eq!(service.figures().await, seeded());
    assert_eq!(service.gauges().await, SEEDED);

    running.interrupt();
    service.wait_for_errors(true).await;
    let as_of = service.each("as_of").await;
    let failures = service.failures().await;
    eventually(true, async || service.failures().await > failures + 1).await;
    assert_eq!(service.each("as_of").await, as_of);
    assert_eq!(service.figures().await, seeded());
    let gauges = timeout(Duration::from_secs(2), service.gauges()).await;
    assert_eq!(gauges.expect("the page waits for the database"), SEEDED);

    let _running = postgres.start();
    service.wait_for_errors(false).await;
    let is_newer = async || {
        let now = service.each("as_of").await;
        let mut both = now.iter().zip(&as_of);
        both.all(|(now, before)| now.as_str() > before.as_str())
    };
    eventually(true, is_newer).await;
    assert_eq!(service.figures().await, seeded());
    assert_eq!(service.gauges().await, SEEDED);
    assert!(service.process.terminate().success());
}

#[test]
fn a_database_must_be_named() {
    let output = Command::new(example("business_metrics"))
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("DATABASE_URL is not set"));
}
