//! An index by id for long queues.
//!
//! Clients choose the ids, so the index uses a keyed hash: clients cannot predict which ids
//! collide. A short queue has no index; it is searched linearly.

use hashbrown::HashTable;

/// Queues longer than this have an index.
pub(super) const INDEXED_FROM: usize = 32;
/// Queues shorter than this lose their index again.
pub(super) const INDEXED_TO: usize = 8;

/// A quick hash for comparing ids in a short queue; a long queue has its index.
pub(super) fn id_hash(id: &str) -> u32 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let (chunks, rest) = id.as_bytes().as_chunks::<8>();
    let last = rest.iter().fold(rest.len() as u64, |word, &byte| word << 8 | u64::from(byte));
    let words = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).chain([last]);
    let hash = words.fold(0, |hash: u64, word| (hash.rotate_left(5) ^ word).wrapping_mul(ODD));
    (hash >> 32) as u32
}

/// Spreads the upper half of a keyed hash over the 64 bits that the hash table needs: it takes its
/// tags from the top bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// Positions by the upper half of a keyed hash of the search key.
#[derive(Debug, Default)]
pub(super) struct PushIdHashIndex(HashTable<(u32, u32)>);

fn upper_half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl PushIdHashIndex {
    pub(super) fn insert(&mut self, hash: u64, at: u32) {
        let hash = upper_half(hash);
        self.0.insert_unique(spread(hash), (hash, at), |&(hash, _)| spread(hash));
    }

    pub(super) fn remove(&mut self, hash: u64, at: u32) {
        let entry = (upper_half(hash), at);
        if let Ok(found) = self.0.find_entry(spread(entry.0), |&other| other == entry) {
            found.remove();
        }
    }

    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = upper_half(hash);
        self.0.find(spread(hash), |&(other, at)| other == hash && is_it(at)).map(|&(_, at)| at)
    }

    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
