//! `presence bus get`.

use logcontext_bus::Bus;

use crate::bus::GetPresence;
use crate::user::UserId;

pub(super) async fn get(bus: &Bus, user: &UserId) -> anyhow::Result<String> {
    let presence = bus.call(GetPresence { user: user.clone() }).await?;
    Ok(format!("{}\n", serde_json::to_string(&presence)?))
}
