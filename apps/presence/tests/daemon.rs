//! The service as a daemon: free of its terminal, held by its pid file, and heard of where its start fails.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use common::process::{How, Process, exchange, folder, presence, run, wait_until};
use common::{JSON, text};

const HERE: [&str; 4] = ["--listen", "127.0.0.1:0", "--database", "sqlite:presence.db?mode=rwc"];

fn put(process: &Process) -> String {
    let text = text("PUT /presence/alice", &[JSON], r#"{"presence": "online"}"#);
    exchange(TcpStream::connect(process.address()).unwrap(), &text)
}

/// A process's parent, session and terminal.
fn descent(id: &str) -> [i64; 3] {
    // pid (comm) state ppid pgrp session tty ..
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<i64> =
        stat.rsplit(") ").next().unwrap().split(' ').skip(1).take(4).map(|n| n.parse().unwrap()).collect();
    [fields[0], fields[2], fields[3]]
}

#[test]
fn it_answers_once_the_command_has_ended_and_has_let_go_of_the_terminal() {
    let process = Process::start(How::Daemon, folder(), &HERE);
    assert!(put(&process).starts_with("HTTP/1.1 200 "));
    for descriptor in 0..3 {
        let link = fs::read_link(format!("/proc/{}/fd/{descriptor}", process.id)).unwrap();
        assert_eq!(link, Path::new("/dev/null"), "{descriptor}");
    }
    let [parent, session, terminal] = descent(&process.id.to_string());
    let own = std::process::id();
    assert_ne!(parent, i64::from(own));
    assert_ne!(session, descent(&own.to_string())[1], "it is in the session of who has started it");
    assert_ne!(session, i64::from(process.id), "it leads its session, and could get a terminal again");
    assert_eq!(terminal, 0);
    process.end();
}

#[test]
fn its_books_begin_with_itself() {
    let process =
        Process::start(How::Daemon, folder(), &[&HERE[..], &["--admin-address", "127.0.0.1:0"]].concat());
    let metrics = process.admin("/metrics");
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse::<f64>().unwrap()
    };
    // The ends of threads are all that nothing explains.
    let unaccounted = value("logcontext_books_unaccounted_cpu_seconds");
    assert!(unaccounted.abs() <= 0.1 * value("logcontext_books_process_cpu_seconds_total"), "{metrics}");
    assert!(value("logcontext_books_discrepancy_ratio").abs() <= 0.01, "{metrics}");
    process.end();
}

#[test]
fn a_second_one_is_refused_by_the_pid_file_and_leaves_it_alone() {
    let process = Process::start(How::Daemon, folder(), &HERE);
    for how in How::ALL {
        let second = run(&mut presence(process.folder.path(), &how.arguments(&HERE)));
        second.assert_refused(1, &["presence.pid", &format!("process {} holds it", process.id)]);
    }
    assert!(put(&process).starts_with("HTTP/1.1 200 "));
    process.end();
}

#[test]
fn what_a_killed_one_has_left_is_in_nobodys_way() {
    let arguments = [&HERE[..], &["--listen", "unix:presence.sock"]].concat();
    let mut killed = Process::start(How::Daemon, folder(), &arguments);
    killed.signal("KILL");
    killed.wait();
    assert!(killed.path("presence.pid").exists() && killed.path("presence.sock").exists());
    let folder = std::mem::replace(&mut killed.folder, folder());
    fs::remove_file(folder.path().join("presence.log")).unwrap();
    let next = Process::start(How::Daemon, folder, &arguments);
    assert_ne!(next.id, killed.id);
    next.end();
}

#[test]
fn a_log_that_was_moved_away_is_opened_again_at_sighup() {
    for how in How::ALL {
        let process = Process::start(how, folder(), &HERE);
        let address = process.address();
        fs::rename(process.path("presence.log"), process.path("presence.log.1")).unwrap();
        process.signal("HUP");
        wait_until("the log is opened again", || {
            process.log().contains(" INFO signal logcontext_service::run::life: log opened again")
        });
        exchange(TcpStream::connect(address).unwrap(), &text("GET /presence/alice", &[], ""));
        wait_until("it is used", || process.log().contains("GET /presence/alice"));
        wait_until("the old log is written", || {
            fs::read_to_string(process.path("presence.log.1")).unwrap().contains("listening")
        });
        process.end();
    }
}

#[test]
fn the_terminal_hears_why_it_does_not_start() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = How::Daemon.arguments(&["--listen", &address]);
    let refused = run(&mut presence(folder.path(), &arguments));
    refused.assert_refused(1, &["cannot listen on ", &address, "in use"]);
    wait_until("it is gone", || !folder.path().join("presence.pid").exists());
}

