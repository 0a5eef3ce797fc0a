//! [`run`]: a server as a command.

mod exit;
mod life;
mod schema;
mod signals;
mod systemd;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Config, Schema, without_passwords};
use crate::error::one_line;
use crate::server::{BoxError, Server};
use crate::service::Settings;
use exit::Exit;

/// Runs a server as a command: all of `main`.
///
/// - `serve` runs it until SIGINT or SIGTERM; a second signal cuts its shutdown short. SIGHUP opens the log again, and
///   reads certificates again. With `--daemonize` it leaves its terminal, once it has started.
/// - `config check` says what is wrong with the configuration, and `config show` where each value of it is from.
///
/// There must be no other thread yet where the server is to become a daemon.
///
/// ```no_run
/// # use std::sync::Arc;
/// use axum::{Router, routing::get};
/// use logcontext_service::{BoxError, Empty, NoDatastore, Server};
///
/// struct Hello;
///
/// impl Server for Hello {
///     const NAME: &'static str = "hello";
///     const VERSION: &'static str = "0.1.0";
///     type Settings = Empty;
///     type Datastore = NoDatastore;
///
///     async fn new(_: Empty, _: Arc<NoDatastore>) -> Result<Self, BoxError> {
///         Ok(Self)
///     }
///
///     fn routes(self: Arc<Self>) -> Router {
///         Router::new().route("/", get(async || "hello"))
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     logcontext_service::run::<Hello>()
/// }
/// ```
pub fn run<S: Server>() -> ExitCode {
    App::<S>::new().run()
}

/// A server's command with subcommands of its own: see [`run`].
pub struct App<S: Server> {
    commands: Vec<Own<S>>,
}

/// A subcommand that only this server has.
struct Own<S: Server> {
    command: Command,
    run: Run<S>,
}

type Ran = Result<ExitCode, BoxError>;

type RunWithSettings<S> = dyn FnOnce(&ArgMatches, Settings<S>) -> Ran;

enum Run<S: Server> {
    Alone(Box<dyn FnOnce(&ArgMatches) -> Ran>),
    WithSettings(Box<RunWithSettings<S>>),
}

impl<S: Server> App<S> {
    /// With what every server has.
    pub fn new() -> Self {
        Self { commands: Vec::new() }
    }

    /// With this subcommand as well, whose options are clap's. Its error is shown on one line, without passwords, and
    /// its exit code then is 1.
    #[must_use]
    pub fn command<A, E>(
        mut self,
        name: &'static str,
        run: impl FnOnce(&A) -> Result<ExitCode, E> + 'static,
    ) -> Self
    where
        A: Args + FromArgMatches,
        E: Into<BoxError>,
    {
        let run =
            Box::new(move |matches: &ArgMatches| run(&A::from_arg_matches(matches)?).map_err(Into::into));
        self.commands.push(Own { command: A::augment_args(Command::new(name)), run: Run::Alone(run) });
        self
    }

    /// The same for a subcommand that needs the server's configuration, as `serve` would have it: it takes the same file,
    /// variables and flags.
    #[must_use]
    pub fn command_with_settings<A, E>(
        mut self,
        name: &'static str,
        run: impl FnOnce(&A, Settings<S>) -> Result<ExitCode, E> + 'static,
    ) -> Self
    where
        A: Args + FromArgMatches,
        E: Into<BoxError>,
    {
        let run = Box::new(move |matches: &ArgMatches, settings: Settings<S>| {
            run(&A::from_arg_matches(matches)?, settings).map_err(Into::into)
        });
        let command = A::augment_args(Command::new(name));
        self.commands.push(Own { command, run: Run::WithSettings(run) });
        self
    }

    /// Looks whether flags, variables and subcommands are each other's: one line in a test of every server.
    ///
    /// # Panics
    /// If they are not, or a default of the server is of no use.
    pub fn check(&self) {
        let schema = schema::of::<S>();
        if let Err(faults) = schema.check() {
            panic!("{}: {faults}", S::NAME);
        }
        command::<S>(&schema, &self.commands).debug_assert();
    }

    /// Does what the process's command line says; answers how that went.
    pub fn run(self) -> ExitCode {
        self.run_as(std::env::args_os())
    }

