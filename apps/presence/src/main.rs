//! The command `presence`.

use std::process::ExitCode;

use logcontext_service::App;
use presence::bus::command::run as bus;
use presence::demo::demo;
use presence::server::Presence;
use presence::status::status;

fn main() -> ExitCode {
    app().run()
}

fn app() -> App<Presence> {
    App::new().command("demo", demo).command_with_settings("bus", bus).command_with_settings("status", status)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::app().check();
    }
}
