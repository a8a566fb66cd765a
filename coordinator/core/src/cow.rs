//! Copy-on-write containers: a clone shares every chunk, a write copies only the chunk that it touches.
//!
//! They are what makes a snapshot cheap while the log goes on. Must not know: what is stored in them.

use std::borrow::Borrow;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// A vector in shared chunks of `N` values, grown at its end and changed in place.
#[derive(Debug)]
pub(crate) struct CowVec<T, const N: usize> {
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T, const N: usize> Clone for CowVec<T, N> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), len: self.len }
    }
}

impl<T, const N: usize> Default for CowVec<T, N> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T: Clone, const N: usize> CowVec<T, N> {
    /// Values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value at an index that an interning or a record gave out.
    pub fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.chunks.get(index / N)?.get(index % N)
    }

    /// Adds a value; `None` when there are too many to number.
    pub fn push(&mut self, value: T) -> Option<u32> {
        let index = u32::try_from(self.len).ok().filter(|index| *index < u32::MAX)?;
        if self.len.is_multiple_of(N) {
            let mut chunk = Vec::with_capacity(N);
            chunk.push(value);
            self.chunks.push(Arc::new(chunk));
        } else {
            let last = self.chunks.last_mut()?;
            let chunk = Arc::make_mut(last);
            if chunk.capacity() < N {
                chunk.reserve_exact(N - chunk.len());
            }
            chunk.push(value);
        }
        self.len += 1;
        Some(index)
    }

    /// All values, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Values from `index` on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = &T> {
        let chunks = self.chunks.get(index / N..).unwrap_or_default();
        chunks.iter().flat_map(|chunk| chunk.iter()).skip(index % N)
    }
}

/// Indices that records hold always lead to a record: one that does not is a broken state, and the process must end.
impl<T: Clone, const N: usize> Index<u32> for CowVec<T, N> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        &self.chunks[index as usize / N][index as usize % N]
    }
}

impl<T: Clone, const N: usize> IndexMut<u32> for CowVec<T, N> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut Arc::make_mut(&mut self.chunks[index as usize / N])[index as usize % N]
    }
}

/// A sorted map in shared chunks of at most `N` pairs. The first key of each chunk stands beside it, so that a search
/// looks into one chunk only.
#[derive(Debug)]
pub(crate) struct CowMap<K, V, const N: usize> {
    firsts: Vec<K>,
    chunks: Vec<Arc<Vec<(K, V)>>>,
    len: usize,
}

impl<K: Clone, V, const N: usize> Clone for CowMap<K, V, N> {
    fn clone(&self) -> Self {
        Self { firsts: self.firsts.clone(), chunks: self.chunks.clone(), len: self.len }
    }
}

