//! The same log gives the same bytes, with or without a snapshot and a restore on the way.

use proptest::prelude::*;
use stockmesh_proto::common::v1::ShortagePolicy;

use super::audit::audit;
use super::network::{Network, step};
use super::world::{World, order};
use crate::{SnapshotChunk, SnapshotError, State};

fn bytes(state: &State) -> Vec<SnapshotChunk> {
    state.snapshot().chunks().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn replicas_agree_to_the_byte(
        steps in prop::collection::vec(step(), 1..100),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let mut network = Network::new();
        for step in &steps {
            network.act(step);
        }
        network.heal();
        let log = network.world.log;
        let leader = network.world.state;
        let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(log.len())).collect();
        let mut follower = State::new();
        let mut kept = Vec::new();
        for (n, (index, entry)) in log.iter().enumerate() {
            follower.apply(*index, entry).unwrap();
            if cuts.contains(&n) {
                let taken = follower.snapshot();
                let before: Vec<SnapshotChunk> = taken.chunks().collect();
                let restored = State::restore(before.clone()).unwrap();
                audit(&restored);
                prop_assert_eq!(&bytes(&restored), &before);
                kept.push((taken, before));
                follower = restored;
            }
        }
        prop_assert_eq!(follower.digest(), leader.digest());
        prop_assert_eq!(bytes(&follower), bytes(&leader));
        prop_assert_eq!(follower.counters(), leader.counters());
        // A snapshot stands still while the state goes on.
        for (taken, before) in kept {
            prop_assert_eq!(taken.chunks().collect::<Vec<_>>(), before);
        }
    }
}

#[test]
fn another_log_has_another_digest() {
    let run = |quantity| {
        let mut world = World::with(1, 1);
        world.grant("n0", "A", 5);
        world.place(&order("o", ShortagePolicy::Backorder, &[("A", quantity)])).unwrap();
        world.state.digest()
    };
    assert_eq!(run(2), run(2));
    assert_ne!(run(2), run(3));
}

#[test]
fn damaged_snapshots_are_refused() {
    let mut world = World::with(2, 2);
    world.grant("n0", "A", 5);
    world.place(&order("o", ShortagePolicy::Backorder, &[("A", 3), ("B", 1)])).unwrap();
    let whole = bytes(&world.state);
    assert!(whole.iter().all(SnapshotChunk::is_whole));
    for at in 0..whole.len() {
        let name = whole[at].name.clone();
        let mut flipped = whole.clone();
        let mut changed = flipped[at].bytes.to_vec();
        changed[0] ^= 1;
        flipped[at].bytes = changed.into();
        assert_eq!(State::restore(flipped).unwrap_err(), SnapshotError::Damaged { name: name.clone() });
        let mut missing = whole.clone();
        missing.remove(at);
        assert!(matches!(State::restore(missing).unwrap_err(), SnapshotError::Incomplete { .. }), "{name}");
        let mut twice = whole.clone();
        twice.insert(at, whole[at].clone());
        assert!(matches!(State::restore(twice).unwrap_err(), SnapshotError::Incomplete { .. }), "{name}");
    }
    // Chunks of another snapshot don't fit in, whole as they are.
    world.grant("n1", "B", 1);
    let mut mixed = whole.clone();
    let other = bytes(&world.state);
    let keys = whole.iter().position(|chunk| chunk.name == "keys/00000000").unwrap();
    mixed[keys] = other.iter().find(|chunk| chunk.name == "keys/00000000").unwrap().clone();
    assert_eq!(State::restore(mixed).unwrap_err(), SnapshotError::Damaged { name: "tail".into() });
    let mut newer = whole;
    newer[0].version = 2;
    newer[0].checksum = SnapshotChunk::checksum_of("head", 2, &newer[0].bytes);
    assert_eq!(State::restore(newer).unwrap_err(), SnapshotError::Version { name: "head".into(), version: 2 });
}

#[test]
fn snapshots_of_the_first_release_still_open() {
    use sha2::Digest;
    let mut world = World::with(2, 2);
    world.grant("n0", "A", 5);
    world.place(&order("o", ShortagePolicy::Backorder, &[("A", 3), ("B", 1)])).unwrap();
    let now = bytes(&world.state);
    // When a node was last heard of is what that release did not know of this state.
    let known = |chunk: &&SnapshotChunk| !chunk.name.starts_with("rights/");
    let mut old: Vec<SnapshotChunk> = now.iter().filter(known).cloned().collect();
    // The head of that release ends with the counts of the kinds that it knew; no chunk of a later kind follows.
    let head = old[0].bytes.clone();
    old[0].bytes = head.slice(..crate::snapshot::first_release_head(&head));
    assert!(old[0].bytes.len() < head.len());
    old[0].checksum = SnapshotChunk::checksum_of("head", old[0].version, &old[0].bytes);
    let tail = old.len() - 1;
    let mut seal = sha2::Sha256::new();
    old[..tail].iter().for_each(|chunk| seal.update(chunk.checksum));
    old[tail].bytes = seal.finalize().to_vec().into();
    old[tail].checksum = SnapshotChunk::checksum_of("tail", old[tail].version, &old[tail].bytes);
    let opened = State::restore(old).unwrap();
    audit(&opened);
    let opened = bytes(&opened);
    let same = |chunk: &&SnapshotChunk| known(chunk) && chunk.name != "head" && chunk.name != "tail";
    assert_eq!(opened.iter().filter(same).collect::<Vec<_>>(), now.iter().filter(same).collect::<Vec<_>>());
}
