//! The labels of one supervisor: what its contexts are totalled by. They are few, and stay as long as it does.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;
#[cfg(feature = "tokio")]
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock, RwLock};

use rustc_hash::FxHashMap;

use crate::kind::ContextKind;
use crate::sync::{read, write};

/// A supervisor knows so many labels of a kind; the rest is [`OTHER`].
const LIMIT: usize = 1_000;
pub(crate) const OTHER: &str = "other";

/// Labels lie in chunks, which stay where they are: whoever has an index needs no lock to find its label.
const CHUNK: usize = 64;
const CHUNKS: usize = (ContextKind::COUNT * (LIMIT + 1)).div_ceil(CHUNK);

type Chunk = Box<[OnceLock<Label>; CHUNK]>;

/// So many labels a thread finds again without asking anybody.
const GUESSES: usize = 64;

thread_local! {
    /// Where labels were found last, by what is cheap to know of their names. Guesses: of whichever supervisor.
    static GUESSED: [Cell<u32>; GUESSES] = const { [const { Cell::new(0) }; GUESSES] };
}

#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) index: usize,
    pub(crate) kind: ContextKind,
    pub(crate) name: Arc<str>,
    /// Numbers the contexts that are named after the label.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only what runs in the background is"))]
    next: AtomicU64,
}

impl Label {
    /// 0, 1, 2, ..
    #[cfg(feature = "tokio")]
    pub(crate) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }
}

pub(crate) struct Labels {
    names: RwLock<Names>,
    chunks: [OnceLock<Chunk>; CHUNKS],
}

#[derive(Default)]
struct Names {
    // Looked up whenever a context is labelled; labels are the service's own, so the fast hash will do.
    by_kind: [FxHashMap<Arc<str>, usize>; ContextKind::COUNT],
    count: usize,
}

impl Default for Labels {
    fn default() -> Self {
        Self { names: RwLock::default(), chunks: [const { OnceLock::new() }; CHUNKS] }
    }
}

impl Labels {
    /// The label of this name; made if it is new. Most are where this thread has found them last: the lock's memory is
    /// written by all threads that take it.
    pub(crate) fn named(&self, kind: ContextKind, name: &str) -> &Label {
        let place = place(name);
        let guessed = GUESSED.try_with(|guessed| guessed[place].get()).unwrap_or(0);
        match self.get(guessed as usize) {
            Some(label) if label.kind == kind && *label.name == *name => label,
            _ => self.look_up(kind, name, place),
        }
    }

    #[inline(never)]
    fn look_up(&self, kind: ContextKind, name: &str, place: usize) -> &Label {
        let known = read(&self.names).by_kind[kind as usize].get(name).copied();
        let label = known.and_then(|index| self.get(index)).unwrap_or_else(|| self.make(kind, name));
        let _ = GUESSED.try_with(|guessed| guessed[place].set(u32::try_from(label.index).unwrap_or(0)));
        label
    }

    #[cold]
    fn make(&self, kind: ContextKind, name: &str) -> &Label {
        let mut names = write(&self.names);
        let full = names.by_kind[kind as usize].len() >= LIMIT;
        let name = if full { OTHER } else { name };
        // Somebody may have been faster, and others are others already.
        let index = names.by_kind[kind as usize].get(name).copied().unwrap_or(names.count);
        let chunk = self.chunks[index / CHUNK].get_or_init(|| Box::new([const { OnceLock::new() }; CHUNK]));
        chunk[index % CHUNK].get_or_init(|| {
            let name: Arc<str> = name.into();
            names.by_kind[kind as usize].insert(Arc::clone(&name), index);
            names.count += 1;
            Label { index, kind, name, next: AtomicU64::new(0) }
        })
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&Label> {
        self.chunks.get(index / CHUNK)?.get()?[index % CHUNK].get()
    }

    /// All that there are by now, by index.
    #[cfg(test)]
    fn all(&self) -> impl Iterator<Item = &Label> {
        self.chunks.iter().map_while(OnceLock::get).flat_map(|chunk| chunk.iter().map_while(OnceLock::get))
    }
}

/// Routes differ in their length, or at their end.
fn place(name: &str) -> usize {
    let bytes = name.as_bytes();
    let at = |from_end: usize| bytes.len().checked_sub(from_end).map_or(0, |at| usize::from(bytes[at]));
    (bytes.len() ^ at(3) ^ (at(6) << 2)) % GUESSES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_supervisor_or_kind_calls_so_is_another_label() {
        let (one, two) = (Labels::default(), Labels::default());
        for name in ["first", "GET /a"] {
            one.named(ContextKind::Request, name);
        }
        for (labels, kind) in [
            (&one, ContextKind::Request),
            (&two, ContextKind::Request),
            (&one, ContextKind::Background),
            (&two, ContextKind::Background),
        ]
        .repeat(3)
        {
            for name in ["GET /a", "GET /b", "GET /c/GET /a", ""] {
                let label = labels.named(kind, name);
                assert_eq!((&*label.name, label.kind), (name, kind));
                assert!(std::ptr::eq(label, labels.get(label.index).unwrap()));
                assert_eq!(labels.named(kind, name).index, label.index);
            }
        }
    }

    #[test]
    fn a_label_keeps_its_index_and_is_found_by_it() {
        let labels = Labels::default();
        assert!(labels.get(0).is_none() && labels.get(usize::MAX).is_none());
        let index = |kind, name: &str| labels.named(kind, name).index;
        let indices: Vec<usize> =
            (0..200).map(|i| index(ContextKind::Request, &format!("GET /{i}"))).collect();
        assert_eq!(indices, (0..200).collect::<Vec<_>>());
        assert_eq!(index(ContextKind::Request, "GET /77"), 77);
        assert_eq!(&*labels.get(77).unwrap().name, "GET /77");
        assert_eq!(index(ContextKind::Background, "GET /77"), 200, "of another kind");
        assert_eq!(labels.all().count(), 201);
        assert!(labels.all().zip(0..).all(|(label, index)| label.index == index));
    }

    #[test]
    fn all_kinds_together_have_room_for_all_their_labels() {
        let labels = Labels::default();
        for kind in ContextKind::ALL {
            for i in 0..LIMIT + 10 {
                labels.named(kind, &i.to_string());
            }
            let other = labels.named(kind, "one more");
            assert_eq!((&*other.name, other.kind), (OTHER, kind));
        }
        assert_eq!(labels.all().count(), ContextKind::COUNT * (LIMIT + 1));
    }
}
