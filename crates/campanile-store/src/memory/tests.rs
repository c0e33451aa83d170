use super::*;
use crate::contract;

#[tokio::test]
async fn the_contract_holds() {
    contract::records_and_journal(&Memory::new()).await;
    contract::a_rejected_batch_changes_nothing(&Memory::new()).await;
}

#[tokio::test]
async fn the_oldest_entries_are_removed() {
    let store = Memory::new();
    for _ in 0..3 {
        let mut batch = Batch::new();
        for _ in 0..4_000 {
            batch.append("x");
        }
        store.commit(batch).await.unwrap();
    }
    let entries = store.journal(0, usize::MAX).await.unwrap();
    assert_eq!(
        (entries.len(), entries[0].sequence, entries[9_999].sequence),
        (10_000, 2_001, 12_000)
    );
}

#[tokio::test]
async fn the_number_of_records_is_limited() {
    let store = Memory::new();
    for part in 0..10 {
        let mut batch = Batch::new();
        for number in 0..10_000 {
            batch.put("t", format!("{part}-{number}"), "");
        }
        store.commit(batch).await.unwrap();
    }
    let is_full = |result| matches!(result, Err(StoreError::Full { limit: 100_000 }));
    let mut batch = Batch::new();
    batch.put("t", "one more", "");
    assert!(is_full(store.commit(batch.clone()).await));
    let mut other = Batch::new();
    other.put("t", "0-0", "other");
    store.commit(other.clone()).await.unwrap();
    batch.delete("t", "0-0");
    store.commit(batch).await.unwrap();
    assert!(is_full(store.commit(other).await));
}
