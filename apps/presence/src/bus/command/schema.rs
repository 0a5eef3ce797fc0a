//! `presence bus schema dump`.

use crate::bus::schemas;

pub(super) fn dump() -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(&schemas().to_json())?))
}
