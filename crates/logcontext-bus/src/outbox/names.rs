//! The names of events as transports want them: such that live for ever.

use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashSet;

use crate::name;

/// So many different ones there may be. What is in a table may be anything.
const MOST: usize = 1_000;

static NAMES: Mutex<Option<FxHashSet<&'static str>>> = Mutex::new(None);

/// The name, which is kept: events of types that this process does not know are sent as well.
///
/// # Errors
/// Why it is none, or that there are too many.
pub(super) fn known(event: &str) -> Result<&'static str, String> {
    name::check("an event", event).map_err(|error| error.to_string())?;
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(known) = names.get(event) {
        return Ok(known);
    }
    if names.len() >= MOST {
        return Err(format!("it is one more than {MOST} different events"));
    }
    let kept: &'static str = Box::leak(event.into());
    names.insert(kept);
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_what_is_none_is_not() {
        let (one, two) = (known("presence.changed").unwrap(), known("presence.changed").unwrap());
        assert!(std::ptr::eq(one, two));
        assert!(known("no name").is_err());
    }

    #[test]
    fn there_are_no_more_than_so_many() {
        let fine = (0..2 * MOST).filter(|i| known(&format!("event-{i}")).is_ok()).count();
        assert!((MOST - 1..=MOST).contains(&fine), "{fine}");
        assert!(known("event-0").is_ok(), "those that are there stay");
    }
}
