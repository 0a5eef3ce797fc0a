//! How a server that has left its terminal tells those who started it what became of that.

use std::io::{self, PipeReader, PipeWriter, Read, Write};

use super::fork;

/// The server's end. Dropped without a word, it means that the server has died.
pub(crate) struct Report(PipeWriter);

/// The end of the process that was started.
pub(crate) struct Waiting {
    reader: PipeReader,
    child: i32,
}

const STARTED: u8 = 0;
/// An error takes no more than this, whatever it says.
const LONGEST: u64 = 64 * 1024;

impl Report {
    pub(super) fn new(writer: PipeWriter) -> Self {
        Self(writer)
    }

    /// The server runs. What it prints from now on goes nowhere.
    ///
    /// # Errors
    /// If `/dev/null` cannot be opened. Then it is still the terminal's.
    pub(crate) fn started(mut self) -> io::Result<()> {
        fork::silence()?;
        // Nobody may be there any more to hear it.
        let _ = self.0.write_all(&[STARTED]);
        Ok(())
    }

    /// It could not start: why, and the code to exit with.
    pub(crate) fn failed(mut self, error: &str, code: u8) {
        let _ = self.0.write_all(&[code]).and_then(|()| self.0.write_all(error.as_bytes()));
    }
}

impl Waiting {
    pub(super) fn new(reader: PipeReader, child: i32) -> Self {
        Self { reader, child }
    }

    /// Waits until the server has started.
    ///
    /// # Errors
    /// Why it has not, and the code to exit with.
    pub(crate) fn wait(self) -> Result<(), (String, u8)> {
        fork::reap(self.child);
        let mut report = Vec::new();
        let read = self.reader.take(LONGEST).read_to_end(&mut report);
        match (read, report.split_first()) {
            (Ok(_), Some((&STARTED, _))) => Ok(()),
            (Ok(_), Some((&code, error))) => Err((String::from_utf8_lossy(error).into_owned(), code)),
            (Ok(_), None) => Err(("the server died before it had started".to_owned(), 1)),
            (Err(error), _) => Err((format!("cannot hear from the server: {error}"), 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tell: impl FnOnce(Report)) -> Result<(), (String, u8)> {
        let (reader, writer) = io::pipe().unwrap();
        tell(Report::new(writer));
        Waiting::new(reader, -1).wait()
    }

    #[test]
    fn the_parent_hears_why_its_child_has_not_started() {
        assert_eq!(told(|report| report.failed("no room", 3)), Err(("no room".to_owned(), 3)));
        assert_eq!(told(drop), Err(("the server died before it had started".to_owned(), 1)));
        let endless = "x".repeat(20_000);
        assert_eq!(told(|report| report.failed(&endless, 1)), Err((endless.clone(), 1)));
    }
}