impl<K, V, const N: usize> Default for CowMap<K, V, N> {
    fn default() -> Self {
        Self { firsts: Vec::new(), chunks: Vec::new(), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone, const N: usize> CowMap<K, V, N> {
    /// Pairs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No pairs.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunk that holds `key` or would: the last one that starts at or before it. Chunks are never empty.
    fn chunk_of(&self, key: &K) -> usize {
        self.firsts.partition_point(|first| first <= key).saturating_sub(1)
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        chunk.binary_search_by(|(k, _)| k.cmp(key)).ok().map(|at| &chunk[at].1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.chunk_of(key);
        let chunk = self.chunks.get_mut(at)?;
        let at = chunk.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        Some(&mut Arc::make_mut(chunk)[at].1)
    }

    /// Sets the value of a key; gives the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.chunk_of(&key);
        let Some(shared) = self.chunks.get_mut(at) else {
            self.firsts.push(key.clone());
            self.chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let chunk = Arc::make_mut(shared);
        match chunk.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(place) => Some(std::mem::replace(&mut chunk[place].1, value)),
            Err(place) => {
                if place == 0 {
                    self.firsts[at] = key.clone();
                }
                chunk.insert(place, (key, value));
                self.len += 1;
                if chunk.len() > N {
                    // Appending is the common case: a full last chunk is left full, not halved.
                    let cut = if place == N { N } else { N / 2 };
                    let tail = chunk.split_off(cut);
                    self.firsts.insert(at + 1, tail[0].0.clone());
                    self.chunks.insert(at + 1, Arc::new(tail));
                }
                None
            }
        }
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.chunk_of(key);
        let shared = self.chunks.get_mut(at)?;
        let place = shared.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        let chunk = Arc::make_mut(shared);
        let (_, value) = chunk.remove(place);
        match chunk.first() {
            Some((first, _)) if place == 0 => self.firsts[at] = first.clone(),
            Some(_) => {}
            None => {
                self.firsts.remove(at);
                self.chunks.remove(at);
            }
        }
        self.len -= 1;
        Some(value)
    }

    /// The pair with the smallest key.
    pub fn first(&self) -> Option<&(K, V)> {
        self.chunks.first()?.first()
    }

    /// All pairs, by key.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Pairs whose key is `from` or greater.
    pub fn iter_from<'a>(&'a self, from: &K) -> impl Iterator<Item = &'a (K, V)> + use<'a, K, V, N> {
        let at = self.chunk_of(from);
        let skip = self.chunks.get(at).map_or(0, |chunk| chunk.partition_point(|(key, _)| key < from));
        self.chunks.get(at..).unwrap_or_default().iter().flat_map(|chunk| chunk.iter()).skip(skip)
    }
}

impl<V: Clone, const N: usize> CowMap<u32, V, N> {
    /// The value of a key, found at once where keys follow each other without gaps.
    pub fn get_dense(&self, key: u32) -> Option<&V> {
        let at = self.chunk_of(&key);
        let chunk = self.chunks.get(at)?;
        // Keys are distinct and sorted: none stands further from the first than their difference.
        let furthest = (key.checked_sub(self.firsts[at])? as usize).min(chunk.len() - 1);
        if chunk[furthest].0 == key {
            return Some(&chunk[furthest].1);
        }
        chunk[..furthest].binary_search_by(|(k, _)| k.cmp(&key)).ok().map(|at| &chunk[at].1)
    }
}

/// Shards of an id index. More: a write after a snapshot copies less; fewer: a snapshot shares less.
const SHARDS: usize = 512;

/// No entry: an empty slot.
const EMPTY: u64 = u64::MAX;

/// From a text id to a dense index, in shared shards. Never iterated: order comes from the dense records.
#[derive(Clone, Debug)]
pub(crate) struct IdIndex<K> {
    shards: Vec<Arc<Shard<K>>>,
}

/// An open-addressing table: slots hold the high half of an id's hash and the place of its entry.
#[derive(Clone, Debug)]
struct Shard<K> {
    /// A power of two of them, at most three quarters taken.
    slots: Vec<u64>,
    entries: Vec<(K, u32)>,
}

impl<K> Default for IdIndex<K> {
    fn default() -> Self {
        let empty = Arc::new(Shard { slots: Vec::new(), entries: Vec::new() });
        Self { shards: vec![empty; SHARDS] }
    }
}

/// Multiply and fold, eight bytes at a time: the same in every build, and quick on short texts.
fn hash_of(text: &str) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |a: u64| {
        let wide = u128::from(a) * u128::from(ODD | (1 << 63));
        // Both halves together hold every bit of the product.
        #[allow(clippy::cast_possible_truncation)]
        let folded = (wide as u64) ^ ((wide >> 64) as u64);
        folded
    };
    let mut words = text.as_bytes().chunks_exact(8);
    let mut hash = (text.len() as u64).wrapping_mul(ODD);
    for word in &mut words {
        // Chunks of exactly 8 bytes.
        hash = fold(hash ^ word.try_into().map_or(0, u64::from_le_bytes)).wrapping_add(ODD);
    }
    let last = words.remainder().iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    fold(fold(hash ^ last).wrapping_add(ODD))
}

/// The shard of a hash, from its low bits; the table within it goes by the high half.
fn shard_of(hash: u64) -> usize {
    // The remainder fits a usize.
    usize::try_from(hash % SHARDS as u64).unwrap_or(0)
}

impl<K: Borrow<str>> Shard<K> {
    fn get(&self, hash: u64, id: &str) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let tag = hash >> 32;
        let mut at = tag as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == EMPTY {
                return None;
            }
            if slot >> 32 == tag {
                let (key, index) = &self.entries[(slot & u64::from(u32::MAX)) as usize];
                if key.borrow() == id {
                    return Some(*index);
                }
            }
            at = (at + 1) & mask;
        }
    }

    fn insert(&mut self, hash: u64, key: K, index: u32) {
        if self.slots.len() * 3 <= self.entries.len() * 4 {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![EMPTY; (old.len() * 2).max(8)];
            old.into_iter().filter(|slot| *slot != EMPTY).for_each(|slot| self.put(slot));
        }
        let place = self.entries.len() as u64;
        self.entries.push((key, index));
        self.put((hash >> 32 << 32) | place);
    }

    fn put(&mut self, slot: u64) {
        let mask = self.slots.len() - 1;
        let mut at = (slot >> 32) as usize & mask;
        while self.slots[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }
}

