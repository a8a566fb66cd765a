//! I1 to I5, I7, I8 and agreement at rest: the core against naive nodes, over a network that delays, loses, doubles and
//! reorders below the feeds.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use prost::Message;
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1::CancelLine;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::Reason;

use super::audit::audit;
use super::node_model::{Node, allocation_id};
use super::world::{World, item_name, key, node_feed, order};
use crate::decide::{self, Overlay};
use crate::recovery::Standing;

mod checks;

#[derive(Clone, Debug)]
pub enum Step {
    Receive {
        node: usize,
        item: usize,
        units: i64,
    },
    Grant {
        node: usize,
        item: usize,
        units: i64,
    },
    Sell {
        node: usize,
        item: usize,
        units: i64,
    },
    Lose {
        node: usize,
        item: usize,
        units: i64,
    },
    Ship {
        node: usize,
        work: usize,
        units: i64,
    },
    Decline {
        node: usize,
        work: usize,
        units: i64,
        lost: bool,
    },
    /// Pushes entries `from` back from what was applied, `count` of them: late, doubled, or with a gap.
    Push {
        node: usize,
        from: i64,
        count: usize,
    },
    /// Entries of our feed reach the node: the next ones (offset 0), older or later ones.
    Pull {
        node: usize,
        offset: i64,
        count: usize,
    },
    Order {
        policy: usize,
        lines: Vec<(usize, i64)>,
    },
    Cancel {
        order: usize,
        line: Option<(u32, i64)>,
    },
    Recall {
        node: usize,
        item: usize,
        units: i64,
    },
    Next,
    /// Finance's archive gets further entries of a node's feed.
    Archive {
        node: usize,
        count: usize,
    },
    /// A node's store is replaced by a backup with so many entries.
    LoseStore {
        node: usize,
        kept: usize,
    },
    /// A recovering node takes its next step: it seals its epoch, or begins the new one.
    Recover {
        node: usize,
        page: usize,
    },
    /// Two people give a node up, sign for duplicates, or reinstate it.
    Retire {
        node: usize,
        step: usize,
    },
    /// What surfaces of an epoch that is over has no effect.
    PushOld {
        node: usize,
    },
}

const NODES: usize = 3;
const ITEMS: usize = 2;

pub fn step() -> impl Strategy<Value = Step> {
    let (node, item, units) = (0..NODES, 0..ITEMS, 1i64..6);
    let three = (node.clone(), item.clone(), units.clone());
    prop_oneof![
        3 => three.clone().prop_map(|(node, item, units)| Step::Receive { node, item, units }),
        4 => three.clone().prop_map(|(node, item, units)| Step::Grant { node, item, units }),
        1 => three.clone().prop_map(|(node, item, units)| Step::Sell { node, item, units }),
        2 => three.clone().prop_map(|(node, item, units)| Step::Lose { node, item, units }),
        5 => (node.clone(), 0usize..9, units.clone()).prop_map(|(node, work, units)| Step::Ship { node, work, units }),
        2 => (node.clone(), 0usize..9, units.clone(), any::<bool>())
            .prop_map(|(node, work, units, lost)| Step::Decline { node, work, units, lost }),
        8 => (node.clone(), -2i64..2, 1usize..6).prop_map(|(node, from, count)| Step::Push { node, from, count }),
        12 => (node.clone(), prop_oneof![4 => Just(0i64), 1 => -2i64..3], 1usize..9)
            .prop_map(|(node, offset, count)| Step::Pull { node, offset, count }),
        5 => (0usize..3, prop::collection::vec((item.clone(), units.clone()), 1..4))
            .prop_map(|(policy, lines)| Step::Order { policy, lines }),
        3 => (0usize..20, prop::option::of((1u32..4, 1i64..4))).prop_map(|(order, line)| Step::Cancel { order, line }),
        1 => three.prop_map(|(node, item, units)| Step::Recall { node, item, units }),
        4 => Just(Step::Next),
        1 => (node.clone(), 1usize..12).prop_map(|(node, count)| Step::Archive { node, count }),
        1 => (node.clone(), 0usize..24).prop_map(|(node, kept)| Step::LoseStore { node, kept }),
        4 => (node.clone(), 1usize..4).prop_map(|(node, page)| Step::Recover { node, page }),
        1 => (node.clone(), 0usize..4).prop_map(|(node, step)| Step::Retire { node, step }),
        1 => node.prop_map(|node| Step::PushOld { node }),
    ]
}

