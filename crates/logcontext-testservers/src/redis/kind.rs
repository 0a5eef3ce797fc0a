//! How a Redis is run.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::{resp, settings};
use crate::instance::{self, Place};

#[derive(Debug)]
pub(super) struct Kind;

pub(super) fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/")
}

impl instance::Kind for Kind {
    const NAME: &str = "Redis";
    const PORT_TAKEN: &str = "Failed listening on port";
    type Settings<'a> = &'a [(&'a str, &'a str)];

    fn configuration(place: &Place, settings: Self::Settings<'_>) -> String {
        settings::configuration(&place.data(), &place.process_file(), settings)
    }

    fn command(program: &Path, place: &Place, port: u16) -> Vec<OsString> {
        vec![program.into(), place.configuration().into(), "--port".into(), port.to_string().into()]
    }

    fn answers(place: &Place, port: u16) -> bool {
        let asked = |command: &[&str]| resp::ask(&url(port), command).unwrap_or_default();
        let is_ours =
            |folder: &String| fs::canonicalize(place.data()).is_ok_and(|data| data == Path::new(folder));
        asked(&["CONFIG", "GET", "dir"]).last().is_some_and(is_ours) && asked(&["PING"]) == ["PONG"]
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::Kind;
    use crate::instance::Instance;
    use crate::port;

    #[test]
    #[ignore = "needs Redis: cargo xtask test"]
    fn a_port_that_someone_has_taken_meanwhile_is_left_to_them() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port::free())).unwrap();
        let mut ports = vec![port::free(), taken.local_addr().unwrap().port()];
        let instance =
            Instance::<Kind>::start_on(super::super::find().unwrap(), &[], || ports.pop().unwrap()).unwrap();
        assert!(ports.is_empty());
        assert_ne!(instance.port(), taken.local_addr().unwrap().port());
        assert!(instance.answers());
    }

    #[test]
    #[ignore = "needs Redis: cargo xtask test"]
    fn another_server_on_the_same_port_is_not_taken_for_this_one() {
        let other = Instance::<Kind>::start(super::super::find().unwrap(), &[]).unwrap();
        let mut ports = vec![port::free(), other.port()];
        let instance =
            Instance::<Kind>::start_on(super::super::find().unwrap(), &[], || ports.pop().unwrap()).unwrap();
        assert_ne!(instance.port(), other.port());
        assert!(instance.answers() && other.answers());
    }
}
