use std::sync::Arc;

use campanile_health::{Check, Health};
use campanile_metrics::{Registry, Value};
use campanile_sla::{
    AdjustError, Adjustment, Bound, MaintenanceWindow, ServiceLevels, Slo, Source,
};
use campanile_store::{Batch, Memory, Store};
use serde_json::json;
use tokio::time::sleep;

use super::*;
use crate::Monitor;
use crate::error::DecisionError;
use crate::gate::Gate;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn world(slos: Vec<Slo>, health: Health) -> Sources {
    let builder = ServiceLevels::builder();
    let builder = slos
        .into_iter()
        .fold(builder, |builder, one| builder.slo(one));
    Sources::new(
        Registry::new(),
        health,
        builder.build_at(Now::system()).unwrap(),
    )
}

fn no_health() -> Health {
    Health::builder().build().unwrap()
}

fn build(sources: &Sources) -> Result<SloDriver, Vec<Problem>> {
    let mut problems = Vec::new();
    let levels = SloDriver::new(sources, &mut problems);
    if problems.is_empty() {
        Ok(levels)
    } else {
        Err(problems)
    }
}

fn adjustment(now: Now) -> Adjustment {
    Adjustment::new(now.wall, 2).reason("a test").author("ada")
}

#[test]
fn the_events_of_slos_are_published() {
    let sources = world(
        vec![Slo::availability("a", "99%"), Slo::throughput("t", 1.0)],
        no_health(),
    );
    let levels = build(&sources).unwrap();
    let start = Now::system();
    for good in [true, false, true] {
        sources.sla().record_at(good, Duration::ZERO, start.mono);
    }
    levels.tick(start);
    let count = |slo, result| {
        sources
            .metrics()
            .get(EVENTS, &[("slo", slo), ("result", result)])
    };
    assert_eq!(count("a", "good"), Some(Value::Counter(2)));
    assert_eq!(count("a", "bad"), Some(Value::Counter(1)));
    // What has no budget is nothing to count for.
    assert_eq!(count("t", "good"), None);
    // What is excluded was counted.
    let one = Adjustment::new(start.wall, 1)
        .reason("a test")
        .author("ada");
    sources.sla().exclude_failures_at("a", one, start).unwrap();
    levels.tick(start + Duration::from_secs(5));
    assert_eq!(count("a", "bad"), Some(Value::Counter(1)));
}

#[test]
fn routes_that_match_nothing_are_shown_and_logged_once() {
    let sources = world(
        vec![
            Slo::availability("a", "99%").route("/v1/a"),
            Slo::availability("b", "99%"),
        ],
        no_health(),
    );
    let levels = build(&sources).unwrap();
    let start = Now::system();
    for _ in 0..100 {
        // It has no route.
        sources.sla().record_at(true, Duration::ZERO, start.mono);
    }
    for _ in 0..2 {
        levels.tick(start);
        let logged = levels.logged.lock().unwrap();
        assert_eq!(logged.iter().collect::<Vec<_>>(), ["a"]);
    }
    let report = sources.sla().report_at(start);
    let body = serde_json::to_value(SlaBody::new(&report, None)).unwrap();
    let metrics = &body["metrics"];
    assert_eq!(metrics["a"]["unmatched_routes"], json!(["/v1/a"]));
    assert_eq!(metrics["b"].get("unmatched_routes"), None);
}

#[test]
fn gauges_are_read_from_their_series() {
    let slo = |name: &str, series: &str| {
        let slo = Slo::gauge(name, "99%", Bound::AtMost(10.0)).over(HOUR);
        slo.time_slice(Duration::from_secs(10))
            .source(Source::series(series))
    };
    let sources = world(
        vec![
            slo("all", "queue_size"),
            slo("mail", "queue_size{queue=\"mail\"}"),
            slo("none", "nothing"),
        ],
        no_health(),
    );
    let levels = build(&sources).unwrap();
    let start = Now::system();
    for (queue, size) in [("mail", 4.0), ("orders", 7.0)] {
        let gauge = sources.metrics().gauge("queue_size", &[("queue", queue)]);
        gauge.unwrap().set(size);
    }
    for second in [0, 5, 10, 15, 25] {
        levels.tick(start + Duration::from_secs(second));
    }
    let counts = |name| {
        let report = sources
            .sla()
            .slo_report_at(name, start + Duration::from_secs(25));
        let report = report.unwrap();
        (report.samples, report.bad)
    };
    assert!((2..=3).contains(&counts("all").0) && counts("all").0 == counts("all").1);
    assert!((2..=3).contains(&counts("mail").0) && counts("mail").1 == 0);
    assert_eq!(counts("none"), (0, 0));
}