impl<K: Clone + Borrow<str>> IdIndex<K> {
    /// The index of an id.
    pub fn get(&self, id: &str) -> Option<u32> {
        let hash = hash_of(id);
        self.shards[shard_of(hash)].get(hash, id)
    }

    /// Sets the index of an id that has none.
    pub fn insert(&mut self, id: K, index: u32) {
        let hash = hash_of(id.borrow());
        debug_assert!(self.get(id.borrow()).is_none(), "an id is indexed once");
        Arc::make_mut(&mut self.shards[shard_of(hash)]).insert(hash, id, index);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_map_is_a_btree_map_and_its_clones_stand_still(
            steps in prop::collection::vec((0u16..200, any::<bool>(), any::<u8>()), 0..400),
        ) {
            let mut map: CowMap<u16, u8, 8> = CowMap::default();
            let mut model = BTreeMap::new();
            let mut kept = Vec::new();
            for (n, (key, insert, value)) in steps.into_iter().enumerate() {
                if insert {
                    prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
                if let (Some(a), Some(b)) = (map.get_mut(&(key / 2)), model.get_mut(&(key / 2))) {
                    *a = a.wrapping_add(1);
                    *b = b.wrapping_add(1);
                }
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.first().map(|(k, v)| (k, v)), model.first_key_value());
                let from: Vec<_> = map.iter_from(&key).map(|(k, v)| (*k, *v)).collect();
                let expected: Vec<_> = model.range(key..).map(|(k, v)| (*k, *v)).collect();
                prop_assert_eq!(from, expected);
                if n % 50 == 0 {
                    kept.push((map.clone(), model.clone()));
                }
            }
            for (map, model) in kept {
                prop_assert!(map.iter().map(|(k, v)| (k, v)).eq(model.iter()));
            }
        }

        #[test]
        fn a_dense_look_up_finds_what_any_look_up_finds(keys in prop::collection::btree_set(0u32..120, 0..100)) {
            let mut map: CowMap<u32, u32, 8> = CowMap::default();
            for key in &keys {
                map.insert(*key, key + 1);
            }
            for key in 0..130 {
                prop_assert_eq!(map.get_dense(key), map.get(&key));
            }
        }

        #[test]
        fn an_id_index_is_a_map_of_texts(ids in prop::collection::vec("[A-Za-z0-9]{0,20}", 0..300), other in "[A-Za-z0-9]{0,20}") {
            let mut index: IdIndex<String> = IdIndex::default();
            let mut model: BTreeMap<String, u32> = BTreeMap::new();
            for (n, id) in (0..).zip(&ids) {
                if !model.contains_key(id) {
                    index.insert(id.clone(), n);
                    model.insert(id.clone(), n);
                }
            }
            let before = index.clone();
            for id in ids.iter().chain([&other]) {
                prop_assert_eq!(index.get(id), model.get(id).copied());
            }
            if !model.contains_key(&other) {
                index.insert(other.clone(), 9_999);
                prop_assert_eq!((before.get(&other), index.get(&other)), (None, Some(9_999)));
            }
        }
    }

    #[test]
    fn a_vector_shares_chunks_and_copies_on_write() {
        let mut vector: CowVec<u32, 4> = CowVec::default();
        for n in 0..10 {
            assert_eq!(vector.push(n), Some(n));
        }
        let before = vector.clone();
        vector[5] = 50;
        assert_eq!((before.get(5), vector.get(5), vector.get(10)), (Some(&5), Some(&50), None));
        assert!(Arc::ptr_eq(&before.chunks[0], &vector.chunks[0]));
        assert!(!Arc::ptr_eq(&before.chunks[1], &vector.chunks[1]));
        assert_eq!(vector.iter_from(6).copied().collect::<Vec<_>>(), [6, 7, 8, 9]);
        assert_eq!(before.iter().count(), before.len());
    }

    #[test]
    fn ids_are_found_by_text() {
        let mut index: IdIndex<String> = IdIndex::default();
        for n in 0..2_000 {
            index.insert(format!("order-{n}"), n);
        }
        assert_eq!(
            (index.get("order-0"), index.get("order-1999"), index.get("order-2000")),
            (Some(0), Some(1999), None)
        );
    }
}
