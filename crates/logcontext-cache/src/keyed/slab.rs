//! Values in numbered places; a place that became free is used again.

/// No place.
pub(crate) const NONE: u32 = u32::MAX;

/// So many places are kept for reuse when none is in use any more.
const KEPT: usize = 32;

pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// The first free place: each names the next.
    free: u32,
    used: usize,
}

enum Slot<T> {
    Used(T),
    Free(u32),
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: NONE, used: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.used += 1;
        if self.free == NONE {
            self.slots.push(Slot::Used(value));
            return u32::try_from(self.slots.len() - 1).expect("memory ends before the numbers do");
        }
        let index = self.free;
        let slot = &mut self.slots[index as usize];
        if let Slot::Free(next) = *slot {
            self.free = next;
        }
        *slot = Slot::Used(value);
        index
    }

    #[inline]
    pub(crate) fn remove(&mut self, index: u32) -> T {
        let slot = std::mem::replace(&mut self.slots[index as usize], Slot::Free(self.free));
        let Slot::Used(value) = slot else { unreachable!("place {index} is free") };
        self.free = index;
        self.used -= 1;
        value
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> &T {
        match &self.slots[index as usize] {
            Slot::Used(value) => value,
            Slot::Free(_) => unreachable!("place {index} is free"),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut T {
        match &mut self.slots[index as usize] {
            Slot::Used(value) => value,
            Slot::Free(_) => unreachable!("place {index} is free"),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| match slot {
            Slot::Used(value) => Some((index, value)),
            Slot::Free(_) => None,
        })
    }

    /// Has a rush left more room behind than is worth keeping?
    pub(crate) fn is_large(&self) -> bool {
        self.slots.capacity() > KEPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_place_is_used_again() {
        let mut slab = Slab::new();
        let places: Vec<u32> = (0..100).map(|value| slab.insert(value)).collect();
        assert_eq!(slab.remove(places[40]), 40);
        assert_eq!(slab.insert(400), places[40]);
        assert_eq!((*slab.get(places[40]), slab.len()), (400, 100));
        for &place in &places {
            slab.remove(place);
        }
        assert_eq!((slab.iter().count(), slab.len()), (0, 0));
    }

    #[test]
    fn room_for_a_few_is_not_large() {
        let mut slab = Slab::new();
        for value in 0..KEPT {
            slab.insert(value);
        }
        assert!(!slab.is_large());
        slab.insert(KEPT);
        assert!(slab.is_large());
    }
}