#[test]
fn unknown_series_and_checks_are_problems() {
    let slo = |name: &str, series: &str| {
        Slo::gauge(name, "99%", Bound::AtMost(1.0)).source(Source::series(series))
    };
    let check = Check::new("db", || async { Ok::<_, String>(()) });
    let health = Health::builder().check(check).build().unwrap();
    let sources = world(
        vec![
            slo("empty", ""),
            slo("more", "queue_size > 1"),
            slo("pattern", "queue_size{queue=~\"(\"}"),
            Slo::uptime("up", "99%").source(Source::check("redis")),
            Slo::uptime("db", "99%").source(Source::check("db")),
        ],
        health,
    );
    let problems = build(&sources).map(|_| ()).unwrap_err();
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems[0].starts_with("invalid series \"\" of SLO \"empty\": expected a metric"));
    assert!(problems[1].ends_with("unexpected \"> 1\" after the selector"));
    assert!(problems[2].starts_with("invalid series \"queue_size{queue=~"));
    assert_eq!(
        problems[3],
        "unknown check \"redis\" of SLO \"up\": expected \"db\""
    );
    let without_checks = Problem::Check {
        slo: "up".to_owned(),
        check: "redis".to_owned(),
        known: Vec::new(),
    };
    let text = without_checks.to_string();
    assert!(text.ends_with("a check, but health has none"), "{text}");
}