pub struct Network {
    pub world: World,
    nodes: Vec<Node>,
    orders: usize,
    recoveries: usize,
    /// Units that were held elsewhere for broken promises.
    held: i64,
    /// Nodes for which duplicates were accepted.
    signed: Vec<bool>,
    /// Entries of epochs that are over, by node.
    old: Vec<(u64, Vec<FeedEntry>)>,
}

impl Network {
    /// Nodes with eight units of each item, six of them granted.
    pub fn new() -> Self {
        let nodes = (0..NODES).map(|n| Node::new(format!("n{n}"))).collect();
        let mut network = Self {
            world: World::with(ITEMS, NODES),
            nodes,
            orders: 0,
            recoveries: 0,
            held: 0,
            signed: vec![false; NODES],
            old: vec![(0, Vec::new()); NODES],
        };
        for node in 0..NODES {
            for item in (0..ITEMS).map(item_name) {
                network.nodes[node].adjust(&item, 8);
                network.nodes[node].grant(&item, 6);
            }
            network.push(node, 0, 100);
        }
        network
    }

    pub fn act(&mut self, step: &Step) {
        let (Step::Receive { node, .. }
        | Step::Grant { node, .. }
        | Step::Sell { node, .. }
        | Step::Lose { node, .. }
        | Step::Ship { node, .. }
        | Step::Decline { node, .. }
        | Step::Push { node, .. }
        | Step::Pull { node, .. }) = step
        else {
            return self.go_on(step);
        };
        if !self.nodes[*node].recovering {
            self.go_on(step);
        }
    }

    fn go_on(&mut self, step: &Step) {
        match step {
            Step::Archive { node, count } => {
                let node = &mut self.nodes[*node];
                node.archived = (node.archived + count).min(node.entries.len());
            }
            Step::LoseStore { node, kept } => {
                let id = self.draw_id();
                self.nodes[*node].lose_store(*kept, id);
            }
            Step::Recover { node, page } => self.recover(*node, *page),
            Step::Retire { node, step } => self.retire(*node, *step),
            Step::PushOld { node } => {
                let (epoch, entries) = self.old[*node].clone();
                if entries.is_empty() {
                    return;
                }
                let feed = Some(node_feed(&self.nodes[*node].name, epoch));
                let reject = self.world.run(Kind::ApplyFacts(log::ApplyFacts { feed, entries })).unwrap_err();
                assert!([Reason::StaleEpoch, Reason::NodeLost].contains(&reject.reason), "{reject}");
            }
            Step::Receive { node, item, units } => self.nodes[*node].adjust(&item_name(*item), *units),
            Step::Grant { node, item, units } => self.nodes[*node].grant(&item_name(*item), *units),
            Step::Sell { node, item, units } => self.nodes[*node].sell(&item_name(*item), *units),
            Step::Lose { node, item, units } => self.nodes[*node].adjust(&item_name(*item), -*units),
            Step::Ship { node, work, units } => {
                if let Some(id) = self.nodes[*node].nth_work(*work) {
                    self.nodes[*node].ship(id, *units);
                }
            }
            Step::Decline { node, work, units, lost } => {
                if let Some(id) = self.nodes[*node].nth_work(*work) {
                    self.nodes[*node].decline(id, *units, *lost);
                }
            }
            Step::Push { node, from, count } => self.push(*node, *from, *count),
            Step::Pull { node, offset, count } => {
                for _ in 0..*count {
                    self.pull(*node, *offset);
                }
            }
            Step::Order { policy, lines } => {
                self.orders += 1;
                let policy =
                    [wire::ShortagePolicy::Backorder, wire::ShortagePolicy::Cancel, wire::ShortagePolicy::AllOrNothing]
                        [*policy];
                let names: Vec<(String, i64)> = lines.iter().map(|(item, units)| (item_name(*item), *units)).collect();
                let lines: Vec<(&str, i64)> = names.iter().map(|(item, units)| (item.as_str(), *units)).collect();
                let placed = self.world.place(&order(&format!("o{}", self.orders), policy, &lines));
                if let Err(reject) = placed {
                    assert_eq!(reject.reason, Reason::InsufficientRights);
                    self.orders -= 1;
                }
            }
            Step::Cancel { order, line } => {
                if self.orders == 0 {
                    return;
                }
                let order_id = format!("o{}", order % self.orders + 1);
                let lines =
                    line.iter().map(|(line, quantity)| CancelLine { line: *line, quantity: *quantity }).collect();
                let known = [Reason::NothingToCancel, Reason::ExceedsLine, Reason::UnknownOrderLine];
                match self.world.write(Kind::CancelOrder(log::CancelOrder { order_id, lines })) {
                    Ok(_) => {}
                    Err(reject) => assert!(known.contains(&reject.reason), "{reject}"),
                }
            }
            Step::Recall { node, item, units } => {
                let (node, stock_key) = (format!("n{node}"), Some(key(&item_name(*item))));
                let recall = log::RecallRights { node, stock_key, quantity: *units };
                if let Err(reject) = self.world.write(Kind::RecallRights(recall)) {
                    assert!([Reason::UnknownCell, Reason::InsufficientRights].contains(&reject.reason), "{reject}");
                }
            }
            Step::Next => {
                let next = decide::next_step(&self.world.state, &Overlay::new(), 3);
                if let Some(crate::Answer::SubstitutesReserved { reserved, .. }) =
                    next.map(|kind| self.world.run(kind).unwrap())
                {
                    self.held += reserved;
                }
            }
        }
    }

