//! Platforms whose CPU clocks nobody has written yet: CPU is absent there, everything else works.

/// The CPU clock of one thread: absent here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadClock;

impl ThreadClock {
    pub(crate) fn current() -> Self {
        Self
    }

    pub(crate) fn of(_id: i32) -> Self {
        Self
    }

    pub(crate) fn id(self) -> i32 {
        0
    }

    pub(crate) fn read(self) -> Option<u64> {
        None
    }
}

pub(crate) fn thread_cpu() -> Option<u64> {
    None
}

pub(crate) fn process_cpu() -> Option<u64> {
    None
}

pub(crate) fn thread_record() -> Option<super::ThreadRecord> {
    None
}

pub(crate) fn thread_ids() -> Vec<i32> {
    Vec::new()
}
