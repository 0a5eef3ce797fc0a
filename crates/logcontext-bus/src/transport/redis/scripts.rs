//! What must happen in one step at the broker.

use std::sync::LazyLock;

use redis::{Cmd, Script, ToRedisArgs, cmd};

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));)*

        /// Their texts, for each connection to load.
        pub(super) const TEXTS: &[&str] = &[$(include_str!($file)),*];
    };
}

scripts! {
    GROUP = "scripts/group.lua";
    CLAIM = "scripts/claim.lua";
    RENEW = "scripts/renew.lua";
    RELEASE = "scripts/release.lua";
    GIVE_BACK = "scripts/give_back.lua";
    BURY = "scripts/bury.lua";
    RETRY = "scripts/retry.lua";
    TRIM = "scripts/trim.lua";
    SERVE = "scripts/serve.lua";
    UNSERVE = "scripts/unserve.lua";
    TAKE_PART = "scripts/take_part.lua";
    RENEW_LEASE = "scripts/renew_lease.lua";
    RELEASE_LEASE = "scripts/release_lease.lua";
}

/// A call of a script with these keys; its arguments are to be added.
pub(super) fn call<K: ToRedisArgs>(script: &Script, keys: &[K]) -> Cmd {
    let mut command = cmd("EVALSHA");
    command.arg(script.get_hash()).arg(keys.len()).arg(keys);
    command
}
