//! The tables.

use logcontext_db::Migration;

/// All steps so far. What has been released does not change any more: new steps go below.
pub(super) fn migrations() -> Vec<Migration> {
    let own = [
        Migration::new(1, "users", USERS),
        Migration::new(2, "presence", PRESENCE),
        Migration::new(3, "history", HISTORY_OF_SQLITE).postgres(HISTORY_OF_POSTGRES),
        Migration::new(4, "display names", "ALTER TABLE users ADD COLUMN display_name TEXT"),
    ];
    own.into_iter().chain(super::federation::migrations()).collect()
}

/// Times are milliseconds since the start of 1970. How many users there are is kept beside them: it is asked
/// whenever somebody is new, and counting them all would take longer the more there are.
const USERS: &str = "
CREATE TABLE users (name TEXT PRIMARY KEY, since BIGINT NOT NULL);
CREATE TABLE user_count (total BIGINT NOT NULL);
INSERT INTO user_count VALUES (0);
";

/// A revision is one more than the one before: it tells which of two presences is the newer.
const PRESENCE: &str = "
CREATE TABLE presence (
    user_name TEXT PRIMARY KEY REFERENCES users (name),
    state TEXT NOT NULL CHECK (state IN ('online', 'unavailable', 'offline')),
    status_msg TEXT,
    last_active BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX presence_by_activity ON presence (state, last_active);
";

/// Ids are not used again: who reads a page goes on before the last id of it.
const HISTORY_OF_SQLITE: &str = "
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_name TEXT NOT NULL REFERENCES users (name),
    state TEXT NOT NULL,
    status_msg TEXT,
    at BIGINT NOT NULL
);
CREATE INDEX history_by_user ON history (user_name, id);
CREATE INDEX history_by_time ON history (at);
";

const HISTORY_OF_POSTGRES: &str = "
CREATE TABLE history (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_name TEXT NOT NULL REFERENCES users (name),
    state TEXT NOT NULL,
    status_msg TEXT,
    at BIGINT NOT NULL
);
CREATE INDEX history_by_user ON history (user_name, id);
CREATE INDEX history_by_time ON history (at);
";
