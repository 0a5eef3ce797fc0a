//! The command `presence`.

use std::process::ExitCode;

use logcontext_service::App;
use presence::demo::demo;
use presence::server::Presence;

fn main() -> ExitCode {
    App::<Presence>::new().command("demo", demo).run()
}
