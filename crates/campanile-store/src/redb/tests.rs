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
async fn the_contract_holds() {
    let folder = TempDir::new().unwrap();
    contract::records_and_journal(&Redb::open(path(&folder)).unwrap()).await;
    let other = folder.path().join("other.redb");
    contract::a_rejected_batch_changes_nothing(&Redb::open(other).unwrap()).await;
}

#[tokio::test]
async fn a_reopened_store_has_its_contents() {
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
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("store.redb is in use"));
    // The first store still works.
    let mut batch = Batch::new();
    batch.put("t", "k", "v");
    store.commit(batch).await.unwrap();
    assert_eq!(aside(&folder), Vec::<PathBuf>::new());
}

#[test]
fn errors_of_the_system_are_returned() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing/store.redb");
    let error = Redb::open(&missing).unwrap_err();
    assert!(
        matches!(
            &error,
            OpenError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound
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
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(aside(&folder), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_corrupt_store_is_set_aside() {
    let folder = TempDir::new().unwrap();
    drop(Redb::open(path(&folder)).unwrap());
    drop(database(&path(&folder)));
    let good = fs::read(path(&folder)).unwrap();
    // Cut off, noise in both commit slots, and a version of the format in one of them only.
    let noise = [&good[..65], &[0xa5; 255], &good[320..]].concat();
    let mut version = good.clone();
    version[192] = 4;
    for contents in [good[..1_000].to_vec(), noise, version] {
        let folder = TempDir::new().unwrap();
        fs::write(path(&folder), &contents).unwrap();
        let store = Redb::open(path(&folder)).unwrap();
        let [file] = &aside(&folder)[..] else {
            panic!("not set aside: {:?}", aside(&folder))
        };
        assert_eq!(fs::read(file).unwrap(), contents);
        let warning = store.status().warning.unwrap();
        assert!(warning.contains(&file.display().to_string()), "{warning}");
        contract::records_and_journal(&store).await;
    }
}

#[test]
fn a_file_of_another_program_is_left_alone() {
    let sqlite = [&b"SQLite format 3\0"[..], &[0; 4_080]].concat();
    for contents in [
        sqlite,
        b"no store".repeat(1_000),
        b"x".to_vec(),
        vec![0; 4_096],
        MAGIC[..4].to_vec(),
    ] {
        let folder = TempDir::new().unwrap();
        let path = path(&folder);
        fs::write(&path, &contents).unwrap();
        let foreign = Redb::open(&path).unwrap_err();
        assert!(matches!(foreign, OpenError::Foreign { .. }), "{foreign}");
        assert!(foreign.to_string().contains("is not a store"), "{foreign}");
        assert_eq!(fs::read(&path).unwrap(), contents);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

/// The first bytes of a redb file.
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

#[test]
fn a_redb_file_of_another_program_is_left_alone() {
    type Fill = fn(&redb::WriteTransaction);
    let fills: [Fill; 4] = [
        |transaction| {
            let users = redb::TableDefinition::<u64, &str>::new("users");
            transaction.open_table(users).unwrap();
        },
        |transaction| {
            let users = redb::MultimapTableDefinition::<u64, &str>::new("users");
            transaction.open_multimap_table(users).unwrap();
        },
        // Tables that have the name of one of ours.
        |transaction| {
            let meta = redb::TableDefinition::<&str, &str>::new("meta");
            let mut meta = transaction.open_table(meta).unwrap();
            meta.insert("version", "1").unwrap();
        },
        |transaction| {
            let meta = redb::TableDefinition::<&str, u64>::new("meta");
            transaction
                .open_table(meta)
                .unwrap()
                .insert("users", 1)
                .unwrap();
        },
    ];
    for fill in fills {
        let folder = TempDir::new().unwrap();
        let path = path(&folder);
        let theirs = redb::Database::create(&path).unwrap();
        let transaction = theirs.begin_write().unwrap();
        fill(&transaction);
        transaction.commit().unwrap();
        drop(theirs);
        let foreign = Redb::open(&path).unwrap_err();
        assert!(matches!(foreign, OpenError::Foreign { .. }), "{foreign}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // The file has none of our tables.
        let database = database(&path);
        let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
        let tables: Vec<_> = transaction.list_tables().unwrap().collect();
        assert!(tables.len() <= 1, "{}", tables.len());
    }
}

#[test]
fn a_file_of_another_format_is_left_alone() {
    let folder = TempDir::new().unwrap();
    drop(Redb::open(path(&folder)).unwrap());
    drop(database(&path(&folder)));
    let good = fs::read(path(&folder)).unwrap();
    for version in [1, 2, 4, 255] {
        let mut bytes = good.clone();
        // The offsets in the two commit slots.
        for at in [64, 192] {
            bytes[at] = version;
        }
        fs::write(path(&folder), &bytes).unwrap();
        let (path, found, known) = (path(&folder), version.into(), 3);
        let expected = match version {
            1 | 2 => OpenError::Older { path, found, known },
            _ => OpenError::Newer { path, found, known },
        };
        let error = Redb::open(self::path(&folder)).unwrap_err();
        assert_eq!(error.to_string(), expected.to_string());
        assert_eq!(fs::read(self::path(&folder)).unwrap(), bytes);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

/// A value that was swapped with another one passes redb's checksums.
#[tokio::test]
async fn a_corrupt_record_is_detected() {
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
    let error = store.get("t", "a").await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt { table, key } if table == "t" && key == "a"),
        "{error}"
    );
    assert_eq!(aside(&folder).len(), 1);
    // The store is empty and works at once.
    assert_eq!(store.get("t", "a").await.unwrap(), None);
    contract::records_and_journal(&store).await;
    let status = store.status();
    assert!(
        status.error.is_none() && status.warning.is_some(),
        "{status:?}"
    );
}

/// Flips or cuts random bytes of a valid file: reads return written values, or the file is set aside.
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
        let store = match Redb::open(path(&folder)) {
            Ok(store) => store,
            Err(error) => {
                // It can't be told from a file of another program.
                assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
                assert!(!bytes.starts_with(MAGIC), "round {round}");
                assert_eq!(fs::read(path(&folder)).unwrap(), bytes, "round {round}");
                continue;
            }
        };
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
