//! What there is to know of the places that log, found out once for each: how their records begin, and the names of
//! their fields, as they are written.

use std::cell::Cell;
use std::rc::Rc;

use tracing::Metadata;

use crate::{escape, event};

/// Places that a thread remembers; those that share a number take turns.
const PLACES: usize = 64;

thread_local! {
    static KNOWN: [Cell<Option<Rc<Names>>>; PLACES] = const { [const { Cell::new(None) }; PLACES] };
}

/// A place that logs, as JSON has it.
pub(crate) struct Names {
    /// What the place is known by is its metadata, which stays where it is for ever.
    address: usize,
    head: String,
    fields: Box<[Name]>,
}

/// One field's name.
pub(crate) enum Name {
    /// Needs no escape, is no other field's, and is not reserved.
    Plain(Key),
    Message,
    /// Anything else.
    Special,
}

/// `,"name":"`, in so many bytes that it can be put in a few moves; what is too many is cut off afterwards.
pub(crate) struct Key {
    bytes: [u8; Self::ROOM],
    with_quote: u8,
}

impl Names {
    /// What is known of this place. It is found out with `reserved`, which has to be the same function each time.
    #[inline]
    pub(crate) fn of(metadata: &'static Metadata<'static>, reserved: fn(&str) -> bool) -> Rc<Self> {
        let address = std::ptr::from_ref(metadata).addr();
        let known = KNOWN.try_with(|known| {
            // Each has some 100 bytes.
            let place = &known[(address >> 6) % PLACES];
            let names = place.take().filter(|names| names.address == address);
            let names = names.unwrap_or_else(|| Self::find(metadata, reserved));
            place.set(Some(Rc::clone(&names)));
            names
        });
        // A thread that ends has no memory any more.
        known.unwrap_or_else(|_| Self::find(metadata, reserved))
    }

    #[cold]
    fn find(metadata: &'static Metadata<'static>, reserved: fn(&str) -> bool) -> Rc<Self> {
        let fields = metadata.fields();
        let name = |field| {
            let name = event::name(&field);
            let is_only_one = || fields.iter().filter(|field| event::name(field) == name).count() == 1;
            match field.name() {
                "message" => Name::Message,
                // Not those that begin with `r#`.
                name if !escape::is_plain(name) || name.starts_with("r#") || reserved(name) => Name::Special,
                name if is_only_one() => Key::new(name).map_or(Name::Special, Name::Plain),
                _ => Name::Special,
            }
        };
        Rc::new(Self {
            address: std::ptr::from_ref(metadata).addr(),
            head: head(metadata).unwrap_or_default(),
            fields: fields.iter().map(name).collect(),
        })
    }

    /// From the end of the timestamp to the end of the target; empty if that needs a closer look.
    #[inline]
    pub(crate) fn head(&self) -> &str {
        &self.head
    }

    /// The field's, by its index.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> &Name {
        self.fields.get(index).unwrap_or(&Name::Special)
    }
}

fn head(metadata: &Metadata<'_>) -> Option<String> {
    const LONGEST: usize = 256;
    let target = metadata.target();
    (target.len() <= LONGEST && escape::is_plain(target))
        .then(|| format!("\",\"level\":\"{}\",\"target\":\"{target}\"", metadata.level()))
}

impl Key {
    const ROOM: usize = 32;

    /// `None` if it is too long.
    fn new(name: &str) -> Option<Self> {
        let text = format!(",\"{name}\":\"");
        let mut bytes = [0; Self::ROOM];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, with_quote: text.len() as u8 })
    }

    /// `,"name":`
    #[inline]
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        self.put_some(out, usize::from(self.with_quote) - 1);
    }

    /// `,"name":"`
    #[inline]
    pub(crate) fn put_with_quote(&self, out: &mut Vec<u8>) {
        self.put_some(out, usize::from(self.with_quote));
    }

    #[inline]
    fn put_some(&self, out: &mut Vec<u8>, length: usize) {
        let end = out.len() + length;
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }
}
