//! How much another hub has told.

use logcontext_db::Error;

use super::Store;
use crate::federation::HubName;

const RECEIVED: &str = "
SELECT COUNT(*), CAST(COALESCE(SUM(accepted), 0) AS BIGINT), CAST(COALESCE(SUM(stale), 0) AS BIGINT)
FROM received_transactions WHERE hub = $1";

/// What a hub has told, as far as it is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceivedTotals {
    /// Transactions, each counted once however often it came.
    pub transactions: u64,
    /// States in them that were newer than what was known.
    pub accepted: u64,
    /// States in them that were not.
    pub stale: u64,
}

impl Store {
    /// How much another hub has told.
    ///
    /// # Errors
    /// The database's.
    pub async fn received_totals(&self, hub: &HubName) -> Result<ReceivedTotals, Error> {
        let row = self.database.query_one("count_received", RECEIVED, (hub.as_str(),)).await?;
        let number = |column| row.get::<i64>(column).map(|n| u64::try_from(n).unwrap_or_default());
        Ok(ReceivedTotals { transactions: number(0)?, accepted: number(1)?, stale: number(2)? })
    }
}
