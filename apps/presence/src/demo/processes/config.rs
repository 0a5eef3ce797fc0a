//! The configuration files of the demo's processes.

use std::fmt::Write as _;
use std::net::SocketAddr;

use logcontext_service::config::{BusUrl, DatabaseUrl};

use super::member::Member;

/// What all processes of one hub have.
#[derive(Debug)]
pub(super) struct HubConfig<'a> {
    pub(super) name: &'a str,
    pub(super) bus: &'a BusUrl,
    /// Of the hub's keys on the broker.
    pub(super) prefix: String,
    pub(super) database: &'a DatabaseUrl,
    /// The other hub: what it is called, where it is, and whether it is told of everybody.
    pub(super) other: (&'a str, SocketAddr, bool),
    pub(super) secret: &'a str,
}

impl HubConfig<'_> {
    /// As TOML. Who is killed is replaced soon, and nobody times out: each change is a client's.
    pub(super) fn of(&self, member: &Member) -> String {
        let (other, address, follows_all) = self.other;
        let mut file = String::new();
        let mut line = |text: &str| {
            let _ = writeln!(file, "{text}");
        };
        line(&format!("listeners = [{}]", text(&member.address.to_string())));
        line(&format!("admin.address = {}", text(&member.admin.to_string())));
        line(&format!("database.url = {}", text(self.database.with_password())));
        line("[presence]");
        line(&format!("role = {}", text(member.role.as_str())));
        line("unavailable_after = \"1h\"\noffline_after = \"2h\"");
        line("[presence.bus]");
        line(&format!("url = {}", text(self.bus.with_password())));
        line(&format!("prefix = {}\nclaim_after = \"3s\"", text(&self.prefix)));
        line("[presence.federation]");
        line(&format!("hub = {}\nretry_limit = \"2s\"", text(self.name)));
        line(&format!("[presence.federation.hubs.{other}]"));
        line(&format!("url = {}", text(&format!("http://{address}"))));
        line(&format!("secret = {}\nfollows_all = {follows_all}", text(self.secret)));
        file
    }
}

/// A string of TOML: what JSON has to escape is escaped the same way.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