    fn run_as(self, command_line: impl IntoIterator<Item = OsString>) -> ExitCode {
        let schema = schema::of::<S>();
        let command = command::<S>(&schema, &self.commands);
        let matches = match command.try_get_matches_from(command_line) {
            Ok(matches) => matches,
            Err(error) => return refuse(&error),
        };
        match matches.subcommand() {
            Some(("serve", matches)) => serve::<S>(&schema, matches).into(),
            Some(("config", matches)) => match matches.subcommand() {
                Some(("show", matches)) => show(&schema, matches).into(),
                Some((_, matches)) => check(&schema, matches).into(),
                None => Exit::Misconfigured.into(),
            },
            Some((name, matches)) => own(self.commands, &schema, name, matches),
            None => Exit::Misconfigured.into(),
        }
    }
}

impl<S: Server> Default for App<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Server> fmt::Debug for App<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands: Vec<_> = self.commands.iter().map(|own| own.command.get_name()).collect();
        f.debug_struct("App").field("commands", &commands).finish_non_exhaustive()
    }
}

fn command<S: Server>(schema: &Schema, own: &[Own<S>]) -> Command {
    let serve = Command::new("serve")
        .about("Run the server until SIGINT or SIGTERM")
        .long_about(format!("Run the server until SIGINT or SIGTERM.\n\n{}", exit::HELP))
        .args(schema.args())
        .arg(
            Arg::new(DAEMONIZE)
                .long(DAEMONIZE)
                .action(ArgAction::SetTrue)
                .help("Leave the terminal once the server has started; needs log.target to be a file"),
        );
    let config = Command::new("config")
        .about("Look at the configuration")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("check").about("Say what is wrong with it, if anything is").args(schema.args()),
        )
        .subcommand(
            Command::new("show")
                .about("Say what it comes to, and where each value is from")
                .args(schema.args()),
        );
    Command::new(S::NAME)
        .version(S::VERSION)
        .about(S::ABOUT)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve)
        .subcommand(config)
        .subcommands(own.iter().map(|own| own.whole(schema)))
}

const DAEMONIZE: &str = "daemonize";

impl<S: Server> Own<S> {
    /// With the flags of the configuration, wherever they are put, if it needs that.
    fn whole(&self, schema: &Schema) -> Command {
        match self.run {
            Run::Alone(_) => self.command.clone(),
            Run::WithSettings(_) => {
                let flags = schema.args().into_iter().map(|arg| arg.global(true).hide_short_help(true));
                self.command.clone().args(flags)
            }
        }
    }
}

fn own<S: Server>(commands: Vec<Own<S>>, schema: &Schema, name: &str, matches: &ArgMatches) -> ExitCode {
    let Some(own) = commands.into_iter().find(|own| own.command.get_name() == name) else {
        return Exit::Misconfigured.into();
    };
    let ran = match own.run {
        Run::Alone(run) => run(matches),
        // What was given to any part of the command is known to the innermost.
        Run::WithSettings(run) => match settings::<S>(schema, innermost(matches)) {
            Ok(settings) => run(matches, settings),
            Err(exit) => return exit.into(),
        },
    };
    ran.unwrap_or_else(|error| {
        life::complain(&one_line(&*error));
        Exit::Failed.into()
    })
}

fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, matches)| innermost(matches))
}

fn serve<S: Server>(schema: &Schema, matches: &ArgMatches) -> Exit {
    match settings::<S>(schema, matches) {
        Ok(settings) => life::live::<S>(settings, matches.get_flag(DAEMONIZE)),
        Err(exit) => exit,
    }
}

fn settings<S: Server>(schema: &Schema, matches: &ArgMatches) -> Result<Settings<S>, Exit> {
    let config = load(schema, matches)?;
    schema::settings::<S>(&config).map_err(|error| {
        life::complain(&one_line(&*error));
        Exit::Misconfigured
    })
}

fn check(schema: &Schema, matches: &ArgMatches) -> Exit {
    match load(schema, matches) {
        Ok(_) => print("the configuration is right\n"),
        Err(exit) => exit,
    }
}

fn show(schema: &Schema, matches: &ArgMatches) -> Exit {
    match load(schema, matches) {
        Ok(config) => print(&config.show()),
        Err(exit) => exit,
    }
}

fn print(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Clean,
        Err(_) => Exit::Failed,
    }
}

/// All mistakes, a line each.
fn load(schema: &Schema, matches: &ArgMatches) -> Result<Config, Exit> {
    schema.load(&schema.sources(matches)).map_err(|errors| {
        for line in errors.to_string().lines() {
            life::complain(&without_passwords(line));
        }
        Exit::Misconfigured
    })
}

/// As clap does, but for the passwords: it repeats what it does not understand.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let _ = write!(io::stderr(), "{}", without_passwords(&error.render().to_string()));
    } else {
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Misconfigured.number()))
}