#[test]
fn it_needs_a_file_for_its_log() {
    let folder = folder();
    let refused = run(&mut presence(folder.path(), &["serve", "--daemonize", "--pid-file", "presence.pid"]));
    refused.assert_refused(2, &["log.target", "stdout"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_terminal_hears_of_a_start_that_was_ended() {
    let folder = folder();
    // Takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://bob@{}/presence", silent.local_addr().unwrap());
    let arguments = How::Daemon.arguments(&["--listen", "127.0.0.1:0", "--database", &url]);
    let waiting = presence(folder.path(), &arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let connection = silent.accept().unwrap();
    let id = fs::read_to_string(folder.path().join("presence.pid")).unwrap();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", id.trim()]).status().unwrap().success());
    let output = waiting.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &*error), (Some(1), "error: SIGTERM before the server had started\n"));
    drop(connection);
}

#[test]
fn a_service_manager_hears_that_it_is_ready_and_that_it_ends() {
    for how in How::ALL {
        let folder = folder();
        let manager = UnixDatagram::bind(folder.path().join("notify.sock")).unwrap();
        manager.set_read_timeout(Some(common::PATIENCE)).unwrap();
        let hear = || {
            let mut message = [0; 512];
            let length = manager.recv(&mut message).unwrap();
            String::from_utf8(message[..length].to_vec()).unwrap()
        };
        let mut command = presence(folder.path(), &how.arguments(&HERE));
        command.env("NOTIFY_SOCKET", folder.path().join("notify.sock"));
        let process = Process::start_as(how, folder, command);
        let ready = hear();
        let status = format!("STATUS=listening on {}", process.address());
        assert!(
            ready.lines().any(|line| line == "READY=1") && ready.lines().any(|line| line == status),
            "{ready}"
        );
        process.end();
        assert!(hear().lines().any(|line| line == "STOPPING=1"));
    }
}

#[test]
fn certificates_are_read_again_at_sighup_and_the_old_ones_kept_where_the_new_are_of_no_use() {
    let folder = folder();
    let renew = |folder: &Path| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.join("certificate.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    };
    renew(folder.path());
    let config = "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls_certificate = \"certificate.pem\"\ntls_key = \"key.pem\"\n";
    fs::write(folder.path().join("presence.toml"), config).unwrap();
    let process = Process::start(How::Foreground, folder, &["--config", "presence.toml"]);
    renew(process.folder.path());
    process.signal("HUP");
    wait_until("it is read", || {
        process.log().contains(" INFO signal logcontext_service::service::tls: certificate read again")
    });
    fs::write(process.path("key.pem"), "not a key").unwrap();
    process.signal("HUP");
    wait_until("it is refused", || {
        let log = process.log();
        log.lines().any(|line| {
            line.contains(" ERROR signal ")
                && line.contains("key.pem")
                && line.contains("going on with the old one")
        })
    });
    process.end();
}

#[test]
fn it_has_as_many_workers_as_it_was_told() {
    let process = Process::start(How::Daemon, folder(), &[&HERE[..], &["--runtime-workers", "3"]].concat());
    let threads = fs::read_dir(format!("/proc/{}/task", process.id)).unwrap();
    let names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")).unwrap());
    assert_eq!(names.filter(|name| name.starts_with("tokio-rt-worker")).count(), 3);
    process.end();
}

#[test]
fn what_had_to_be_cut_off_shows_in_the_log_and_in_the_exit_code() {
    for how in How::ALL {
        let mut process =
            Process::start(how, folder(), &[&HERE[..], &["--shutdown-deadline", "300ms"]].concat());
        // Half of a body: a request that does not end.
        let mut stuck = TcpStream::connect(process.address()).unwrap();
        let put = text("PUT /presence/alice", &[JSON], r#"{"presence": "online"}"#);
        std::io::Write::write_all(&mut stuck, &put.as_bytes()[..put.len() - 5]).unwrap();
        exchange(TcpStream::connect(process.address()).unwrap(), &text("GET /health", &[], ""));
        process.signal("TERM");
        let (code, log) = process.wait();
        assert!(matches!(code, Some(3) | None), "{code:?}: {log}");
        let last = log.lines().last().unwrap();
        assert!(last.contains(" WARN shutdown ") && last.contains("cut=1"), "{log}");
        assert!(!log.contains("sentinel"), "{log}");
    }
}
