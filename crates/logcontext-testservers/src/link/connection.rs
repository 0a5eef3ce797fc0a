//! One client and its connection to the server.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use super::state::State;

/// Copies from the client to the server and back, on two threads.
pub(super) struct Connection {
    ends: Arc<Ends>,
    thread: JoinHandle<()>,
}

struct Ends {
    client: TcpStream,
    /// Once there is one
    server: OnceLock<TcpStream>,
}

impl Connection {
    #[expect(clippy::disallowed_methods, reason = "there are no contexts here")]
    pub(super) fn start(client: TcpStream, state: Arc<State>) -> io::Result<Self> {
        client.set_nodelay(true)?;
        let ends = Arc::new(Ends { client, server: OnceLock::new() });
        let ours = Arc::clone(&ends);
        let run = move || {
            // Where the server cannot be reached, the client sees its connection close.
            let _ = ours.connect(&state);
            ours.shut();
        };
        let thread = thread::Builder::new().name("link".to_owned()).spawn(run)?;
        Ok(Self { ends, thread })
    }

    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// To be called when the line is cut: no thread of this one waits for anybody then.
    pub(super) fn shut(&self) {
        self.ends.shut();
    }

    pub(super) fn join(self) {
        let _ = self.thread.join();
    }
}

impl Ends {
    #[expect(clippy::disallowed_methods, reason = "there are no contexts here")]
    fn connect(&self, state: &State) -> io::Result<()> {
        if !state.may_forward() {
            return Ok(());
        }
        let server = TcpStream::connect(state.server())?;
        server.set_nodelay(true)?;
        let server = self.server.get_or_init(|| server);
        // Whoever has cut the line before did not see the server's end; whoever does so from here on shuts it too.
        if !state.may_forward() {
            return Ok(());
        }
        thread::scope(|scope| {
            scope.spawn(|| copy(&self.client, server, state));
            copy(server, &self.client, state);
        });
        Ok(())
    }

    fn shut(&self) {
        for end in [Some(&self.client), self.server.get()].into_iter().flatten() {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

/// Copies until one of them ends or the line is cut. An end of what is read is an end of what is written, and no more:
/// the other direction may go on.
fn copy(mut from: &TcpStream, mut to: &TcpStream, state: &State) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.unwrap_or(0),
        };
        let goes_on = state.may_forward();
        if goes_on && read > 0 && to.write_all(&buffer[..read]).is_ok() {
            continue;
        }
        if goes_on && read == 0 {
            let _ = to.shutdown(Shutdown::Write);
        } else {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        }
        return;
    }
}
