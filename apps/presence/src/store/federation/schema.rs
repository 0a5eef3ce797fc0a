//! The tables of what hubs tell each other.

use logcontext_db::Migration;

/// All steps so far.
pub(in crate::store) fn migrations() -> [Migration; 4] {
    [
        Migration::new(10, "follows of hubs", FOLLOWS),
        Migration::new(11, "presence of other hubs", REMOTE),
        Migration::new(12, "destinations", DESTINATIONS),
        Migration::new(13, "last revision", LAST_REVISION),
    ]
}

/// How many they are is kept beside them, as there may be no more than so many.
const FOLLOWS: &str = "
CREATE TABLE follows (hub TEXT NOT NULL, user_name TEXT NOT NULL, PRIMARY KEY (hub, user_name));
CREATE TABLE follow_count (hub TEXT PRIMARY KEY, total BIGINT NOT NULL);
";

/// `updates` is 0 for who has just been told of for the first time. A transaction that was received is known until it is
/// so old that nobody tries it again.
const REMOTE: &str = "
CREATE TABLE remote_presence (
    hub TEXT NOT NULL,
    user_name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('online', 'unavailable', 'offline')),
    status_msg TEXT,
    last_active BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    updates BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (hub, user_name)
);
CREATE TABLE remote_count (hub TEXT PRIMARY KEY, total BIGINT NOT NULL);
CREATE TABLE received_transactions (
    hub TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    accepted BIGINT NOT NULL,
    stale BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (hub, txn_id)
);
CREATE INDEX received_transactions_by_time ON received_transactions (at);
";

/// The largest revision of all who were forgotten: who comes back begins after it, as other hubs remember.
const LAST_REVISION: &str = "ALTER TABLE user_count ADD COLUMN last_revision BIGINT NOT NULL DEFAULT 0";

/// Where a hub that could not be told has to catch up from: all that has changed after that time, and of that time the
/// users after that name. No time: there is nothing to catch up with. Nobody's presence has changed before they were last
/// active.
const DESTINATIONS: &str = "
ALTER TABLE presence ADD COLUMN changed_at BIGINT NOT NULL DEFAULT 0;
UPDATE presence SET changed_at = last_active;
CREATE INDEX presence_by_change ON presence (changed_at, user_name);
CREATE TABLE destinations (
    hub TEXT PRIMARY KEY,
    follows_all BOOLEAN NOT NULL,
    position_at BIGINT,
    position_user TEXT NOT NULL DEFAULT '',
    failures BIGINT NOT NULL DEFAULT 0,
    retry_at BIGINT NOT NULL DEFAULT 0
);
";
