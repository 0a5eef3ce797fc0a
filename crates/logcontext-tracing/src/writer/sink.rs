//! What is written to, and what becomes of its errors: they are counted, and told once on standard error.

use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::target::BoxedWrite;

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Is the calling thread in the middle of writing to a sink? What it logs there is the sink's own, and would
/// never end if it was written as well.
#[inline]
pub(crate) fn is_writing() -> bool {
    WRITING.get()
}

pub(crate) struct Sink {
    name: Cow<'static, str>,
    writer: BoxedWrite,
    /// The last write failed, and that has been told.
    failing: bool,
    /// The last line was left unfinished.
    torn: bool,
}

impl Sink {
    pub(crate) fn new(name: Cow<'static, str>, writer: BoxedWrite) -> Self {
        Self { name, writer, failing: false, torn: false }
    }

    pub(crate) fn replace(&mut self, writer: BoxedWrite) {
        (self.writer, self.torn) = (writer, false);
    }

    /// Writes whole lines.
    ///
    /// # Errors
    /// How many of them did not arrive.
    pub(crate) fn write(&mut self, lines: &[u8]) -> Result<(), u64> {
        let mut written = 0;
        WRITING.set(true);
        let result = catch_unwind(AssertUnwindSafe(|| self.try_write(lines, &mut written)));
        WRITING.set(false);
        let error = match result {
            Ok(Ok(())) => {
                self.failing = false;
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("it panicked: {}", message(&*panic)),
        };
        let (arrived, lost) = lines.split_at(written);
        self.torn |= arrived.last().is_some_and(|&byte| byte != b'\n');
        self.tell(&error);
        Err(lost.iter().filter(|&&byte| byte == b'\n').count() as u64)
    }

    fn try_write(&mut self, lines: &[u8], written: &mut usize) -> io::Result<()> {
        if self.torn {
            write_all(&mut self.writer, b"\n", &mut 0)?;
            self.torn = false;
        }
        write_all(&mut self.writer, lines, written)?;
        self.writer.flush()
    }

    /// Not through the log, for obvious reasons.
    fn tell(&mut self, error: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            let _ = writeln!(io::stderr(), "logcontext: cannot write the log to {}: {error}", self.name);
        }
    }
}

/// Like [`Write::write_all`], but says how far it came, and gives a pipe that somebody made non-blocking a
/// second to drain.
fn write_all(writer: &mut BoxedWrite, bytes: &[u8], written: &mut usize) -> io::Result<()> {
    const TRIES: u32 = 1_000;
    let mut tries = 0;
    while *written < bytes.len() {
        match writer.write(&bytes[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            // A writer that says it has written more than it was given is not to be believed.
            Ok(n) => (*written, tries) = ((*written + n).min(bytes.len()), 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && tries < TRIES => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}
