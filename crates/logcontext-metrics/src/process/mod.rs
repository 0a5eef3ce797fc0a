//! Totals of the process, under the names that Prometheus's own libraries give them.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as platform;

#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
use other as platform;

use crate::encode::{Kind, Text, Value};

/// What the system tells about this process; nothing where it does not.
#[derive(Debug, Default)]
pub(crate) struct Process {
    cpu_nanos: Option<u64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    virtual_max_bytes: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
    threads: Option<u64>,
    /// Seconds since 1970
    started: Option<f64>,
}

impl Process {
    /// `cpu_nanos` is by the process's clock where it has one: the system's own count moves at its ticks, and would be
    /// another number beside the books'.
    pub(crate) fn read(cpu_nanos: Option<u64>) -> Self {
        let read = platform::read();
        Self { cpu_nanos: cpu_nanos.or(read.cpu_nanos), ..read }
    }

    /// Scrapes that run side by side may read in one order and write in another.
    pub(crate) fn raise_to(&mut self, last_cpu: &mut u64) {
        if let Some(cpu) = &mut self.cpu_nanos {
            *cpu = (*cpu).max(*last_cpu);
            *last_cpu = *cpu;
        }
    }

    pub(crate) fn write(&self, text: &mut Text) {
        let count = |n: Option<u64>| n.map(Value::Count);
        for (name, kind, help, value) in [
            (
                "process_cpu_seconds",
                Kind::Counter,
                "User and system CPU time of the process, since it was started.",
                self.cpu_nanos.map(Value::Nanos),
            ),
            (
                "process_resident_memory_bytes",
                Kind::Gauge,
                "Memory of the process that is in RAM.",
                count(self.resident_bytes),
            ),
            (
                "process_virtual_memory_bytes",
                Kind::Gauge,
                "Address space of the process.",
                count(self.virtual_bytes),
            ),
            (
                "process_virtual_memory_max_bytes",
                Kind::Gauge,
                "Address space that the process may have; absent where there is no limit.",
                count(self.virtual_max_bytes),
            ),
            ("process_open_fds", Kind::Gauge, "File descriptors that are open.", count(self.open_fds)),
            (
                "process_max_fds",
                Kind::Gauge,
                "File descriptors that may be open; absent where there is no limit.",
                count(self.max_fds),
            ),
            ("process_threads", Kind::Gauge, "Threads of the process.", count(self.threads)),
            (
                "process_start_time_seconds",
                Kind::Gauge,
                "When the process was started, in seconds since 1970.",
                self.started.map(Value::Float),
            ),
        ] {
            text.single(name, kind, help, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    #[test]
    fn what_is_not_known_is_absent() {
        let mut text = Text::new(Format::Prometheus, 0);
        Process { open_fds: Some(3), ..Process::default() }.write(&mut text);
        let text = text.finish();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, ["process_open_fds 3"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_knows_all_but_limits_that_are_not_set() {
        let process = Process::read(None);
        let page = 4_096;
        assert!(process.cpu_nanos.is_some());
        assert_eq!(Process::read(Some(7)).cpu_nanos, Some(7), "the clock is sharper");
        assert!(process.resident_bytes.unwrap() > page && process.virtual_bytes > process.resident_bytes);
        assert!(process.open_fds.unwrap() >= 3 && process.threads.unwrap() >= 1);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - process.started.unwrap();
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }

    #[test]
    fn cpu_never_goes_down() {
        let mut last = 0;
        for (read, shown) in [(5, 5), (3, 5), (6, 6)] {
            let mut process = Process { cpu_nanos: Some(read), ..Process::default() };
            process.raise_to(&mut last);
            assert_eq!(process.cpu_nanos, Some(shown));
        }
    }
}
