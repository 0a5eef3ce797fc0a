//! What the database is asked. The two differ in how they tell the time, and in how they read a list of numbers.

use logcontext_db::{Backend, Database, Error};

/// The tables. Ids are not used again, and nothing in them is a value that the broker would not get: a process that does not
/// know an event's type sends it as well.
///
/// `lane` is what must stay in order: a hash of event and key. `size` is what is read at once by.
macro_rules! tables {
    ($id:literal, $bytes:literal) => {
        concat!(
            "CREATE TABLE IF NOT EXISTS logcontext_outbox (id ", $id, ", event TEXT NOT NULL, \
             partition_no BIGINT NOT NULL, lane BIGINT NOT NULL, at BIGINT NOT NULL, size BIGINT NOT NULL, \
             head ", $bytes, " NOT NULL, body ", $bytes, " NOT NULL);
             CREATE TABLE IF NOT EXISTS logcontext_outbox_aside (id BIGINT PRIMARY KEY, event TEXT NOT NULL, \
             partition_no BIGINT NOT NULL, lane BIGINT NOT NULL, at BIGINT NOT NULL, size BIGINT NOT NULL, \
             head ", $bytes, " NOT NULL, body ", $bytes, " NOT NULL, since BIGINT NOT NULL, reason TEXT NOT NULL);
             CREATE TABLE IF NOT EXISTS logcontext_outbox_lease (name TEXT PRIMARY KEY, holder TEXT, \
             until BIGINT NOT NULL);
             INSERT INTO logcontext_outbox_lease (name, holder, until) VALUES ('relay', NULL, 0) \
             ON CONFLICT (name) DO NOTHING;"
        )
    };
}

/// The statements of one kind of database. Times are milliseconds since the start of 1970, by its own clock. Lists of
/// numbers are texts: `1,2,3`.
#[derive(Debug)]
pub(super) struct Statements {
    /// Is all of it there?
    pub(super) are_there: &'static str,
    pub(super) tables: &'static str,
    /// `event, partition, lane, size, head, body`
    pub(super) insert: &'static str,
    /// `at most so many, without these lanes, at most so many bytes`: the first ones.
    pub(super) page: &'static str,
    /// These are done.
    pub(super) delete: &'static str,
    /// How many wait, and since when.
    pub(super) look: &'static str,
    /// Is the lease nobody's?
    pub(super) is_free: &'static str,
    /// `holder, for so long`: if it is free, or the holder's.
    pub(super) acquire: &'static str,
    /// `holder, for so long`: if it is still the holder's. Nobody has taken it meanwhile, even where its time was over.
    pub(super) renew: &'static str,
    /// `id, reason`
    pub(super) set_aside: &'static str,
    /// `id`
    pub(super) bring_back: &'static str,
}

macro_rules! statements {
    ($now:literal, ($($in:tt)+), ($($not_in:tt)+), $are_there:literal, $tables:expr) => {
        Statements {
            are_there: $are_there,
            tables: $tables,
            insert: concat!(
                "INSERT INTO logcontext_outbox (event, partition_no, lane, at, size, head, body) \
                 VALUES ($1, $2, $3, ", $now, ", $4, $5, $6)"
            ),
            page: concat!(
                "SELECT id, event, partition_no, lane, at, head, body, ", $now, " AS now FROM \
                 (SELECT first.*, CAST(sum(size) OVER (ORDER BY id) AS BIGINT) - size AS ahead FROM \
                 (SELECT * FROM logcontext_outbox WHERE lane ", $($not_in)+, " ORDER BY id LIMIT $1) AS first) \
                 AS page WHERE ahead < $3 ORDER BY id"
            ),
            delete: concat!("DELETE FROM logcontext_outbox WHERE id ", $($in)+),
            look: concat!(
                "SELECT count(*) AS waiting, min(at) AS oldest, ", $now, " AS now, \
                 (SELECT count(*) FROM logcontext_outbox_aside) AS aside FROM logcontext_outbox"
            ),
            is_free: concat!(
                "SELECT count(*) FROM logcontext_outbox_lease WHERE name = 'relay' \
                 AND (holder IS NULL OR until <= ", $now, ")"
            ),
            acquire: concat!(
                "UPDATE logcontext_outbox_lease SET holder = $1, until = ", $now, " + $2 WHERE name = 'relay' \
                 AND (holder IS NULL OR holder = $1 OR until <= ", $now, ")"
            ),
            renew: concat!(
                "UPDATE logcontext_outbox_lease SET until = ", $now, " + $2 WHERE name = 'relay' AND holder = $1"
            ),
            set_aside: concat!(
                "INSERT INTO logcontext_outbox_aside (id, event, partition_no, lane, at, size, head, body, since, reason) \
                 SELECT id, event, partition_no, lane, at, size, head, body, ", $now, ", $2 FROM logcontext_outbox \
                 WHERE id = $1 ON CONFLICT (id) DO NOTHING"
            ),
            bring_back: "INSERT INTO logcontext_outbox (id, event, partition_no, lane, at, size, head, body) \
                 SELECT id, event, partition_no, lane, at, size, head, body FROM logcontext_outbox_aside \
                 WHERE id = $1 ON CONFLICT (id) DO NOTHING",
        }
    };
}