    fn draw_id(&mut self) -> String {
        self.recoveries += 1;
        super::world::request_id(super::world::START_MS, u32::try_from(self.recoveries).unwrap())
    }

    fn standing(&self, node: usize) -> Standing {
        self.world.state.recovery.standing(u32::try_from(node).unwrap())
    }

    /// The next step of a recovery: what the coordinator lacks is pushed and the epoch sealed, or the new one begins.
    fn recover(&mut self, node: usize, page: usize) {
        // One that was given up comes back by the same procedure, its store whole.
        if self.standing(node) == Standing::Found && !self.nodes[node].recovering {
            let kept = self.nodes[node].entries.len();
            self.go_on(&Step::LoseStore { node, kept });
        }
        if !self.nodes[node].recovering || self.standing(node) == Standing::Lost {
            return;
        }
        let (name, mut id) = (self.nodes[node].name.clone(), self.nodes[node].recovery_id.clone());
        let (epoch, cursor) = self.world.state.node_cursor(&stockmesh_types::NodeId::new(&name).unwrap()).unwrap();
        if self.world.state.welcome(&name, &id, 0, 1).is_err() {
            let (mut last, mut lost_to) = (self.nodes[node].head, None);
            if epoch.0 != self.nodes[node].epoch {
                // The epoch that ends is one in which nobody ever spoke: the node was given up, or lost its store twice.
                last = cursor;
            } else if last.seq > cursor.seq {
                self.push_all(node);
            } else if last.seq < cursor.seq {
                lost_to = Some(cursor.to_wire());
            }
            // The node was given up after it had sealed: what it began does not count.
            if self
                .world
                .state
                .recovery
                .nodes
                .get(&u32::try_from(node).unwrap())
                .is_some_and(|rights| rights.recoveries.iter().any(|of| crate::recovery::uuid_text(&of.id) == id))
            {
                id = self.draw_id();
                self.nodes[node].recovery_id = id.clone();
            }
            let old = (self.nodes[node].epoch, self.nodes[node].entries.clone());
            let open = log::OpenNodeEpoch {
                node: name,
                epoch: epoch.0,
                r#final: Some(last.to_wire()),
                recovery_id: id,
                lost_to,
            };
            self.world.run(Kind::OpenNodeEpoch(open.clone())).unwrap();
            let again = self.world.run(Kind::OpenNodeEpoch(open)).unwrap();
            assert!(matches!(again, crate::Answer::NodeEpochOpened { epoch: opened, .. } if opened == epoch.0 + 1));
            self.old[node] = old;
            return;
        }
        let (mut pages, mut after) = (Vec::new(), 0);
        loop {
            let page = self.world.state.welcome(&name, &id, after, page).unwrap();
            let next = page.next;
            pages.push(page);
            match next {
                Some(next) => after = next,
                None => break,
            }
        }
        self.nodes[node].begin_epoch(pages);
    }

