//! When alerts are sent, in real time and over real sockets. The test has its own process, so that
//! nothing else delays it.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use campanile::Campanile;
use campanile::alerts::{Rule, Webhook};
use campanile::store::Memory;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

const TICK: Duration = Duration::from_millis(100);
/// The delay that evaluation, store, queue and network may add to an interval.
const TOLERANCE: Duration = Duration::from_millis(150);

/// What the test does.
enum Step {
    Break(&'static str),
    Mend(&'static str),
    Kill,
    Start,
}

use Step::{Break, Kill, Mend, Start};

/// Milliseconds since the beginning, in order. `Now` has no hold; the others have one of a second.
const SCRIPT: &[(u64, Step)] = &[
    (0, Start),
    (300, Break("Slow")),
    // Too short to be told.
    (500, Break("Flap")),
    (1_300, Mend("Flap")),
    (2_500, Mend("Slow")),
    (3_000, Break("Now")),
    // It fires through a restart.
    (3_500, Kill),
    (4_000, Start),
    (4_500, Mend("Now")),
    // The time that it held is written down every 10 s, and so counts from the start.
    (5_000, Break("Slow")),
    (5_300, Kill),
    (5_600, Start),
    // It ends while the process is down.
    (7_200, Kill),
    (7_300, Mend("Slow")),
    (7_600, Start),
    // It begins while the process is down.
    (8_100, Kill),
    (8_200, Break("Now")),
    (8_600, Start),
    (9_100, Mend("Now")),
];

/// The expected notifications and their earliest times. There are no others, and none is later than
/// an interval and the tolerance.
const EXPECTED: &[(u64, &str, &str)] = &[
    (1_300, "firing", "Slow"),
    (2_500, "resolved", "Slow"),
    (3_000, "firing", "Now"),
    (4_500, "resolved", "Now"),
    (6_600, "firing", "Slow"),
    (7_600, "resolved", "Slow"),
    (8_600, "firing", "Now"),
    (9_100, "resolved", "Now"),
];

#[derive(Clone)]
struct Sink {
    start: Instant,
    told: Arc<Mutex<Vec<(Duration, String)>>>,
}

async fn take(State(sink): State<Sink>, Json(body): Json<Value>) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let name = text(&body["alerts"][0]["labels"]["alertname"]);
    let told = format!("{} {name}", text(&body["status"]));
    sink.told.lock().unwrap().push((sink.start.elapsed(), told));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notices_come_when_they_should_and_no_others() {
    #[expect(clippy::disallowed_methods, reason = "the test is the edge")]
    let start = Instant::now();
    let sink = Sink {
        start,
        told: Arc::default(),
    };
    let app = Router::new()
        .route("/", post(take))
        .with_state(sink.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });

    let wrong = Arc::new(Mutex::new(BTreeSet::new()));
    let store = Arc::new(Memory::new());
    let mut running: Option<JoinHandle<()>> = None;
    for (at, step) in SCRIPT {
        sleep_until((start + Duration::from_millis(*at)).into()).await;
        match step {
            Break(name) => drop(wrong.lock().unwrap().insert(*name)),
            Mend(name) => drop(wrong.lock().unwrap().remove(name)),
            Kill => running.take().unwrap().abort(),
            Start => {
                let campanile = campanile(&url, &wrong, &store);
                let run = async move { campanile.run(std::future::pending()).await };
                running = Some(tokio::spawn(run));
            }
        }
    }
    // An extra notification would come at one of the next evaluations.
    tokio::time::sleep(TICK * 5 + TOLERANCE).await;

    let told = sink.told.lock().unwrap();
    let events: Vec<_> = told.iter().map(|(_, told)| told.as_str()).collect();
    let expected = EXPECTED
        .iter()
        .map(|(_, event, name)| format!("{event} {name}"));
    assert_eq!(events, expected.collect::<Vec<_>>(), "{told:?}");
    for ((at, told), (from, ..)) in told.iter().zip(EXPECTED) {
        let from = Duration::from_millis(*from);
        assert!(
            *at >= from && *at <= from + TICK + TOLERANCE,
            "{told} at {at:?}, expected between {from:?} and {:?}",
            from + TICK + TOLERANCE
        );
    }
}

/// A process with three rules. A rule finds an alert while its name is in `wrong`.
fn campanile(
    url: &str,
    wrong: &Arc<Mutex<BTreeSet<&'static str>>>,
    store: &Arc<Memory>,
) -> Campanile {
    let rule = |name: &'static str, hold| {
        let wrong = Arc::clone(wrong);
        let check = move |_| wrong.lock().unwrap().contains(name).then_some(1.0);
        let rule = Rule::when(name, check).pending_for(Duration::from_secs(hold));
        // What the closure says after a restart is known at once.
        rule.look_back(Duration::ZERO)
    };
    Campanile::builder("timing")
        .rule(rule("Now", 0))
        .rule(rule("Slow", 1))
        .rule(rule("Flap", 1))
        .channel(Webhook::alertmanager("sink", url))
        .store(Arc::clone(store))
        .evaluation_interval(TICK)
        .build()
        .unwrap()
}
