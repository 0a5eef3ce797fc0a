//! `presence bus lag`.

use logcontext_bus::Bus;

use super::table::table;

pub(super) async fn lag(bus: &Bus) -> anyhow::Result<String> {
    let mut rows = Vec::new();
    for event in bus.events().await? {
        let dead = bus.dead_letter_count(&event).await?;
        for group in bus.groups(&event).await? {
            let lag = bus.lag(&event, &group).await?;
            rows.push([
                event.clone(),
                group,
                lag.unread.to_string(),
                lag.pending.to_string(),
                dead.to_string(),
            ]);
        }
    }
    Ok(table(["EVENT", "GROUP", "UNREAD", "PENDING", "DEAD LETTERS"], &rows))
}
