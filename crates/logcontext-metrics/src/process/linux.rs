//! From `/proc/self`. What cannot be read is not known.

use procfs::process::LimitValue;

use super::Process;

const NANOS: u64 = 1_000_000_000;

pub(super) fn read() -> Process {
    // Each time anew: after a fork the process is another one.
    let Ok(myself) = procfs::process::Process::myself() else { return Process::default() };
    let mut read = Process::default();
    if let Ok(stat) = myself.stat() {
        let per_second = procfs::ticks_per_second().max(1);
        read.cpu_nanos = Some((stat.utime + stat.stime).saturating_mul(NANOS / per_second));
        read.resident_bytes = Some(stat.rss.saturating_mul(procfs::page_size()));
        read.virtual_bytes = Some(stat.vsize);
        read.threads = u64::try_from(stat.num_threads).ok();
        let since_boot = stat.starttime as f64 / per_second as f64;
        read.started = procfs::boot_time_secs().ok().map(|boot| boot as f64 + since_boot);
    }
    if let Ok(limits) = myself.limits() {
        read.max_fds = value(limits.max_open_files.soft_limit);
        read.virtual_max_bytes = value(limits.max_address_space.soft_limit);
    }
    read.open_fds = myself.fd_count().ok().map(|n| n as u64);
    read
}

fn value(limit: LimitValue) -> Option<u64> {
    match limit {
        LimitValue::Value(value) => Some(value),
        LimitValue::Unlimited => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_no_number() {
        assert_eq!(value(LimitValue::Unlimited), None);
        assert_eq!(value(LimitValue::Value(1_024)), Some(1_024));
    }
}
