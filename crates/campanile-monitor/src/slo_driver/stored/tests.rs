use std::time::Duration;

use campanile_sla::{Slo, Source};
use campanile_store::Memory;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn sla(names: &[&str], now: Now) -> ServiceLevels {
    let slo = |name: &&str| Slo::availability(*name, "99%").source(Source::Manual);
    let builder = names.iter().map(slo);
    let builder = builder.fold(
        ServiceLevels::builder(),
        campanile_sla::ServiceLevelsBuilder::slo,
    );
    builder.build_at(now).unwrap()
}

fn record(sla: &ServiceLevels, name: &str, minutes: std::ops::Range<u32>, start: Now) -> Now {
    for minute in minutes.clone() {
        let now = start + MINUTE * minute;
        let tracker = sla.event_recorder(name).unwrap();
        tracker.record_at(minute % 7 > 0, Duration::ZERO, now.mono);
        sla.tick(now);
    }
    start + MINUTE * minutes.end
}

async fn write(stored: &mut Stored, store: &Memory, sla: &ServiceLevels, now: Now) {
    let mut batch = Batch::new();
    stored.put(&mut batch, sla, now).unwrap();
    let committed = store.commit(batch).await;
    stored.committed(committed.is_ok());
}

async fn samples(store: &Memory, name: &str, now: Now) -> u64 {
    let after = sla(&[name], now);
    let snapshot = read(store).await.unwrap().snapshot.unwrap();
    after.restore_at(&snapshot, now).unwrap();
    after.slo_report_at(name, now).unwrap().samples
}

/// A snapshot each time would be the largest writer of the process.
#[tokio::test]
async fn only_changes_are_written_until_they_have_grown() {
    let (start, store) = (Now::system(), Memory::new());
    let (sla, mut stored) = (sla(&["a"], start), Stored::default());
    let mut later = record(&sla, "a", 0..10_000, start);
    write(&mut stored, &store, &sla, later).await;
    let first = store.get(TABLE, "windows/000").await.unwrap().unwrap();
    let (mut written, mut snapshots) = (0, 0);
    for minute in 10_000..10_100 {
        later = record(&sla, "a", minute..minute + 1, start);
        write(&mut stored, &store, &sla, later).await;
        match store.get(TABLE, CHANGES).await.unwrap() {
            Some(changes) => written += changes.len(),
            None => snapshots += 1,
        }
        assert_eq!(samples(&store, "a", later).await, u64::from(minute) + 1);
    }
    written += snapshots * first.len();
    let each_time = 100 * first.len();
    assert!(written * 5 < each_time, "{written} {each_time} {snapshots}");
    assert!(
        snapshots > 0,
        "a snapshot replaces the changes once they have grown"
    );
}

/// After an error the stored snapshot is not known, and changes of another one are no use.
#[tokio::test]
async fn a_snapshot_follows_a_failed_write() {
    let (start, store) = (Now::system(), Memory::new());
    let (sla, mut stored) = (sla(&["a"], start), Stored::default());
    let later = record(&sla, "a", 0..10_000, start);
    write(&mut stored, &store, &sla, later).await;
    write(&mut stored, &store, &sla, later).await;
    assert!(store.get(TABLE, CHANGES).await.unwrap().is_some());
    stored.put(&mut Batch::new(), &sla, later).unwrap();
    stored.committed(false);
    let later = record(&sla, "a", 10_000..10_001, start);
    write(&mut stored, &store, &sla, later).await;
    assert!(store.get(TABLE, CHANGES).await.unwrap().is_none());
    assert_eq!(samples(&store, "a", later).await, 10_001);
    // Changes that can't be read leave the snapshot.
    let mut batch = Batch::new();
    batch.put(TABLE, CHANGES, b"damaged".to_vec());
    store.commit(batch).await.unwrap();
    assert_eq!(samples(&store, "a", later).await, 10_001);
}

/// A batch whose commit is dropped may be written or not.
#[tokio::test]
async fn a_dropped_commit_leaves_no_snapshot_to_a_later_batch() {
    let (start, store) = (Now::system(), Memory::new());
    let (sla, mut stored) = (sla(&["a"], start), Stored::default());
    let later = record(&sla, "a", 0..10_000, start);
    // A snapshot whose commit is dropped, as a timeout does.
    stored.put(&mut Batch::new(), &sla, later).unwrap();
    let later = record(&sla, "a", 10_000..10_001, start);
    write(&mut stored, &store, &sla, later).await;
    assert_eq!(samples(&store, "a", later).await, 10_001);
    // Changes whose commit is dropped.
    stored.put(&mut Batch::new(), &sla, later).unwrap();
    let later = record(&sla, "a", 10_001..10_002, start);
    write(&mut stored, &store, &sla, later).await;
    assert!(store.get(TABLE, CHANGES).await.unwrap().is_none());
    // The same before a batch without counts.
    let limit = stored.limit;
    stored.put(&mut Batch::new(), &sla, later).unwrap();
    stored.limit = 10;
    stored.put(&mut Batch::new(), &sla, later).unwrap_err();
    stored.committed(true);
    stored.limit = limit;
    let later = record(&sla, "a", 10_002..10_003, start);
    write(&mut stored, &store, &sla, later).await;
    assert!(store.get(TABLE, CHANGES).await.unwrap().is_none());
    assert_eq!(samples(&store, "a", later).await, 10_003);
}

#[test]
fn a_snapshot_beyond_the_limit_is_an_error() {
    let start = Now::system();
    let sla = sla(&["a"], start);
    let later = record(&sla, "a", 0..100, start);
    let bytes = sla.snapshot_at(later).len();
    let mut stored = Stored {
        limit: bytes - 1,
        ..Stored::default()
    };
    let mut batch = Batch::new();
    assert_eq!(stored.put(&mut batch, &sla, later), Err(TooLarge { bytes }));
    assert!(batch.is_empty());
    stored.limit = bytes;
    stored.put(&mut batch, &sla, later).unwrap();
    assert!(!batch.is_empty());
}
