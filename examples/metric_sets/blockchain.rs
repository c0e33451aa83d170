//! A blockchain: its transactions, and those that wait for a block.

use std::time::Duration;

use campanile::metrics::{Counter, Family, Gauge, Histogram, RegisterError, Registry, Timed};
use campanile::{Labels, MetricSet};
use tokio::time::sleep;

#[derive(MetricSet)]
struct ChainMetrics {
    /// Transactions that ended.
    blockchain_transactions: Family<Transaction, Counter>,
    /// Time to sync a block.
    #[metric(unit = "seconds")]
    block_sync_duration: Histogram,
    /// Transactions that wait for a block.
    transaction_queue_size: Gauge,
}

#[derive(Labels)]
struct Transaction {
    transaction_type: TransactionType,
    status: Status,
}

#[derive(Labels)]
enum TransactionType {
    Payment,
    Payout,
}

#[derive(Labels)]
enum Status {
    Confirmed,
    Rejected,
}

/// A chain that takes all amounts but 0.
pub(crate) struct Chain {
    metrics: ChainMetrics,
}

const BLOCK_TIME: Duration = Duration::from_millis(5);

impl Chain {
    pub(crate) fn new(registry: &Registry) -> Result<Self, RegisterError> {
        let metrics = ChainMetrics::register(registry)?;
        Ok(Self { metrics })
    }

    /// Takes a payment and pays it out, and returns whether both were confirmed.
    pub(crate) async fn pay(&self, amount: u64) -> bool {
        self.send(TransactionType::Payment, amount).await
            && self.send(TransactionType::Payout, amount).await
    }

    async fn send(&self, transaction_type: TransactionType, amount: u64) -> bool {
        let _waiting = self.metrics.transaction_queue_size.in_flight();
        sleep(BLOCK_TIME)
            .timed(&self.metrics.block_sync_duration)
            .await;
        let is_confirmed = amount > 0;
        let status = if is_confirmed {
            Status::Confirmed
        } else {
            Status::Rejected
        };
        let transaction = Transaction {
            transaction_type,
            status,
        };
        self.metrics
            .blockchain_transactions
            .with(transaction)
            .increment(1);
        is_confirmed
    }
}
