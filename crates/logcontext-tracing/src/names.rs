//! Which fields of an event may be told by their names as they are: found out once for each place that logs.

use std::cell::Cell;

use tracing::Metadata;

use crate::{escape, event};

/// Places that a thread remembers; those that share a number take turns.
const PLACES: usize = 64;

thread_local! {
    // What a place is known by is its metadata, which stays where it is for ever.
    static KNOWN: [Cell<(usize, u64)>; PLACES] = const { [const { Cell::new((0, 0)) }; PLACES] };
}

/// A bit for each field, by its index, whose name needs no escape, is no other field's, and is not `reserved`.
/// Fields beyond the 64th have none.
#[inline]
pub(crate) fn simple(metadata: &'static Metadata<'static>, reserved: impl Fn(&str) -> bool) -> u64 {
    let address = std::ptr::from_ref(metadata).addr();
    // Each has some 100 bytes.
    KNOWN.with(|known| {
        let place = &known[(address >> 6) % PLACES];
        let (whose, names) = place.get();
        if whose == address {
            return names;
        }
        let names = find_simple(metadata, reserved);
        place.set((address, names));
        names
    })
}

#[cold]
fn find_simple(metadata: &Metadata<'_>, reserved: impl Fn(&str) -> bool) -> u64 {
    let fields = metadata.fields();
    let is_simple = |name: &str| {
        !name.starts_with("r#")
            && escape::is_plain(name)
            && !reserved(name)
            && fields.iter().filter(|field| event::name(field) == name).count() == 1
    };
    fields
        .iter()
        .take(64)
        .filter(|field| is_simple(field.name()))
        .fold(0, |names, field| names | (1 << field.index()))
}
