//! Redis does what every transport must do. Each test has a server and a line to it of its own.

#![cfg(all(feature = "redis", feature = "conformance"))]

use std::sync::Arc;

use logcontext_bus::ConnectError;
use logcontext_bus::conformance::{Broker, Trouble};
use logcontext_bus::transport::{Connector, Link, Redis, Transport};
use logcontext_testservers as servers;

struct OwnRedis {
    transport: Redis,
    link: servers::Link,
    server: servers::Redis,
}

fn broker() -> OwnRedis {
    let server = servers::Redis::start().unwrap();
    let link = servers::Link::to(server.url());
    OwnRedis { transport: Redis::new(link.url()).unwrap(), link, server }
}

impl Connector for OwnRedis {
    fn connect(&self, link: Link) -> Result<Arc<dyn Transport>, ConnectError> {
        self.transport.connect(link)
    }
}

impl Broker for OwnRedis {
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

logcontext_bus::conformance!(broker(); #[ignore = "needs Redis: cargo xtask test"]);
