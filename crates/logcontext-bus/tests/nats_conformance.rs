//! NATS does what every transport must do. Each test has a server and a line to it of its own.

#![cfg(all(feature = "nats", feature = "conformance"))]

use std::sync::Arc;

use logcontext_bus::ConnectError;
use logcontext_bus::conformance::{Broker, Trouble};
use logcontext_bus::transport::{Connector, Link, Nats, Transport};
use logcontext_testservers as servers;

struct OwnNats {
    transport: Nats,
    link: servers::Link,
    server: servers::Nats,
}

fn broker() -> OwnNats {
    let server = servers::Nats::start().unwrap();
    let link = servers::Link::to(server.url());
    OwnNats { transport: Nats::new(link.url()).unwrap(), link, server }
}

impl Connector for OwnNats {
    fn connect(&self, link: Link) -> Result<Arc<dyn Transport>, ConnectError> {
        self.transport.connect(link)
    }
}

impl Broker for OwnNats {
    fn trouble(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::Restart => {
                self.server.stop(servers::Stop::Immediate);
                self.server.start_again();
            }
            Trouble::Cut => self.link.cut(),
            Trouble::Restore => self.link.restore(),
            Trouble::Freeze => self.server.pause(),
            Trouble::Thaw => self.server.resume(),
            _ => return false,
        }
        true
    }
}

logcontext_bus::conformance!(broker(); #[ignore = "needs NATS: cargo xtask test"]);