#[tokio::test]
async fn uptime_follows_the_health() {
    let (says, says_of) = tokio::sync::watch::channel(true);
    let check = Check::new("db", move || {
        let is_up = *says_of.borrow();
        async move { is_up.then_some(()).ok_or("down") }
    });
    let check = check.critical().interval(Duration::from_millis(100));
    // One that costs the service nothing may be down all the same.
    let cache = Check::new("cache", || async { Err::<(), _>("gone") });
    let health = Health::builder().check(check).check(cache);
    let health = health.build().unwrap();
    let sources = world(
        vec![
            Slo::uptime("service", "99%").over(HOUR),
            Slo::uptime("db", "99%")
                .over(HOUR)
                .source(Source::check("db")),
            Slo::uptime("cache", "99%")
                .over(HOUR)
                .source(Source::check("cache")),
            Slo::uptime("told", "99%").over(HOUR).source(Source::Manual),
        ],
        health.clone(),
    );
    let levels = build(&sources).unwrap();
    let bad = |name| {
        sources
            .sla()
            .slo_report_at(name, Now::system())
            .unwrap()
            .bad
    };
    let good = |name| {
        let report = sources.sla().slo_report_at(name, Now::system()).unwrap();
        report.samples - report.bad
    };
    let run = async {
        tokio::select! {
            () = health.run(std::future::pending()) => {}
            () = levels.follow_health(std::future::pending()) => {}
        }
    };
    let watch = async {
        // A tick tells how it is to begin with.
        while good("service") == 0 || good("db") == 0 {
            levels.tick(Now::system());
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((bad("service"), bad("db")), (0, 0));
        says.send_replace(false);
        // From here on there are no ticks.
        while bad("service") == 0 || bad("db") == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((good("told"), bad("told")), (0, 0));
        assert!(good("cache") == 0 && bad("cache") > 0);
    };
    let both = async {
        tokio::select! {
            () = run => {}
            () = watch => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(60), both)
        .await
        .unwrap();
}

/// A check that hangs has a result that is too old: that is no reason to believe in nothing any more.
#[tokio::test]
async fn a_check_that_hangs_is_an_outage() {
    let ms = Duration::from_millis;
    let (release, hung) = std::sync::mpsc::channel::<()>();
    let hung = Mutex::new(hung);
    let nfs = Check::blocking("nfs", move || {
        let _ = hung.lock().unwrap().recv_timeout(ms(60_000));
        Ok::<_, String>(())
    });
    let nfs = nfs.critical().interval(ms(100)).timeout(ms(50));
    let db = Check::new("db", || async { Err::<(), _>("refused") });
    let db = db.critical().interval(ms(100));
    let health = Health::builder().check(nfs).check(db).build().unwrap();
    let sources = world(
        vec![
            Slo::uptime("service", "99%").over(HOUR),
            Slo::uptime("nfs", "99%")
                .over(HOUR)
                .source(Source::check("nfs")),
        ],
        health.clone(),
    );
    let levels = build(&sources).unwrap();
    let watch = async {
        let is_stale = || {
            let report = health.report();
            let nfs = report.checks.iter().find(|check| &*check.name == "nfs");
            nfs.is_some_and(|nfs| nfs.at.is_some() && nfs.works.is_none())
        };
        while !is_stale() {
            sleep(ms(10)).await;
        }
        levels.tick(Now::system());
        let bad = |name| {
            sources
                .sla()
                .slo_report_at(name, Now::system())
                .unwrap()
                .bad
        };
        let before = (bad("service"), bad("nfs"));
        while bad("service") == before.0 || bad("nfs") == before.1 {
            assert!(is_stale());
            sleep(ms(10)).await;
        }
        drop(release);
    };
    let both = async {
        tokio::select! {
            () = health.run(std::future::pending()) => {}
            () = watch => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(60), both)
        .await
        .unwrap();
}

#[tokio::test]
async fn decisions_are_written_down() {
    let store = Arc::new(Memory::new());
    let sources = world(vec![Slo::availability("a", "99%")], no_health());
    let monitor = Monitor::builder(sources.clone()).store(store.clone());
    let monitor = monitor.build().unwrap();
    let start = Now::system();
    for good in [true, false, false, false] {
        sources.sla().record_at(good, Duration::ZERO, start.mono);
    }
    monitor.run(std::future::ready(())).await;
    monitor
        .exclude_failures("a", adjustment(start))
        .await
        .unwrap();
    let maintenance = MaintenanceWindow::new(start.wall + HOUR, start.wall + HOUR * 2)
        .reason("moving")
        .author("ada");
    monitor.schedule_maintenance(maintenance).await.unwrap();
    let error = monitor
        .exclude_failures("b", adjustment(start))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        DecisionError::Adjust(AdjustError::Unknown(_))
    ));
    let journal = store.journal(0, 10).await.unwrap();
    let entries: Vec<serde_json::Value> = journal
        .iter()
        .map(|entry| serde_json::from_slice(&entry.payload).unwrap())
        .collect();
    assert!(!monitor.end_maintenance("ada").await.unwrap());
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["event"], "failures_excluded");
    assert_eq!(
        (&entries[0]["bad"], &entries[0]["author"]),
        (&2.into(), &"ada".into())
    );
    assert_eq!(entries[1]["event"], "maintenance_scheduled");
    // They are there again at once, though no tick has written anything.
    let after = world(vec![Slo::availability("a", "99%")], no_health());
    build(&after).unwrap().restore(&*store, Now::system()).await;
    let report = after.sla().report_at(Now::system());
    assert_eq!(report.slos[0].bad, 1);
    assert_eq!(report.slos[0].adjustments.len(), 1);
    assert_eq!(report.maintenance.len(), 1);
}

/// More than a record of the store holds.
#[tokio::test]
async fn many_counts_are_written_in_parts() {
    let slos = || -> Vec<_> {
        let names = (0..100).map(|number| format!("o{number}"));
        names
            .map(|name| Slo::availability(name, "99%").source(Source::Manual))
            .collect()
    };
    let sources = world(slos(), no_health());
    let start = Now::system();
    for hour in 0..1_000 {
        for number in 0..100 {
            let tracker = sources.sla().event_recorder(&format!("o{number}")).unwrap();
            let at = start + HOUR * hour;
            tracker.record_at(true, HOUR, at.mono);
        }
    }
    let later = start + HOUR * 1_000;
    let store = Memory::new();
    let levels = build(&sources).unwrap();
    assert!(sources.sla().snapshot_at(later).len() > 2 * 512 * 1_024);
    levels.restore(&store, later).await;
    levels.write(&store, later).await;
    let after = world(slos(), no_health());
    build(&after).unwrap().restore(&store, later).await;
    let (before, after) = (sources.sla().report_at(later), after.sla().report_at(later));
    for (before, after) in before.slos.iter().zip(&after.slos) {
        assert!(before.samples >= 700);
        assert_eq!((&before.name, before.samples), (&after.name, after.samples));
    }
    // The changes of that much are made on a thread for blocking work.
    sources
        .sla()
        .event_recorder("o0")
        .unwrap()
        .record_at(true, HOUR, later.mono);
    assert!(levels.stored.lock().await.is_large());
    levels.write(&store, later).await;
    assert!(store.get("sla", "changes").await.unwrap().is_some());
    let again = world(slos(), no_health());
    build(&again).unwrap().restore(&store, later).await;
    let samples = |sources: &Sources| sources.sla().slo_report_at("o0", later).unwrap().samples;
    assert_eq!(samples(&again), samples(&sources));
    // Fewer parts than before leave none of the old ones in it.
    let one = world(vec![Slo::availability("a", "99%")], no_health());
    one.sla().record_at(true, Duration::ZERO, start.mono);
    let levels = build(&one).unwrap();
    levels.restore(&Memory::new(), start).await;
    levels.write(&store, start).await;
    let again = world(vec![Slo::availability("a", "99%")], no_health());
    build(&again).unwrap().restore(&store, start).await;
    assert_eq!(again.sla().report_at(start).slos[0].samples, 1);
}

