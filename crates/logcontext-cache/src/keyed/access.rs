//! What somebody wants a key for.

/// What somebody holds a key for, or wants it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// A turn of a [`Linearizer`](crate::Linearizer).
    Turn,
    /// To read, along with other readers.
    Read,
    /// To write, alone.
    Write,
}

impl Access {
    /// A stable name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// How much of the capacity of a key it takes.
    pub(super) fn weight(self, capacity: u32) -> u32 {
        match self {
            Self::Turn | Self::Read => 1,
            Self::Write => capacity,
        }
    }
}
