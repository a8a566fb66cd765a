//! Substitutes: units of a broken promise are reserved elsewhere at once, and become work there only after the word of the
//! node that may still ship them (transition 9).
//!
//! A substitute is part of `held` of its cell. It never exceeds what is asked of the broken promise and may still be
//! cancelled: what ships after all, or is cancelled for the customer, frees it again.

use stockmesh_proto::convert::allocation_id;
use stockmesh_proto::raft::v1::{ReserveSubstitutes, Substitute};
use stockmesh_types::{Quantity, Reason, Reject};

use crate::State;
use crate::answer::Answer;
use crate::apply::{Delivery, Stop, Tx};
use crate::rights::NewAllocation;
use crate::validate::MAX_CELLS;

impl State {
    /// Units held elsewhere for an allocation, by node.
    pub(crate) fn substitutes_of(&self, allocation: u32) -> impl Iterator<Item = (u32, Quantity)> {
        let held = self.recovery.substitutes.iter_from(&(allocation, 0));
        held.take_while(move |((of, _), _)| *of == allocation).map(|((_, node), units)| (*node, *units))
    }

    /// Units of an allocation that its node was asked for because the promise is broken, and may still cancel.
    fn breakable(&self, allocation: u32) -> Quantity {
        let record = &self.allocations[allocation];
        record.ask_broken.min(record.open() - record.ask_customer).max(0)
    }

    /// Units of an allocation that should be reserved elsewhere, and are not.
    pub(crate) fn unsubstituted(&self, allocation: u32) -> Quantity {
        // A transfer's source is part of what was asked: no other node can stand in.
        if self.transfer_of_order(self.lines[self.allocations[allocation].line].order).is_some() {
            return 0;
        }
        let held: Quantity = self.substitutes_of(allocation).map(|(_, units)| units).sum();
        self.breakable(allocation) - held
    }

    /// A broken promise of this stock key might be reserved elsewhere.
    pub(crate) fn wants_substitutes(&self, key: u32) -> bool {
        let wanting = self.recovery.wanting.iter_from(&(key, 0)).next();
        wanting.is_some_and(|((of, _), ())| *of == key) && self.free_of_key(&self.keys[key]) > 0
    }
}

