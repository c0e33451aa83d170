use std::fs;

use tempfile::TempDir;

use super::*;
use crate::contract;

mod full;
mod kill;

fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("store.redb")
}

fn aside(folder: &TempDir) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|file| file.to_string_lossy().contains(".redb.corrupt-"))
        .collect()
}

/// Opens a file without a store, once the thread of a dropped one has closed it.
fn database(path: &Path) -> redb::Database {
    let deadline = 1_000;
    for _ in 0..deadline {
        match redb::Database::create(path) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
                thread::park_timeout(Duration::from_millis(10));
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("the file is still open")
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let folder = TempDir::new().unwrap();
    contract::records_and_journal(&Redb::open(path(&folder)).unwrap()).await;
    let other = folder.path().join("other.redb");
    contract::what_is_too_much_changes_nothing(&Redb::open(other).unwrap()).await;
}

#[tokio::test]
async fn what_was_written_is_there_when_it_is_opened_again() {
    let folder = TempDir::new().unwrap();
    // An empty file is as good as none.
    fs::write(path(&folder), "").unwrap();
    let store = Redb::open(path(&folder)).unwrap();
    assert_eq!(store.status(), Status::new(true));
    let mut batch = Batch::new();
    batch.put("t", "k", "v").append("entry");
    store.commit(batch).await.unwrap();
    drop(store);

    let store = Redb::open(path(&folder)).unwrap();
    assert_eq!(
        store.get("t", "k").await.unwrap().as_deref(),
        Some(&b"v"[..])
    );
    let mut batch = Batch::new();
    batch.append("next");
    store.commit(batch).await.unwrap();
    let entries = [Entry::new(1, "entry"), Entry::new(2, "next")];
    assert_eq!(store.journal(0, 10).await.unwrap(), entries);
}

#[tokio::test]
async fn a_file_has_one_store_at_a_time() {
    let folder = TempDir::new().unwrap();
    let store = Redb::open(path(&folder)).unwrap();
    let error = Redb::open(path(&folder)).unwrap_err();
    assert_eq!(
        error,
        OpenError::InUse {
            path: path(&folder)
        }
    );
    assert!(
        error
            .to_string()
            .contains("store.redb is open in another process")
    );
    // The first is none the worse.
    let mut batch = Batch::new();
    batch.put("t", "k", "v");
    store.commit(batch).await.unwrap();
    assert_eq!(aside(&folder), Vec::<PathBuf>::new());
}

#[test]
fn what_the_system_refuses_is_told() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing/store.redb");
    let error = Redb::open(&missing).unwrap_err();
    assert!(
        matches!(
            &error,
            OpenError::Io {
                kind: std::io::ErrorKind::NotFound,
                ..
            }
        ),
        "{error}"
    );
    assert!(Redb::open(folder.path()).is_err(), "a folder");
}

#[test]
fn a_newer_file_is_left_alone() {
    let folder = TempDir::new().unwrap();
    drop(Redb::open(path(&folder)).unwrap());
    {
        let database = database(&path(&folder));
        let transaction = database.begin_write().unwrap();
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        transaction
            .open_table(meta)
            .unwrap()
            .insert("version", 2)
            .unwrap();
        transaction.commit().unwrap();
    }
    let error = Redb::open(path(&folder)).unwrap_err();
    assert_eq!(
        error,
        OpenError::Newer {
            path: path(&folder),
            found: 2,
            known: 1
        }
    );
    assert_eq!(aside(&folder), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_corrupt_file_is_set_aside() {
    for contents in ["no store".repeat(1_000), "x".to_owned()] {
        let folder = TempDir::new().unwrap();
        fs::write(path(&folder), &contents).unwrap();
        let store = Redb::open(path(&folder)).unwrap();
        let [file] = &aside(&folder)[..] else {
            panic!("not set aside: {:?}", aside(&folder))
        };
        assert_eq!(fs::read_to_string(file).unwrap(), contents);
        let notice = store.status().notice.unwrap();
        assert!(notice.contains(&file.display().to_string()), "{notice}");
        contract::records_and_journal(&store).await;
    }
}

/// A record whose value was exchanged for that of another passes redb's own check.
#[tokio::test]
async fn a_damaged_record_is_found_when_it_is_read() {
    let folder = TempDir::new().unwrap();
    let store = Redb::open(path(&folder)).unwrap();
    let mut batch = Batch::new();
    batch.put("t", "a", "1").put("t", "b", "2");
    store.commit(batch).await.unwrap();
    drop(store);
    {
        let database = database(&path(&folder));
        let transaction = database.begin_write().unwrap();
        {
            let records = redb::TableDefinition::<(&str, &str), &[u8]>::new("records");
            let mut records = transaction.open_table(records).unwrap();
            let other = records
                .remove(("t", "b"))
                .unwrap()
                .unwrap()
                .value()
                .to_vec();
            records.insert(("t", "a"), other.as_slice()).unwrap();
        }
        transaction.commit().unwrap();
    }
    let store = Redb::open(path(&folder)).unwrap();
    let damaged = StoreError::Damaged {
        table: "t".into(),
        key: "a".into(),
    };
    assert_eq!(store.get("t", "a").await, Err(damaged));
    assert_eq!(aside(&folder).len(), 1);
    // It begins anew at once.
    assert_eq!(store.get("t", "a").await, Ok(None));
    contract::records_and_journal(&store).await;
    let status = store.status();
    assert!(
        status.error.is_none() && status.notice.is_some(),
        "{status:?}"
    );
}

/// Flips or cuts bytes of a good file at random: what is read is what was written, or the file was set aside.
#[tokio::test]
async fn no_corruption_is_read_as_data() {
    let folder = TempDir::new().unwrap();
    let good = {
        let store = Redb::open(path(&folder)).unwrap();
        let mut batch = Batch::new();
        for number in 0..500 {
            batch.put(
                "t",
                format!("{number:03}"),
                format!("value {number} ").repeat(20),
            );
            batch.append(format!("entry {number}"));
        }
        store.commit(batch).await.unwrap();
        drop(store);
        drop(database(&path(&folder)));
        fs::read(path(&folder)).unwrap()
    };
    let rounds = std::env::var("CAMPANILE_LONG").map_or(60, |_| 500);
    let mut harmless = 0;
    for round in 0..rounds {
        let mut random = fastrand::Rng::with_seed(round);
        let folder = TempDir::new().unwrap();
        let mut bytes = good.clone();
        let at = random.usize(..bytes.len());
        if round % 10 == 0 {
            bytes.truncate(at);
        } else {
            let end = (at + random.usize(1..=512)).min(bytes.len());
            bytes[at..end].fill_with(|| random.u8(..));
        }
        fs::write(path(&folder), &bytes).unwrap();
        let store = Redb::open(path(&folder)).unwrap();
        let records = store.scan("t", None, 1_000).await.unwrap();
        let entries = store.journal(0, 1_000).await.unwrap();
        if aside(&folder).is_empty() {
            harmless += 1;
            assert_eq!((records.len(), entries.len()), (500, 500), "round {round}");
            for (number, record) in records.iter().enumerate() {
                let value = format!("value {number} ").repeat(20);
                assert!(record.value == value.as_bytes(), "round {round}: {number}");
            }
        } else {
            assert_eq!((records.len(), entries.len()), (0, 0), "round {round}");
        }
    }
    assert!(harmless < rounds, "nothing was damaged");
}
