//! What a context stands for, and how its work ended.

/// What a context stands for. Totals are kept apart by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContextKind {
    /// Something of its own: start-up, a signal, a shutdown.
    #[default]
    Task,
    /// A request.
    Request,
    /// A run of a background process.
    Background,
    /// A measured block: nested, and totalled under the block's name.
    Block,
    /// A client's connection.
    Connection,
    /// A part of another context, totalled with it alone.
    Nested,
}

impl ContextKind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Task, Self::Request, Self::Background, Self::Block, Self::Connection, Self::Nested];
    pub(crate) const COUNT: usize = Self::ALL.len();

    pub(crate) fn from_code(code: u32) -> Self {
        Self::ALL[code as usize % Self::COUNT]
    }

    /// Does it roll up into a parent?
    pub(crate) fn is_nested(self) -> bool {
        matches!(self, Self::Block | Self::Nested)
    }

    /// A stable name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Request => "request",
            Self::Background => "background",
            Self::Block => "block",
            Self::Connection => "connection",
            Self::Nested => "nested",
        }
    }
}

/// How the work of a context ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Well.
    Ok,
    /// In an error.
    Failed,
    /// In a panic.
    Panicked,
    /// It was dropped, aborted or left by its client before it was done.
    Cancelled,
}

impl Ending {
    pub(crate) const ALL: [Self; 4] = [Self::Ok, Self::Failed, Self::Panicked, Self::Cancelled];
    pub(crate) const COUNT: usize = Self::ALL.len();

    pub(crate) fn from_code(code: u32) -> Self {
        Self::ALL[code as usize % Self::COUNT]
    }

    /// A stable name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
        }
    }
}