impl Tx<'_> {
    pub(crate) fn reserve_substitutes(&mut self, command: &ReserveSubstitutes) -> Result<Answer, Stop> {
        if command.substitutes.len() > MAX_CELLS {
            let message = format!("{} substitutes, and a command holds at most {MAX_CELLS}", command.substitutes.len());
            return Err(Reject::new(Reason::TooManyCells, message).field("substitutes").into());
        }
        let (mut reserved, mut left_out) = (0, 0);
        for substitute in &command.substitutes {
            let Some(allocation) = self.reservable(substitute)? else {
                left_out += 1;
                continue;
            };
            let Substitute { allocation: _, node_index: node, quantity } = *substitute;
            let key = self.state.lines[self.state.allocations[allocation].line].key;
            self.hold(allocation, key, node, quantity)?;
            self.fit_substitutes(allocation)?;
            reserved += quantity;
        }
        Ok(Answer::SubstitutesReserved { reserved, left_out })
    }

    /// The broken promise, when so much of it is without a substitute, and the cell has the rights.
    fn reservable(&self, substitute: &Substitute) -> Result<Option<u32>, Reject> {
        let Substitute { allocation, node_index, quantity } = substitute;
        let id = allocation_id(allocation, "substitutes.allocation")?;
        let Some(index) = self.state.allocation_index(id) else { return Ok(None) };
        let record = &self.state.allocations[index];
        let line = &self.state.lines[record.line];
        let free = self.state.cell(line.key, *node_index).map_or(0, |cell| cell.free());
        let holds = *quantity > 0
            && *quantity <= self.state.unsubstituted(index)
            && *quantity <= free
            && *node_index != record.node
            && !self.state.is_fenced(*node_index)
            && !(line.excludes && self.state.excludes(line, *node_index));
        Ok(holds.then_some(index))
    }

    fn hold(&mut self, allocation: u32, key: u32, node: u32, units: Quantity) -> Result<(), Stop> {
        let before = self.state.recovery.substitutes.get(&(allocation, node)).copied().unwrap_or(0);
        self.state.recovery.substitutes.insert((allocation, node), before + units);
        self.state.recovery.held_cells.insert((key, node, allocation), ());
        self.change_cell(key, node, |cell| cell.held += units)?;
        Ok(())
    }

    /// Forgets units of a substitute; the caller says what becomes of them in its cell.
    fn forget_hold(&mut self, allocation: u32, key: u32, node: u32, units: Quantity) {
        let before = self.state.recovery.substitutes.get(&(allocation, node)).copied().unwrap_or(0);
        if before > units {
            self.state.recovery.substitutes.insert((allocation, node), before - units);
        } else {
            self.state.recovery.substitutes.remove(&(allocation, node));
            self.state.recovery.held_cells.remove(&(key, node, allocation));
        }
    }

    /// Frees substitutes beyond what may still be cancelled, and notes whether more should be reserved.
    pub(crate) fn fit_substitutes(&mut self, allocation: u32) -> Result<(), Stop> {
        let record = self.state.allocations[allocation];
        let nothing = self.state.recovery.substitutes.is_empty() && self.state.recovery.wanting.is_empty();
        if record.ask_broken == 0 && nothing {
            return Ok(());
        }
        let key = self.state.lines[record.line].key;
        let mut beyond = -self.state.unsubstituted(allocation);
        while beyond > 0 {
            let Some((node, held)) = self.state.substitutes_of(allocation).last() else { break };
            let units = held.min(beyond);
            self.forget_hold(allocation, key, node, units);
            self.change_cell(key, node, |cell| cell.held -= units)?;
            beyond -= units;
        }
        if self.state.unsubstituted(allocation) > 0 {
            if self.state.recovery.wanting.insert((key, allocation), ()).is_none() {
                self.refresh_substitutable(key);
            }
        } else if !self.state.recovery.wanting.is_empty()
            && self.state.recovery.wanting.remove(&(key, allocation)).is_some()
        {
            self.refresh_substitutable(key);
        }
        Ok(())
    }

    /// A shortfall at a cell that holds substitutes: they go first, before any promise (transition 9). Gives what was
    /// released; `change_cell` returns it.
    pub(crate) fn release_holds(&mut self, key: u32, node: u32, at_most: Quantity) -> Result<Quantity, Stop> {
        let mut released = 0;
        // As bounded as what is asked back: the next step goes on.
        while released < at_most && self.may_ask > 0 {
            self.may_ask -= 1;
            let held = self.state.recovery.held_cells.iter_from(&(key, node, 0)).next();
            let Some((_, _, allocation)) = held.map(|(id, ())| *id).filter(|id| (id.0, id.1) == (key, node)) else {
                break;
            };
            let held = self.state.recovery.substitutes.get(&(allocation, node)).copied().unwrap_or(0);
            let units = held.min(at_most - released);
            self.forget_hold(allocation, key, node, units);
            self.change_cell(key, node, |cell| cell.held -= units)?;
            released += units;
            self.fit_substitutes(allocation)?;
        }
        Ok(released)
    }

    /// Units of a broken promise were cancelled: their substitutes become work. Gives the units that had one.
    pub(crate) fn open_substitutes(&mut self, allocation: u32, units: Quantity) -> Result<Quantity, Stop> {
        if units == 0 || self.state.recovery.substitutes.is_empty() {
            return Ok(0);
        }
        let line = self.state.allocations[allocation].line;
        let key = self.state.lines[line].key;
        let mut opened = 0;
        while opened < units {
            let Some((node, held)) = self.state.substitutes_of(allocation).next() else { break };
            let quantity = held.min(units - opened);
            self.forget_hold(allocation, key, node, quantity);
            let order = State::order_body(&self.state.orders[self.state.lines[line].order]);
            let delivery = Delivery::of(&order);
            self.open_held_allocation(&NewAllocation { line, node, quantity, order: &order, delivery: &delivery })?;
            opened += quantity;
        }
        Ok(opened)
    }

    /// Notes whether a broken promise of this stock key might be reserved elsewhere.
    pub(crate) fn refresh_substitutable(&mut self, key: u32) {
        if !self.state.recovery.wanting.is_empty() && self.state.wants_substitutes(key) {
            self.state.recovery.substitutable.insert(key, ());
        } else if !self.state.recovery.substitutable.is_empty() {
            self.state.recovery.substitutable.remove(&key);
        }
    }
}