    /// What the coordinator lacks of a node's feed, whoever has it.
    fn push_all(&mut self, node: usize) {
        let recovering = std::mem::replace(&mut self.nodes[node].recovering, false);
        self.push(node, 0, usize::MAX);
        self.nodes[node].recovering = recovering;
    }

    fn retire(&mut self, node: usize, step: usize) {
        // Two are enough to lose.
        if node == 0 {
            return;
        }
        let steps: [(i32, [&str; 2]); 3] = [
            (log::RetirementStep::Propose.into(), ["ann", "bob"]),
            (log::RetirementStep::AcceptDuplicates.into(), ["bob", "ann"]),
            (log::RetirementStep::Reinstate.into(), ["ann", "ann"]),
        ];
        let lost = self.standing(node) == Standing::Lost;
        // Seldom signed: most runs should show that nothing leaves twice before.
        let (first, people) = steps[match (lost, step) {
            (false, _) => 0,
            (true, 0) => 1,
            (true, _) => 2,
        }];
        let ask = |network: &mut Self, step, person: &str| {
            let (node, person) = (format!("n{node}"), person.to_owned());
            let retire = log::RetireNode { node, person, step, reason: "fire".into() };
            network.world.write(Kind::RetireNode(retire))
        };
        if first == i32::from(log::RetirementStep::Reinstate) {
            // Refused while the retirement is being worked off.
            let _ = ask(self, first, people[0]);
            return;
        }
        ask(self, first, people[0]).unwrap();
        let second = if lost { first } else { log::RetirementStep::Approve.into() };
        assert_eq!(ask(self, second, people[0]).err().map(|reject| reject.reason), self.same_person(node, lost));
        ask(self, second, people[1]).unwrap();
        self.signed[node] |= lost;
    }

    /// The same person can't be both; once both have signed, further signatures change nothing.
    fn same_person(&self, node: usize, lost: bool) -> Option<Reason> {
        (!lost || !self.signed[node]).then_some(Reason::SamePerson)
    }

    /// Up to where the coordinator has a node's feed.
    fn cursor(&self, node: &Node) -> Head {
        self.world.state.node_cursor(&stockmesh_types::NodeId::new(&node.name).unwrap()).unwrap().1
    }

    fn push(&mut self, node: usize, from: i64, count: usize) {
        let name = self.nodes[node].name.clone();
        let cursor = self.cursor(&self.nodes[node]);
        let from = usize::try_from((cursor.seq as i64 + from).max(0)).unwrap();
        let entries: Vec<FeedEntry> = self.nodes[node].entries.iter().skip(from).take(count).cloned().collect();
        if entries.is_empty() {
            return;
        }
        let gap = entries[0].seq > cursor.seq + 1;
        let facts = log::ApplyFacts { feed: Some(node_feed(&name, self.nodes[node].epoch)), entries };
        let cut_off = self.nodes[node].epoch != self.epoch(node) || self.gone(node);
        match self.world.run(Kind::ApplyFacts(facts)) {
            Err(reject) if cut_off => {
                assert!([Reason::StaleEpoch, Reason::NodeLost].contains(&reject.reason), "{reject}");
            }
            Ok(crate::Answer::FactsApplied { refused, .. }) => assert_eq!((refused, gap), (None, false)),
            Ok(other) => panic!("{other:?}"),
            Err(reject) => assert_eq!((reject.reason, gap), (Reason::FeedGap, true), "{reject}"),
        }
    }

    fn epoch(&self, node: usize) -> u64 {
        let name = stockmesh_types::NodeId::new(&self.nodes[node].name).unwrap();
        self.world.state.node_cursor(&name).unwrap().0.0.max(1)
    }

    fn gone(&self, node: usize) -> bool {
        matches!(self.standing(node), Standing::Lost | Standing::Found)
    }

