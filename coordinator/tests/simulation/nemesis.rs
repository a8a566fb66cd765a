//! What goes wrong: crashes, cuts, pauses, clocks, members that come and go, disks that are lost.

use rand::RngExt;
use stockmesh_coordinator::replica::members::Change;

use crate::disk::Disk;
use crate::node::{Node, address};
use crate::world::World;

/// Members at a time, beyond those of the beginning.
const EXTRA: usize = 2;

/// Does perhaps something bad.
pub fn act(world: &mut World) {
    if !world.chance(25) {
        return;
    }
    let ids: Vec<u64> = world.nodes.iter().filter(|(_, node)| !node.stopped).map(|(id, _)| *id).collect();
    if ids.is_empty() {
        return;
    }
    let one = ids[world.random.random_range(0..ids.len())];
    match world.random.random_range(0..100) {
        0..15 => {
            if world.nodes[&one].replica.is_some() {
                world.crash(one);
            }
        }
        15..40 => cut(world, &ids, one),
        40..55 => world.cut.clear(),
        55..65 => {
            world.counts.pauses += 1;
            let steps = world.random.random_range(20..200);
            let until = world.step + steps;
            if let Some(node) = world.nodes.get_mut(&one) {
                node.paused_until = until;
            }
        }
        65..75 => jump(world, &ids, one),
        75..97 => members(world, &ids),
        _ => wipe(world, one),
    }
}

fn cut(world: &mut World, ids: &[u64], one: u64) {
    world.counts.cuts += 1;
    // What it hears, what it says, or both; from one other or from all.
    let (hears, says) = [(true, false), (false, true), (true, true)][world.random.random_range(0..3)];
    let all = world.chance(600);
    let other = ids[world.random.random_range(0..ids.len())];
    for id in ids.iter().filter(|id| **id != one && (all || **id == other)) {
        if hears {
            world.cut.insert((*id, one));
        }
        if says {
            world.cut.insert((one, *id));
        }
    }
}

/// Fewer clocks are wrong than would make a majority.
fn jump(world: &mut World, ids: &[u64], one: u64) {
    let off = [365 * 24 * 3_600_000, -3_600_000, 3_000, -2_000, 0][world.random.random_range(0..5)];
    let wrong = ids.iter().filter(|id| **id != one && world.nodes[id].clock_off_ms != 0).count();
    if off != 0 && wrong > 0 {
        return;
    }
    world.counts.jumps += 1;
    if let Some(node) = world.nodes.get_mut(&one) {
        node.clock_off_ms = off;
    }
}

fn members(world: &mut World, ids: &[u64]) {
    let Some(leader) = world.leader() else { return };
    let Some(replica) = world.nodes[&leader].replica.as_ref() else { return };
    let members = replica.members().clone();
    let (voters, learners) = (members.conf.voters.clone(), members.conf.learners.clone());
    let gone = |id: &u64| world.nodes.get(id).is_none_or(|node| node.stopped);
    let dead: Vec<u64> = voters.iter().chain(&learners).copied().filter(gone).collect();
    if let Some(learner) = learners.iter().find(|id| !dead.contains(id)) {
        let others: Vec<u64> = voters.iter().copied().filter(|id| *id != leader).collect();
        let out = dead.iter().copied().find(|id| voters.contains(id));
        let any = || others.first().copied();
        let instead_of = if out.is_some() {
            out
        } else if voters.len() > 3 || world.random.random_range(0..2) == 0 {
            any()
        } else {
            None
        };
        if world.change_members(&Change::Promote { id: *learner, instead_of }) {
            world.counts.promoted += 1;
            world.counts.removed += usize::from(instead_of.is_some());
        }
    } else if let Some(id) = dead.first().copied().filter(|_| voters.len() > 3 || world.random.random_range(0..2) == 0)
    {
        if world.change_members(&Change::Remove { id }) {
            world.counts.removed += 1;
        }
    } else if ids.len() < voters.len() + EXTRA {
        let id = world.next_id;
        if world.change_members(&Change::Add { id, address: address(id) }) {
            world.next_id += 1;
            world.counts.joined += 1;
            let store = world.draw_store();
            world.nodes.insert(id, Node::new(id, store, Disk::new(&[]), &[]));
            world.start(id);
        }
    }
}

/// A machine is set up anew under its old id, as if nothing had been: with an empty disk. Only one at a time, and only when
/// a leader has applied its disk: before that, nobody could tell.
fn wipe(world: &mut World, one: u64) {
    let Some(leader) = world.leader().filter(|leader| *leader != one) else { return };
    let bound = |id: &u64| {
        let replica = world.nodes[id].replica.as_ref();
        replica.is_some_and(|replica| replica.members().directory.get(one).is_some_and(|record| record.store.is_some()))
    };
    let member = |id: u64| {
        let replica = world.nodes[&leader].replica.as_ref();
        replica.is_some_and(|replica| replica.members().contains(id))
    };
    let lost = world.nodes.values().any(|node| (node.stopped || node.impostor) && member(node.id));
    if lost || !bound(&leader) {
        return;
    }
    world.counts.wiped += 1;
    world.crash(one);
    let store = world.draw_store();
    let beginning: Vec<u64> = world.nodes[&one].beginning().to_vec();
    let mut node = Node::new(one, store, Disk::new(&beginning), &beginning);
    node.impostor = true;
    world.nodes.insert(one, node);
    world.start(one);
}
