//! What counts as failure of something that nobody waits for.

use std::fmt::Display;

/// The result of work that was fired off, as far as failure goes: an `Err` is logged at once, by whoever ran
/// the work, with its name and the line that started it.
///
/// For `Result`, `()`, and plain types of the standard library, which never count as failures. For a type of
/// your own: `impl Outcome for Mine {}`, or say what failure is.
#[diagnostic::on_unimplemented(
    message = "nobody would hear of it if `{Self}` is a failure",
    label = "this is fired off: its result must say whether it failed",
    note = "end it with `Ok::<(), E>(())` where `E: Display`, with `()`, or write `impl Outcome for {Self} {{}}`"
)]
pub trait Outcome {
    /// The error, if it is one.
    fn failure(&self) -> Option<&dyn Display> {
        None
    }
}

impl<T, E: Display> Outcome for Result<T, E> {
    fn failure(&self) -> Option<&dyn Display> {
        self.as_ref().err().map(|error| error as &dyn Display)
    }
}

macro_rules! never_a_failure {
    ($($type:ty),* $(,)?) => { $(impl Outcome for $type {})* };
}

never_a_failure!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    String,
    &'static str,
    std::convert::Infallible,
    std::time::Duration,
    std::time::Instant,
);

impl<T> Outcome for Option<T> {}
impl<T> Outcome for Vec<T> {}
impl<T> Outcome for Box<T> {}
impl<T> Outcome for std::sync::Arc<T> {}
impl<A, B> Outcome for (A, B) {}