    /// Node and coordinator speak of the same epoch.
    fn level(&self, node: usize) -> bool {
        !self.nodes[node].recovering && !self.gone(node) && self.epoch(node) == self.nodes[node].epoch
    }

    fn pull(&mut self, node: usize, offset: i64) {
        // A node that was given up hears nothing more before it is recovered.
        if self.gone(node) || self.nodes[node].recovering {
            return;
        }
        let model = &mut self.nodes[node];
        let entries = self.world.emitted.get(&format!("node/{}", model.name)).map(Vec::as_slice).unwrap_or_default();
        let at = model.cursor.seq as i64 + offset;
        if let Some(entry) = usize::try_from(at).ok().and_then(|at| entries.get(at)) {
            model.receive(entry);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn no_unit_is_promised_twice_whatever_the_network_does(steps in prop::collection::vec(step(), 1..120)) {
        let mut network = Network::new();
        for step in &steps {
            network.act(step);
            network.check();
        }
        network.heal();
        network.check();
        network.check_rest();
        // Our feeds are unbroken (I7), and so is what the state says of them.
        for standing in network.world.state.feed_heads() {
            let mut head = Head::START;
            for entry in network.world.emitted.get(&standing.feed.destination).map(Vec::as_slice).unwrap_or_default() {
                let body = head.accept(&standing.feed, entry).unwrap().unwrap();
                prop_assert_eq!(body.encode_to_vec(), entry.body.to_vec());
            }
            prop_assert_eq!(head, standing.head);
        }
    }
}

#[test]
fn the_random_runs_reach_what_they_are_meant_to_try() {
    let mut runner = TestRunner::deterministic();
    let runs = prop::collection::vec(step(), 60..120);
    let mut reached: BTreeMap<&str, i64> = BTreeMap::new();
    for _ in 0..120 {
        let mut network = Network::new();
        for step in &runs.new_tree(&mut runner).unwrap().current() {
            network.act(step);
        }
        network.heal();
        let state = &network.world.state;
        let mut add = |what, units| *reached.entry(what).or_default() += units;
        for allocation in state.allocations.iter() {
            add("units shipped", allocation.shipped);
            add("units cancelled", allocation.cancelled);
            add("units lost", allocation.lost);
            add("units asked for too late", (allocation.requested - allocation.cancelled).max(0));
        }
        for fact in (0..NODES).flat_map(|node| network.world.sent(&format!("node/n{node}"))) {
            match fact {
                Fact::CancellationRequested(request) if request.reason() == wire::CancelReason::PromiseBroken => {
                    add("promises broken", 1);
                }
                Fact::CancellationRequested(_) => add("customers' requests", 1),
                Fact::RightsReturned(_) => add("rights returned", 1),
                Fact::AllocationOpened(_) => add("promises", 1),
                _ => {}
            }
        }
        for (_, rights) in state.recovery.nodes.iter() {
            add("epochs opened by recoveries", rights.recoveries.iter().filter(|of| of.id != [0; 16]).count() as i64);
            add("epochs with lost entries", rights.recoveries.iter().filter(|of| of.lost_from > 0).count() as i64);
            add("nodes given up", rights.recoveries.iter().filter(|of| of.id == [0; 16]).count() as i64);
            add("signatures for duplicates", i64::from(rights.signed));
        }
        add("units held elsewhere for broken promises", network.held);
        let declined = state.lines.iter().filter(|line| line.excludes && line.shipped > 0).count();
        add("declined lines shipped from elsewhere", i64::try_from(declined).unwrap());
    }
    let least = [
        ("units shipped", 300),
        ("units cancelled", 300),
        ("units lost", 50),
        ("units asked for too late", 10),
        ("promises broken", 50),
        ("customers' requests", 50),
        ("rights returned", 100),
        ("promises", 500),
        ("declined lines shipped from elsewhere", 10),
        ("epochs opened by recoveries", 100),
        ("epochs with lost entries", 5),
        ("nodes given up", 20),
        ("signatures for duplicates", 2),
        ("units held elsewhere for broken promises", 20),
    ];
    for (what, least) in least {
        let found = reached.get(what).copied().unwrap_or(0);
        assert!(found >= least, "{found} {what}: too few to try anything");
    }
}
