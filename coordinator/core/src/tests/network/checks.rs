//! What must hold after each step of the network, and when it is at rest.

use super::*;

impl Network {
    pub(super) fn check(&self) {
        let state = &self.world.state;
        audit(state);
        let mut promised: BTreeMap<(String, u32), i64> = BTreeMap::new();
        let mut left: BTreeMap<(String, u32), i64> = BTreeMap::new();
        for (n, node) in self.nodes.iter().enumerate() {
            let level_with_it = self.level(n);
            for (item, stock) in node.stock.iter().filter(|_| level_with_it) {
                let cell = self.world.cell(item, &node.name);
                // I1: what is promised and shipped is covered by what there is, and a shortfall.
                let level = (stock.outstanding() - stock.on_hand).max(0);
                assert!(
                    cell.shipped + cell.open + cell.held + cell.free <= stock.on_hand + stock.consumed + level,
                    "I1 at {}: {cell:?} {stock:?}",
                    node.name
                );
                // I2, of the model: on hand covers what is outstanding, but for a reported shortfall.
                assert_eq!(level, stock.level);
                // I4.
                assert!(cell.granted <= stock.granted && cell.returned >= stock.returned, "I4: {cell:?} {stock:?}");
                assert!(cell.shipped <= stock.consumed, "I4: {cell:?} {stock:?}");
                // The store says what the shelf holds.
                assert_eq!(stock.on_hand, node.shelf.get(item).copied().unwrap_or(0));
            }
            for (id, work) in &node.work {
                assert!(work.shipped + work.cancelled <= work.quantity, "I5 at the node");
                let id = allocation_id(*id);
                let known = &state.allocations[state.allocation_index(id).unwrap()];
                if level_with_it {
                    assert!(
                        known.shipped <= work.shipped && known.cancelled <= work.cancelled,
                        "I4: {known:?} {work:?}"
                    );
                }
            }
            if self.signed[n] {
                continue;
            }
            // What may still ship of a node's allocations, as the side says that knows less of cancellations.
            for known in state.allocations.iter().filter(|known| known.node as usize == n) {
                let id = (known.id.incarnation.0, known.id.log_index, known.id.n);
                let line = &state.lines[known.line];
                let order = (state.orders[line.order].id.to_string(), line.line);
                let cancelled = match node.work.get(&id) {
                    Some(work) if !node.recovering => work.cancelled.max(known.cancelled),
                    Some(_) | None => known.cancelled,
                };
                *promised.entry(order.clone()).or_default() += known.quantity - cancelled;
                *left.entry(order).or_default() += node.manifests.get(&id).copied().unwrap_or(0);
            }
        }
        // The law: what nodes may still ship of a line, and have shipped, never exceeds what is still wanted of it.
        for ((order, number), units) in promised {
            let status = self.world.order(&order);
            let line = status.lines.iter().find(|of| of.line == number).unwrap();
            assert!(units <= line.ordered - line.cancelled, "{order}: {units} of {line:?}");
            let gone = left.get(&(order.clone(), number)).copied().unwrap_or(0);
            assert!(gone <= line.ordered - line.cancelled, "{order}: {gone} units left of {line:?}");
        }
    }

    /// Everything is delivered and worked off.
    pub fn heal(&mut self) {
        self.world.settle();
        for node in 0..NODES {
            if self.standing(node) == Standing::Lost {
                let step = log::RetirementStep::Reinstate.into();
                let (node, person) = (format!("n{node}"), "ann".to_owned());
                self.world
                    .write(Kind::RetireNode(log::RetireNode { node, person, step, reason: String::new() }))
                    .unwrap();
            }
            // Sealing and the new epoch.
            self.recover(node, 100);
            self.recover(node, 100);
        }
        loop {
            let before = self.world.index;
            for node in 0..NODES {
                self.push(node, 0, 200);
                for _ in 0..1_000 {
                    self.pull(node, 0);
                }
            }
            self.world.settle();
            let sent = |node: &Node| self.world.emitted.get(&format!("node/{}", node.name)).map_or(0, Vec::len) as u64;
            let applied = |node: &Node| self.cursor(node).seq;
            let level = |node: &Node| node.cursor.seq == sent(node) && node.head.seq == applied(node);
            if self.world.index == before && self.nodes.iter().all(level) {
                return;
            }
        }
    }

    /// With all queues empty both sides agree, and no request or shortfall is left unworked.
    pub(super) fn check_rest(&self) {
        let state = &self.world.state;
        for node in &self.nodes {
            for (item, stock) in &node.stock {
                let cell = self.world.cell(item, &node.name);
                assert_eq!(
                    (cell.granted, cell.returned, cell.shipped),
                    (stock.granted, stock.returned, stock.consumed),
                    "both sides agree at {}",
                    node.name
                );
                assert_eq!(
                    (cell.shortfall_level, stock.level),
                    (0, 0),
                    "the shortfall is worked off: {cell:?} {stock:?}"
                );
            }
            for (id, work) in &node.work {
                let id = allocation_id(*id);
                let known = &state.allocations[state.allocation_index(id).unwrap()];
                assert_eq!(
                    (known.quantity, known.shipped, known.cancelled, known.lost),
                    (work.quantity, work.shipped, work.cancelled, work.lost),
                    "both sides agree at {}",
                    node.name
                );
                assert_eq!((known.ask_customer, known.ask_broken), (0, 0), "no request is left unanswered");
            }
        }
        assert!(!state.backlog_nonempty());
        assert!(state.recovery.fenced.is_empty() && state.recovery.substitutes.is_empty());
    }
}
