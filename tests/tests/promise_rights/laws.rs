//! What must hold in every state. Names as in ARCHITECTURE.md.

use stateright::{Model, Property};

use crate::node::Work;
use crate::world::{Protocol, Step, World};

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        self.steps(world, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        self.after(world, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1 nothing is promised that is not there", promised_is_there),
            Property::always("I2 on hand covers what is outstanding, but for a reported shortfall", on_hand_covers),
            Property::always("I3 free is never negative", |protocol: &Self, world: &World| {
                world.coordinator.free(protocol) >= 0
            }),
            Property::always("I4 the coordinator knows no more rights than the node gave", counters_agree),
            Property::always("I5 no order line gets more than it ordered", no_line_gets_more),
            Property::always("I6 units are conserved", units_are_conserved),
            Property::always("I8 nothing is free while a loss is not covered", losses_are_covered),
            Property::always("I9 a claimed unit is not sold to a walk-in", |_, world: &World| !world.truth.claim_sold),
            Property::always("too late is concluded only when it is", |_, world: &World| {
                !world.truth.too_late_was_wrong
            }),
            Property::always("at rest both sides agree, and nothing is left unworked", at_rest_they_agree),
            Property::sometimes("an order line is supplied", |protocol: &Self, world: &World| {
                world.truth.shipped_of_line.iter().zip(protocol.lines).any(|(shipped, ordered)| shipped >= ordered)
            }),
        ]
    }
}

/// Both work, and speak of the same life of the node's store.
fn in_step(world: &World) -> bool {
    world.node.open && !world.coordinator.awaiting_report && world.node.epoch == world.coordinator.epoch
}

fn promised_is_there(protocol: &Protocol, world: &World) -> bool {
    let (truth, coordinator) = (&world.truth, &world.coordinator);
    if !in_step(world) {
        return true;
    }
    // Units that left and are not known yet at the coordinator are still open there: counted once.
    let to_come = |(id, promise): (&_, &crate::coordinator::Promise)| {
        let Work { quantity, cancelled, shipped, .. } = promise.work;
        (quantity - cancelled - shipped.max(truth.manifest(*id))).max(0)
    };
    let promised: i8 = coordinator.promises.iter().map(to_come).sum();
    let left: i8 = truth.manifests.iter().map(|(_, _, shipped)| shipped).sum();
    let free = coordinator.free(protocol).max(0);
    truth.sold + left + promised + coordinator.held + free <= truth.came - truth.lost + world.node.level
}

fn on_hand_covers(_: &Protocol, world: &World) -> bool {
    let node = &world.node;
    !node.open || (node.on_hand == world.truth.on_shelf && node.on_hand + node.level >= node.outstanding())
}

fn counters_agree(_: &Protocol, world: &World) -> bool {
    let (node, coordinator) = (&world.node, &world.coordinator);
    let progress = || {
        coordinator.promises.iter().all(|(id, promise)| {
            let known = node.work.get(id).copied();
            let theirs = known.unwrap_or(Work { shipped: 0, cancelled: 0, ..promise.work });
            promise.work.shipped <= theirs.shipped && promise.work.cancelled <= theirs.cancelled
        })
    };
    !in_step(world)
        || (coordinator.granted <= node.granted
            && coordinator.returned >= node.returned
            && coordinator.shipped <= node.consumed
            && progress())
}

fn no_line_gets_more(protocol: &Protocol, world: &World) -> bool {
    let truth = &world.truth;
    truth.shipped_of_line.iter().zip(protocol.lines).all(|(shipped, ordered)| shipped <= ordered)
        && world.node.work.values().all(|work| work.left() >= 0)
}

fn units_are_conserved(_: &Protocol, world: &World) -> bool {
    let truth = &world.truth;
    let left: i8 = truth.manifests.iter().map(|(_, _, shipped)| shipped).sum();
    truth.came == truth.on_shelf + truth.sold + truth.lost + left
}

fn losses_are_covered(protocol: &Protocol, world: &World) -> bool {
    let coordinator = &world.coordinator;
    coordinator.awaiting_report
        || coordinator.free(protocol) <= 0
        || coordinator.returned + coordinator.asked() >= coordinator.aim()
}

/// Nothing that was sent would change anything: then there is nothing that one side still has to learn.
fn at_rest_they_agree(protocol: &Protocol, world: &World) -> bool {
    let (node, coordinator) = (&world.node, &world.coordinator);
    if !node.open || coordinator.awaiting_report || world.disk.is_some() {
        return true;
    }
    if world.wire.iter().any(|message| protocol.after(world, Step::Deliver(message.clone())).is_some()) {
        return true;
    }
    let open = |promise: &crate::coordinator::Promise| promise.for_customer + promise.broken;
    node.epoch == coordinator.epoch
        && node.granted == coordinator.granted
        && node.returned == coordinator.returned
        && node.consumed == coordinator.shipped
        && node.level == coordinator.shortfall.level
        && coordinator
            .promises
            .iter()
            .all(|(id, promise)| node.work.get(id) == Some(&promise.work) && open(promise) == 0)
        && coordinator.aim() <= coordinator.returned
}
