//! What a draft changed of a map, over the map as it is.
//!
//! Must not know: what is in it.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

/// Changed and removed values of a map.
pub(crate) struct Overlay<'a, K, V> {
    base: &'a BTreeMap<K, V>,
    changed: BTreeMap<K, Option<V>>,
}

impl<'a, K: Ord + Clone, V: Clone + PartialEq> Overlay<'a, K, V> {
    pub(crate) fn new(base: &'a BTreeMap<K, V>) -> Self {
        Self { base, changed: BTreeMap::new() }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match self.changed.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.base.get(key),
        }
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        self.changed.insert(key, Some(value));
    }

    pub(crate) fn remove(&mut self, key: K) {
        self.changed.insert(key, None);
    }

    /// Values in a range as they are now, while `wanted`; empty without a look at the draft when there are none.
    pub(crate) fn range(&self, from: Bound<&K>, wanted: impl Fn(&K) -> bool) -> Vec<(K, V)> {
        let range = (from, Bound::Unbounded);
        let mut found: BTreeMap<K, V> =
            self.base.range(range).take_while(|(key, _)| wanted(key)).map(pair_of).collect();
        for (key, value) in self.changed.iter().filter(|(key, _)| range.contains(key) && wanted(key)) {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        found.into_iter().collect()
    }

    /// Keys that were changed.
    pub(crate) fn touched(&self) -> impl Iterator<Item = &K> {
        self.changed.keys()
    }

    /// What is different now.
    pub(crate) fn finish(self) -> impl Iterator<Item = (K, Option<V>)> + use<'a, K, V> {
        let base = self.base;
        self.changed.into_iter().filter(move |(key, value)| base.get(key) != value.as_ref())
    }
}

fn pair_of<K: Clone, V: Clone>((key, value): (&K, &V)) -> (K, V) {
    (key.clone(), value.clone())
}
