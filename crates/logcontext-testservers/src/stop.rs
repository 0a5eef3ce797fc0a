//! How to stop a server.

/// How to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A planned restart: the server rolls back what is open, writes down what it has, and disconnects everybody.
    Fast,
    /// A crash: it drops everything. The next start recovers what was safe already.
    Immediate,
}
