//! Clients: they order, repeat, read and create, at whichever replica, and remember what they were told.

use rand::RngExt;

use crate::history::{Ask, Call, Item, Told, linearizable};
use crate::node::{Taken, Worked};
use crate::requests::{LATE, STOCKED, UNITS};
use crate::world::World;

/// Calls about one item: a history of thousands would take the checker too long, and many short ones find more.
const CALLS_OF_ITEM: usize = 48;
/// Calls that wait at a time.
const WAITING: usize = 10;

#[derive(Default)]
pub struct Clients {
    /// Calls that wait for an answer, and the step at which each gives up.
    waiting: Vec<(usize, i64)>,
    /// Orders that were asked for: item, id, units.
    orders: Vec<(usize, u32, i64)>,
    of_item: [usize; STOCKED + LATE],
}

impl Clients {
    /// Perhaps asks something.
    pub fn ask(&mut self, world: &mut World) {
        let step = world.step;
        self.waiting
            .retain(|(call, until)| *until > step && world.calls[*call].answer.is_none() && !world.void.contains(call));
        if self.waiting.len() >= WAITING || !world.chance(500) {
            return;
        }
        let ids: Vec<u64> = world.nodes.keys().copied().filter(|id| world.is_up(*id)).collect();
        if ids.is_empty() {
            return;
        }
        let leaders: Vec<u64> = ids
            .iter()
            .copied()
            .filter(|id| world.nodes[id].replica.as_ref().is_some_and(|replica| replica.leads()))
            .collect();
        let (item, ask) = self.draw(world);
        if self.of_item[item] >= CALLS_OF_ITEM {
            return;
        }
        // Writes go to who believes to lead, and there may be several; reads go anywhere.
        let at = if ask == Ask::Read || leaders.is_empty() { &ids } else { &leaders };
        let at = at[world.random.random_range(0..at.len())];
        self.of_item[item] += 1;
        let call = world.calls.len();
        let asked_at = world.event(call as u64);
        world.calls.push(Call { item, ask, asked_at, answer: None });
        let now = world.reading(at);
        let taken = world.nodes.get_mut(&at).map_or(Taken::Void, |node| node.ask(call, item, ask, now));
        match taken {
            Taken::Waits => {
                let patience = world.random.random_range(20..120);
                self.waiting.push((call, step + patience));
            }
            Taken::AtOnce(told) => world.told(call, told),
            Taken::Void => world.void(call, self),
        }
    }

    /// A call that was not done counts for nothing.
    pub fn forget(&mut self, item: usize) {
        self.of_item[item] -= 1;
    }

    fn draw(&mut self, world: &mut World) -> (usize, Ask) {
        let random = &mut world.random;
        let stocked = random.random_range(0..STOCKED);
        let late = STOCKED + random.random_range(0..LATE);
        match random.random_range(0..100) {
            0..35 => {
                let (id, units) = (u32::try_from(self.orders.len()).unwrap() + 1, random.random_range(1..5));
                self.orders.push((stocked, id, units));
                (stocked, Ask::Place { order: id, units })
            }
            35..55 if !self.orders.is_empty() => {
                let (item, order, units) = self.orders[random.random_range(0..self.orders.len())];
                let other = random.random_range(0..3) == 0;
                (item, Ask::Place { order, units: if other { units + 1 } else { units } })
            }
            55..60 => (late, Ask::Create),
            60..72 => {
                let id = u32::try_from(self.orders.len()).unwrap() + 1;
                self.orders.push((late, id, 1));
                (late, Ask::Place { order: id, units: 1 })
            }
            _ => (stocked, Ask::Read),
        }
    }
}

impl World {
    pub fn told(&mut self, call: usize, told: Told) {
        let at = self.event(call as u64 ^ 0xa5a5);
        match told {
            Told::Free(_) => self.counts.reads += 1,
            Told::UnknownItem | Told::IdReused => self.counts.refusals += 1,
            Told::Created | Told::Placed { .. } => {}
        }
        self.counts.answered += 1;
        self.calls[call].answer = Some((at, told));
    }

    pub fn void(&mut self, call: usize, clients: &mut Clients) {
        clients.forget(self.calls[call].item);
        self.void.insert(call);
    }

    /// Lets a replica work, and takes over what came of it.
    pub fn work(&mut self, id: u64, clients: &mut Clients) {
        let now = self.reading(id);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Worked { messages, told, void, unknown, applied, crashed, fault, installed, refused: _ } =
            node.work(now, &mut self.random, self.faults);
        self.counts.unknown += unknown;
        self.counts.snapshots_installed += installed;
        for (index, digest) in applied {
            self.event(index ^ u64::from(digest[0]) << 40);
            // Agreement: the first to apply an index decides it for all.
            let decided = *self.decided.entry(index).or_insert(digest);
            assert_eq!(decided, digest, "seed {}: replica {id} is in another state at {index}", self.seed);
            self.counts.log_entries = self.counts.log_entries.max(index);
        }
        for (call, told) in told {
            self.told(call, told);
        }
        for call in void {
            self.void(call, clients);
        }
        for message in messages {
            self.send(id, message);
        }
        if let Some(fault) = fault {
            self.stop_for_good(id, &fault);
        } else if crashed {
            self.crash(id);
        }
    }

    /// Every answer is explained by one order of the calls of its item.
    pub fn check_history(&self) {
        for item in 0..STOCKED + LATE {
            let calls: Vec<Call> = self
                .calls
                .iter()
                .enumerate()
                .filter(|(n, call)| call.item == item && !self.void.contains(n))
                .map(|(_, call)| call.clone())
                .collect();
            let stocked = item < STOCKED;
            let free = if stocked { UNITS.iter().sum() } else { 0 };
            let began = Item { exists: stocked, free, waiting: 0, orders: Default::default() };
            assert!(
                linearizable(&calls, &began),
                "seed {}: no order explains what clients were told of item {item}: {calls:#?}",
                self.seed
            );
        }
    }
}
