//! A server in a process of its own.

use std::path::Path;

use anyhow::Result;

use super::Kind;
use crate::child::Child;

/// A server, and the port that it has said.
pub(super) fn start(kind: Kind, log: &Path) -> Result<(Child, u16)> {
    let (child, port) =
        Child::start(&["serve".as_ref(), kind.name().as_ref(), "--log".as_ref(), log.as_os_str()])?;
    Ok((child, port.try_into()?))
}
