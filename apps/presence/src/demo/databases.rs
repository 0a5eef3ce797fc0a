//! [`Databases`]: where the hubs of the demo in one process keep their users.

use anyhow::Context as _;
use logcontext_service::config::DatabaseUrl;
use tempfile::TempDir;

use super::second;

/// Where the hubs keep their users: in a folder that goes with this, unless somebody says otherwise of the first.
pub(super) struct Databases {
    pub(super) one: DatabaseUrl,
    pub(super) two: DatabaseUrl,
    _folder: TempDir,
}

impl Databases {
    pub(super) fn new(given: Option<&DatabaseUrl>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("presence-demo-").tempdir();
        let folder = folder.context("cannot make a temporary folder for the database")?;
        let file = |hub| {
            let file = folder.path().join(format!("{hub}.db"));
            DatabaseUrl::from(format!("sqlite:{}?mode=rwc", file.display()))
        };
        let one = given.cloned().unwrap_or_else(|| file(second::ONE));
        Ok(Self { one, two: file(second::TWO), _folder: folder })
    }
}