/// Stored counts are not overwritten before they were read.
#[tokio::test]
async fn nothing_is_written_before_it_is_known_what_there_is() {
    let slos = || vec![Slo::availability("a", "99%")];
    let (before, start) = (world(slos(), no_health()), Now::system());
    before.sla().record_at(false, Duration::ZERO, start.mono);
    let store = Gate::new();
    let levels = build(&before).unwrap();
    levels.restore(&store, start).await;
    levels.write(&store, start).await;

    store.set(false, false);
    let after = world(slos(), no_health());
    let levels = build(&after).unwrap();
    levels.restore(&store, start).await;
    for _ in 0..2 {
        after.sla().record_at(false, Duration::ZERO, start.mono);
    }
    // The decision is applied, but not stored yet.
    let decided = levels
        .exclude_failures(&store, "a", adjustment(start), Now::system())
        .await;
    assert!(matches!(decided, Err(DecisionError::Store(_))));
    levels.write(&store, start).await;
    store.set(true, true);
    levels.write(&store, Now::system()).await;
    assert_eq!(store.journal(0, 10).await.unwrap().len(), 1);
    let third = world(slos(), no_health());
    build(&third).unwrap().restore(&store, Now::system()).await;
    for sources in [&after, &third] {
        let report = sources.sla().slo_report_at("a", Now::system()).unwrap();
        // Two of three bad ones are excluded.
        assert_eq!((report.samples, report.bad), (1, 1));
        assert_eq!(report.adjustments.len(), 1);
        assert_eq!(report.adjustments[0].author, "ada");
    }
}

/// A second run, after the first or beside it, finds what this process has written down.
#[tokio::test]
async fn a_second_run_does_not_double_the_counts() {
    let store = Arc::new(Memory::new());
    let slos = || vec![Slo::availability("a", "99%")];
    let sources = world(slos(), no_health());
    let samples = |sources: &Sources| {
        sources
            .sla()
            .slo_report_at("a", Now::system())
            .unwrap()
            .samples
    };
    for _ in 0..100 {
        sources
            .sla()
            .record_at(true, Duration::ZERO, Now::system().mono);
    }
    let monitor = Monitor::builder(sources.clone()).store(store.clone());
    let monitor = monitor.build().unwrap();
    for _ in 0..2 {
        monitor.run(std::future::ready(())).await;
        assert_eq!(samples(&sources), 100);
    }
    // After a restart there are two at once.
    let after = world(slos(), no_health());
    let monitor = Monitor::builder(after.clone()).store(store.clone());
    let monitor = monitor.build().unwrap();
    let run = || monitor.run(std::future::ready(()));
    tokio::join!(run(), run());
    assert_eq!(samples(&after), 100);
    let levels = build(&after).unwrap();
    levels.restore(&*store, Now::system()).await;
    assert_eq!(samples(&after), 100);
    // What it holds is readable, and stays where it is.
    assert!(store.get("sla", "unreadable/000").await.unwrap().is_none());
}

