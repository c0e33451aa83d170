use super::*;
use crate::contract;

#[tokio::test]
async fn it_keeps_the_contract() {
    contract::records_and_journal(&Memory::new()).await;
    contract::what_is_too_much_changes_nothing(&Memory::new()).await;
}

#[tokio::test]
async fn the_oldest_entries_go() {
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
async fn the_number_of_records_has_a_cap() {
    let store = Memory::new();
    for part in 0..10 {
        let mut batch = Batch::new();
        for number in 0..10_000 {
            batch.put("t", format!("{part}-{number}"), "");
        }
        store.commit(batch).await.unwrap();
    }
    let full = Err(StoreError::Full { limit: 100_000 });
    let mut batch = Batch::new();
    batch.put("t", "one more", "");
    assert_eq!(store.commit(batch.clone()).await, full);
    let mut other = Batch::new();
    other.put("t", "0-0", "other");
    assert_eq!(store.commit(other.clone()).await, Ok(()));
    batch.delete("t", "0-0");
    assert_eq!(store.commit(batch).await, Ok(()));
    assert_eq!(store.commit(other).await, full);
}
