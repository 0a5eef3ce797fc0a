//! How a NATS server is run.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::instance::{self, Place};

/// Longer than that no server takes to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Kind;

pub(super) fn url(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

/// What a server says to whoever connects.
pub(super) fn info(port: u16) -> Option<String> {
    let line = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    line.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut info = String::new();
    BufReader::new(line).read_line(&mut info).ok()?;
    Some(info)
}

impl instance::Kind for Kind {
    const NAME: &str = "NATS";
    const PORT_TAKEN: &str = "address already in use";
    /// Lines of the settings file, after ours.
    type Settings<'a> = &'a str;

    fn configuration(place: &Place, settings: Self::Settings<'_>) -> String {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        format!(
            "server_name: \"{}\"\npid_file: \"{}\"\njetstream {{ store_dir: \"{}\" }}\n{settings}\n",
            quoted(&place.name()),
            quoted(&place.process_file().to_string_lossy()),
            quoted(&place.data().to_string_lossy()),
        )
    }

    fn command(program: &Path, place: &Place, port: u16) -> Vec<OsString> {
        let port = port.to_string().into();
        let arguments =
            ["-c".into(), place.configuration().into(), "-a".into(), "127.0.0.1".into(), "-p".into(), port];
        [program.into()].into_iter().chain(arguments).collect()
    }

    fn answers(place: &Place, port: u16) -> bool {
        // It says so only once it has read its streams.
        info(port).is_some_and(|info| {
            info.contains(&format!("\"server_name\":\"{}\"", place.name()))
                && info.contains("\"jetstream\":true")
        })
    }
}