/// Counts that this version can't read are set aside, and not overwritten.
#[tokio::test]
async fn what_cannot_be_read_is_set_aside() {
    let sources = world(vec![Slo::availability("a", "99%")], no_health());
    let store = Memory::new();
    let mut batch = Batch::new();
    batch.put("sla", "windows/000", b"\x01CSLA\x09 of the future".to_vec());
    store.commit(batch).await.unwrap();
    let levels = build(&sources).unwrap();
    levels.restore(&store, Now::system()).await;
    levels.write(&store, Now::system()).await;
    let aside = store.get("sla", "unreadable/000").await.unwrap();
    assert_eq!(aside.as_deref(), Some(&b"CSLA\x09 of the future"[..]));
    let written = store.get("sla", "windows/000").await.unwrap().unwrap();
    assert!(written.starts_with(b"\x01CSLA\x02"));
}

/// The snapshot without them holds, and the next write deletes them.
#[tokio::test]
async fn changes_that_cannot_be_read_are_set_aside() {
    let slos = || vec![Slo::availability("a", "99%")];
    let (before, start) = (world(slos(), no_health()), Now::system());
    before.sla().record_at(true, Duration::ZERO, start.mono);
    let store = Gate::new();
    let levels = build(&before).unwrap();
    levels.restore(&store, start).await;
    levels.write(&store, start).await;
    let mut batch = Batch::new();
    batch.put("sla", "changes", b"of the future".to_vec());
    store.commit(batch).await.unwrap();

    let after = world(slos(), no_health());
    let levels = build(&after).unwrap();
    // Nothing replaces them before they are set aside.
    store.set(true, false);
    levels.restore(&store, start).await;
    store.set(true, true);
    levels.write(&store, start).await;
    let get = |key: &'static str| store.get("sla", key);
    let aside = get("unreadable/changes").await.unwrap();
    assert_eq!(aside.as_deref(), Some(&b"of the future"[..]));
    assert_eq!(get("changes").await.unwrap(), None);
    assert_eq!(after.sla().report_at(start).slos[0].samples, 1);
}

/// A version that knows nothing of changes reads the snapshot only.
#[tokio::test]
async fn the_last_write_of_a_run_is_a_snapshot() {
    let store = Arc::new(Memory::new());
    let sources = world(
        vec![Slo::availability("a", "99%").source(Source::Manual)],
        no_health(),
    );
    let tracker = sources.sla().event_recorder("a").unwrap();
    let start = Now::system();
    for minute in 0..10_000 {
        let at = start + Duration::from_secs(60) * minute;
        tracker.record_at(true, Duration::ZERO, at.mono);
    }
    let monitor = Monitor::builder(sources.clone()).store(store.clone());
    let monitor = monitor.build().unwrap();
    for _ in 0..2 {
        tracker.record_at(true, Duration::ZERO, Now::system().mono);
        monitor.run(std::future::ready(())).await;
        assert!(store.get("sla", "changes").await.unwrap().is_none());
    }
}

/// Counts that an older version left must not keep those of this one from being stored.
#[tokio::test]
async fn counts_that_no_slo_uses_are_dropped_first() {
    let start = Now::system();
    let old = world(
        vec![Slo::availability("old", "99%").source(Source::Manual)],
        no_health(),
    );
    for minute in 0..5_000 {
        let at = start + Duration::from_secs(60) * minute;
        old.sla()
            .event_recorder("old")
            .unwrap()
            .record_at(true, Duration::ZERO, at.mono);
    }
    let later = start + HOUR * 84;
    let slos = || vec![Slo::availability("new", "99%").source(Source::Manual)];
    let sources = world(slos(), no_health());
    sources
        .sla()
        .restore_at(&old.sla().snapshot_at(later), later)
        .unwrap();
    sources
        .sla()
        .event_recorder("new")
        .unwrap()
        .record_at(true, Duration::ZERO, later.mono);
    let levels = build(&sources).unwrap();
    levels.is_restored.store(true, Ordering::Release);
    let whole = sources.sla().snapshot_at(later).len();
    levels.stored.lock().await.limit(whole - 1);
    let store = Memory::new();
    levels.write(&store, later).await;
    assert_eq!(levels.store_failures(), 0);
    assert!(sources.sla().unused_counts().is_empty());
    let after = world(slos(), no_health());
    build(&after).unwrap().restore(&store, later).await;
    assert_eq!(after.sla().report_at(later).slos[0].samples, 1);
    // Counts that SLOs use are never dropped.
    levels.stored.lock().await.limit(10);
    levels.write(&store, later).await;
    assert_eq!(levels.store_failures(), 1);
}
