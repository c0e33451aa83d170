//! Tests that every store must pass.

use crate::{Batch, Entry, Record, Store, StoreError};

pub(crate) async fn records_and_journal(store: &dyn Store) {
    let mut batch = Batch::new();
    batch
        .put("t", "b", "2")
        .put("t", "a", "1")
        .put("tt", "a", "other")
        .put("t", "c", "3");
    batch.append("first").append("second");
    store.commit(batch).await.unwrap();

    assert_eq!(
        store.get("t", "a").await.unwrap().as_deref(),
        Some(&b"1"[..])
    );
    assert_eq!(
        store.get("tt", "a").await.unwrap().as_deref(),
        Some(&b"other"[..])
    );
    assert_eq!(store.get("t", "d").await.unwrap(), None);
    assert_eq!(store.get("none", "a").await.unwrap(), None);

    let record = Record::new;
    let all = [record("a", "1"), record("b", "2"), record("c", "3")];
    assert_eq!(store.scan("t", None, 10).await.unwrap(), all);
    assert_eq!(store.scan("t", None, 2).await.unwrap(), all[..2]);
    assert_eq!(store.scan("t", Some("a"), 10).await.unwrap(), all[1..]);
    assert_eq!(store.scan("t", Some("c"), 10).await.unwrap(), []);
    assert_eq!(store.scan("none", None, 10).await.unwrap(), []);

    // In the order of the batch.
    let mut batch = Batch::new();
    batch
        .put("t", "a", "4")
        .delete("t", "a")
        .delete("t", "none");
    batch.delete("t", "b").put("t", "b", "5").append("third");
    store.commit(batch).await.unwrap();
    let left = [record("b", "5"), record("c", "3")];
    assert_eq!(store.scan("t", None, 10).await.unwrap(), left);

    let entries = [
        Entry::new(1, "first"),
        Entry::new(2, "second"),
        Entry::new(3, "third"),
    ];
    assert_eq!(store.journal(0, 10).await.unwrap(), entries);
    assert_eq!(store.journal(0, 2).await.unwrap(), entries[..2]);
    assert_eq!(store.journal(2, 10).await.unwrap(), entries[2..]);
    assert_eq!(store.journal(3, 10).await.unwrap(), []);
}

pub(crate) async fn a_rejected_batch_changes_nothing(store: &dyn Store) {
    let mut batch = Batch::new();
    batch
        .put("t", "a", "1")
        .append("first")
        .put("t", "b".repeat(1_025), "2");
    let error = store.commit(batch).await.unwrap_err();
    assert!(
        matches!(error, StoreError::TooLarge { size: 1_025, .. }),
        "{error}"
    );
    assert_eq!(store.scan("t", None, 10).await.unwrap(), []);
    assert_eq!(store.journal(0, 10).await.unwrap(), []);
    assert_eq!(store.status().error, None);
}
