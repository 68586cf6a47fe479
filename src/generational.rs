//! A slab whose keys never come back: an old key finds nothing, even if its slot has a new value.
//! The core keeps its jobs and requests in one, the shell its connections.
//!
//! The generations are stored apart from the values, so that a value takes no more memory than in a
//! plain slab. Two tables do not use it: the timer wheel, whose nodes also form its lists, and the
//! sessions of the core, whose slots the shell chooses.

use slab::Slab;

/// The name of a value: its slot, and the number of values that had the slot before.
pub trait SlabKey: Copy {
    /// A key of these parts.
    fn new(slot: u32, generation: u32) -> Self;
    /// The place in the slab.
    fn slot(self) -> u32;
    /// The number of values that had the place before.
    fn generation(self) -> u32;
}

/// Makes a [`SlabKey`] of a type that has the fields `slot` and `generation`.
macro_rules! impl_key {
    ($key:ty) => {
        impl $crate::generational::SlabKey for $key {
            fn new(slot: u32, generation: u32) -> Self {
                Self { slot, generation }
            }

            fn slot(self) -> u32 {
                self.slot
            }

            fn generation(self) -> u32 {
                self.generation
            }
        }
    };
}
pub(crate) use impl_key;

/// Values of type `T` by keys of type `K`.
#[derive(Debug)]
pub struct GenerationalSlab<K, T> {
    slab: Slab<T>,
    /// For each slot that was ever used, the generation of the value that has it or will have it
    /// next.
    generations: Vec<u32>,
    keys: std::marker::PhantomData<K>,
}

impl<K, T> Default for GenerationalSlab<K, T> {
    fn default() -> Self {
        Self { slab: Slab::new(), generations: Vec::new(), keys: std::marker::PhantomData }
    }
}

impl<K: SlabKey, T> GenerationalSlab<K, T> {
    /// The key that [`insert`](Self::insert) gives next.
    #[must_use]
    pub fn next_key(&self) -> K {
        let slot = self.slab.vacant_key();
        // The number of values in each slab is bounded far below 2^32.
        K::new(slot as u32, self.generations.get(slot).copied().unwrap_or(0))
    }

    /// Adds a value.
    pub fn insert(&mut self, value: T) -> K {
        let key = self.next_key();
        let slot = self.slab.insert(value);
        if slot >= self.generations.len() {
            self.generations.resize(slot + 1, 0);
        }
        key
    }

    fn is_current(&self, key: K) -> bool {
        self.generations.get(key.slot() as usize) == Some(&key.generation())
    }

    /// The value, if it is still there.
    #[must_use]
    pub fn get(&self, key: K) -> Option<&T> {
        if self.is_current(key) { self.slab.get(key.slot() as usize) } else { None }
    }

    /// The value, if it is still there.
    pub fn get_mut(&mut self, key: K) -> Option<&mut T> {
        if self.is_current(key) { self.slab.get_mut(key.slot() as usize) } else { None }
    }

    /// Is the value still there?
    #[must_use]
    pub fn contains(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    /// Takes a value out. Its key finds nothing from now on.
    pub fn remove(&mut self, key: K) -> Option<T> {
        let slot = key.slot() as usize;
        let generation = self.generations.get_mut(slot).filter(|generation| **generation == key.generation())?;
        let value = self.slab.try_remove(slot)?;
        // After 2^32 values in one slot its first key is used again. At a thousand per second this
        // takes fifty days; by then nothing refers to the first one any more.
        *generation = generation.wrapping_add(1);
        Some(value)
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Is there no value?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// All keys, in the order of their slots.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.slab.iter().map(|(slot, _)| K::new(slot as u32, self.generations[slot]))
    }

    /// All values, in the order of their slots.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slab.iter_mut().map(|(_, value)| value)
    }

    /// All values, in the order of their slots.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.slab.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct TestKey(u32, u32);

    impl SlabKey for TestKey {
        fn new(slot: u32, generation: u32) -> Self {
            Self(slot, generation)
        }

        fn slot(self) -> u32 {
            self.0
        }

        fn generation(self) -> u32 {
            self.1
        }
    }

    #[test]
    fn an_old_key_never_finds_the_next_value_of_its_slot() {
        let mut slab = GenerationalSlab::<TestKey, char>::default();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        assert!(slab.remove(first).is_none());
        let second = slab.insert('b');
        assert_eq!(first.slot(), second.slot());
        assert_ne!(first, second);
        assert!(slab.get(first).is_none() && slab.get_mut(first).is_none() && slab.remove(first).is_none());
        assert!(!slab.contains(first) && slab.contains(second));
        assert_eq!((slab.get(second), slab.len()), (Some(&'b'), 1));
        assert_eq!(slab.keys().collect::<Vec<_>>(), [second]);
        assert_eq!(slab.values().collect::<Vec<_>>(), [&'b']);
    }

    #[test]
    fn the_next_key_is_the_one_that_is_given() {
        let mut slab = GenerationalSlab::<TestKey, u32>::default();
        let mut live = Vec::new();
        for round in 0..1_000_u32 {
            let next = slab.next_key();
            assert_eq!(slab.insert(round), next);
            live.push(next);
            if round % 3 == 0 {
                let gone = live.swap_remove(round as usize % live.len());
                assert!(slab.remove(gone).is_some());
            }
        }
        assert_eq!(slab.len(), live.len());
    }

    #[test]
    fn a_freed_slot_is_the_next_to_be_used() {
        let mut slab = GenerationalSlab::<TestKey, u32>::default();
        let keys: Vec<TestKey> = (0..3).map(|number| slab.insert(number)).collect();
        slab.remove(keys[0]);
        slab.remove(keys[2]);
        assert_eq!([slab.insert(3), slab.insert(4), slab.insert(5)], [TestKey(2, 1), TestKey(0, 1), TestKey(3, 0)]);
    }
}
