//! [`Check`]: what types alone do not say.

/// What must hold of settings beyond their types, such as that two go together.
///
/// Is asked when each value by itself is right. See [`Schema::checked_section`](super::Schema::checked_section).
///
/// ```
/// use logcontext_service::config::{Check, Faults};
///
/// struct Pool { smallest: u32, largest: u32 }
///
/// impl Check for Pool {
///     fn check(&self, faults: &mut Faults) {
///         if self.smallest > self.largest {
///             faults.add("smallest", format!("no more than largest, which is {}", self.largest));
///         }
///     }
/// }
///
/// let mut faults = Faults::default();
/// Pool { smallest: 9, largest: 5 }.check(&mut faults);
/// assert!(!faults.is_empty());
/// ```
pub trait Check {
    /// Adds what is wrong.
    fn check(&self, faults: &mut Faults);
}

/// What a [`Check`] has found.
#[derive(Debug, Default)]
pub struct Faults(pub(super) Vec<(String, String)>);

impl Faults {
    /// The value of `key`, within the section, is not right: `expected` goes on after "expected ". The message has
    /// the origin of the value, and the value unless it is secret.
    pub fn add(&mut self, key: impl Into<String>, expected: impl Into<String>) {
        self.0.push((key.into(), expected.into()));
    }

    /// Whether all is right.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