static SQLITE: Statements = statements!(
    "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    ("IN (SELECT value FROM json_each('[' || $1 || ']'))"),
    ("NOT IN (SELECT value FROM json_each('[' || $2 || ']'))"),
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN \
     ('logcontext_outbox', 'logcontext_outbox_aside', 'logcontext_outbox_lease')",
    tables!("INTEGER PRIMARY KEY AUTOINCREMENT", "BLOB")
);

/// Within a transaction its time would stand still.
static POSTGRES: Statements = statements!(
    "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    ("= ANY (CAST(string_to_array($1, ',') AS BIGINT[]))"),
    ("<> ALL (CAST(string_to_array($2, ',') AS BIGINT[]))"),
    "SELECT count(*) FROM (VALUES ('logcontext_outbox'), ('logcontext_outbox_aside'), \
     ('logcontext_outbox_lease')) AS tables (name) WHERE to_regclass(name) IS NOT NULL",
    tables!("BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", "BYTEA")
);

pub(super) const RELEASE: &str =
    "UPDATE logcontext_outbox_lease SET holder = NULL, until = 0 WHERE name = 'relay' AND holder = $1";
pub(super) const DELETE_ONE: &str = "DELETE FROM logcontext_outbox WHERE id = $1";
pub(super) const LIST_ASIDE: &str =
    "SELECT id, event, at, since, reason, head, body FROM logcontext_outbox_aside ORDER BY id LIMIT $1";
pub(super) const DROP_ASIDE: &str = "DELETE FROM logcontext_outbox_aside WHERE id = $1";

impl Statements {
    pub(super) fn of(backend: Backend) -> &'static Self {
        match backend {
            Backend::Postgres => &POSTGRES,
            // Another one there is not.
            _ => &SQLITE,
        }
    }
}

/// Are all tables there?
pub(super) async fn has_tables(database: &Database) -> Result<bool, Error> {
    let statements = Statements::of(database.backend());
    let there = database.query_one("outbox_tables", statements.are_there, ()).await?;
    Ok(there.get::<i64>(0)? == 3)
}

/// Makes the tables where they are missing. Of several processes that come at once, one does it, and the others wait.
pub(super) async fn make_tables(database: &Database) -> Result<(), Error> {
    // Who may not make tables need not.
    if has_tables(database).await? {
        return Ok(());
    }
    let statements = Statements::of(database.backend());
    database
        .run_interaction("outbox_tables", |mut txn| async move {
            if txn.backend() == Backend::Postgres {
                // Two that make one table at once are in each other's way, `IF NOT EXISTS` or not.
                txn.query_one("SELECT CAST(pg_advisory_xact_lock($1) AS TEXT)", (LOCK,)).await?;
            }
            txn.execute_script(statements.tables).await
        })
        .await
}

/// Known to all who open an outbox, and hopefully to nobody else.
const LOCK: i64 = 0x6c6f_6763_7478_6f62;

/// As the statements take them.
pub(super) fn list(numbers: impl IntoIterator<Item = i64>) -> String {
    let mut list = String::new();
    for number in numbers {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&number.to_string());
    }
    list
}
