//! Whom a server runs as. Some refuse to run as root.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The account for a server that refuses to run as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// Whoever runs this process
    Own,
    /// Another one, as this process runs as root
    Other { user: u32, group: u32 },
}

impl Account {
    /// The first of these users that exists, or `nobody`, where `folder` shows that its creator is root.
    pub(crate) fn for_owner_of(folder: &Path, users: &[&str]) -> io::Result<Self> {
        if fs::metadata(folder)?.uid() != 0 {
            return Ok(Self::Own);
        }
        let passwd = fs::read_to_string("/etc/passwd")?;
        users.iter().chain(&["nobody"]).find_map(|user| Self::of(user, &passwd)).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "the server must not run as root, and there is no user `nobody`",
            )
        })
    }

    fn of(user: &str, passwd: &str) -> Option<Self> {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
        let mut fields = line.split(':').skip(2);
        let user = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        (user != 0).then_some(Self::Other { user, group })
    }

    /// Gives it the folder.
    pub(crate) fn give(self, folder: &Path) -> io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { user, group } => chown(folder, Some(user), Some(group)),
        }
    }

    /// Has it run the command.
    pub(crate) fn run(self, command: &mut Command) {
        if let Self::Other { user, group } = self {
            command.uid(user).gid(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n\
                          broken:x\ntoor:x:0:0::/root:/bin/sh\n";

    #[test]
    fn users_are_found_by_their_whole_name() {
        assert_eq!(Account::of("postgres", PASSWD), Some(Account::Other { user: 101, group: 104 }));
        for absent in ["post", "broken", "nobody", ""] {
            assert_eq!(Account::of(absent, PASSWD), None, "{absent}");
        }
    }

    #[test]
    fn another_name_for_root_is_still_root() {
        assert_eq!(Account::of("toor", PASSWD), None);
    }
}
