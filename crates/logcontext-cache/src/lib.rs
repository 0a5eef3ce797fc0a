//! Shared lookups, expiring caches and keyed queues that know who runs and who pays.
