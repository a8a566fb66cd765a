//! What must hold in every committed state, worked out from the records alone.

use std::collections::BTreeMap;

use crate::State;
use crate::records::NONE;

/// Panics, naming what does not hold.
pub fn audit(state: &State) {
    let mut open: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
    let mut asked: BTreeMap<(u32, u32), i64> = BTreeMap::new();
    for (index, allocation) in (0u32..).zip(state.allocations.iter()) {
        assert_eq!(state.allocation_index(allocation.id), Some(index), "ids are found by bisection");
        // I5, here: nothing beyond the quantity, and requests only for what is open.
        assert!(allocation.quantity > 0 && allocation.open() >= 0, "I5: {allocation:?}");
        assert!(allocation.lost <= allocation.cancelled, "I5: {allocation:?}");
        assert!(allocation.ask_customer.max(allocation.ask_broken) <= allocation.open(), "{allocation:?}");
        let cell = (state.lines[allocation.line].key, allocation.node);
        if allocation.open() > 0 {
            open.entry(cell).or_default().push(index);
            *asked.entry(cell).or_default() += allocation.ask_broken;
        }
    }
    let mut held: BTreeMap<(u32, u32), i64> = BTreeMap::new();
    let mut substituted: BTreeMap<u32, i64> = BTreeMap::new();
    for ((allocation, node), units) in state.recovery.substitutes.iter() {
        let record = &state.allocations[*allocation];
        assert!(*units > 0 && record.node != *node);
        *held.entry((state.lines[record.line].key, *node)).or_default() += units;
        *substituted.entry(*allocation).or_default() += units;
        let listed = (state.lines[record.line].key, *node, *allocation);
        assert!(state.recovery.held_cells.get(&listed).is_some(), "a substitute that its cell does not know");
    }
    assert_eq!(state.recovery.held_cells.len(), state.recovery.substitutes.len());
    for (index, allocation) in (0u32..).zip(state.allocations.iter()) {
        let breakable = allocation.ask_broken.min(allocation.open() - allocation.ask_customer).max(0);
        let has = substituted.get(&index).copied().unwrap_or(0);
        assert!(has <= breakable, "more is held for a promise than may be cancelled of it: {allocation:?}");
        let key = state.lines[allocation.line].key;
        let wanting = state.recovery.wanting.get(&(key, index)).is_some();
        assert_eq!(wanting, has < breakable, "{allocation:?}, {has} held elsewhere");
    }
    // After a fence was set or lifted, indices follow in steps.
    let level = state.recovery.fenced.is_empty() && state.recovery.works.is_empty();
    let mut waiting_units = 0;
    for (key, record) in (0u32..).zip(state.keys.iter()) {
        assert_eq!(state.key_index(&record.key), Some(key));
        let mut free_total = 0;
        for (node, cell) in record.cells.iter() {
            let list = open.remove(&(key, *node)).unwrap_or_default();
            assert!(cell.free() >= 0, "I3: {cell:?}");
            assert_eq!(cell.held, held.remove(&(key, *node)).unwrap_or_default(), "held is the sum of its substitutes");
            assert!(cell.life <= state.nodes[*node].marks.life);
            assert!(!state.nodes[*node].marks.gone || !level || cell.free() == 0, "a lost node's rights went back");
            let sum: i64 = list.iter().map(|index| state.allocations[*index].open()).sum();
            assert_eq!(cell.open, sum, "open is the sum of its allocations");
            assert_eq!(cell.asked, asked.remove(&(key, *node)).unwrap_or_default(), "asked is the sum of its requests");
            assert!(cell.free() == 0 || cell.deficit() == 0, "I8: {cell:?}");
            let unasked: i64 = list.iter().map(|index| state.allocations[*index].unasked()).sum();
            let pending = state.shortfalls.get(&(key, *node)).is_some();
            assert!(cell.deficit() == 0 || unasked == 0 || pending, "a shortfall that nobody works off: {cell:?}");
            let mut listed = Vec::new();
            let mut next = cell.last_open;
            while next != NONE {
                listed.push(next);
                next = state.allocations[next].earlier_in_cell;
            }
            listed.reverse();
            assert_eq!(listed, list, "the cell lists its open allocations");
            free_total += cell.free();
        }
        assert_eq!(record.free_total, free_total);
        let waiting: Vec<u32> = record.waiting.iter().map(|(line, ())| *line).collect();
        let expected: Vec<u32> = (0u32..)
            .zip(state.lines.iter())
            .filter(|(_, line)| line.key == key && line.waiting > 0)
            .map(|(index, _)| index)
            .collect();
        assert_eq!(waiting, expected, "the queue holds the lines that wait, in commit order");
        let sum: i64 = waiting.iter().map(|line| state.lines[*line].waiting).sum();
        assert_eq!(record.waiting_total, sum);
        waiting_units += sum;
        let usable = waiting.iter().any(|line| {
            let line = &state.lines[*line];
            record
                .cells
                .iter()
                .any(|(node, cell)| cell.free() > 0 && !state.is_fenced(*node) && !state.excludes(line, *node))
        });
        let ready = state.ready.get(&key).is_some();
        assert!(ready == usable || !level, "ready where waiting units can use free rights: {record:?}");
        let substitutable = state.recovery.substitutable.get(&key).is_some();
        assert!(substitutable == state.wants_substitutes(key) || !level, "{record:?}");
    }
    assert!(held.is_empty(), "substitutes at cells that there are not: {held:?}");
    assert!(open.is_empty(), "open allocations of cells that there are not: {open:?}");
    assert_eq!(state.waiting_units, waiting_units);
    let mut open_orders = 0;
    for order in state.orders.iter() {
        let mut open_units = 0;
        for line in state.lines.iter_from(order.first_line as usize).take(order.lines as usize) {
            let (mut live, mut shipped, mut next) = (0, 0, line.first_allocation);
            while next != NONE {
                live += state.allocations[next].open();
                shipped += state.allocations[next].shipped;
                next = state.allocations[next].next_of_line;
            }
            assert_eq!(line.shipped, shipped);
            let parts = line.cancelled + line.waiting + live + line.shipped;
            assert_eq!(line.ordered, parts, "I5: every unit is in one place: {line:?}, {live} live");
            open_units += line.waiting + live;
        }
        assert_eq!(order.open_units, open_units);
        open_orders += u64::from(open_units > 0 && !order.is_transfer());
    }
    claims(state);
    assert_eq!(state.open_orders, open_orders);
}

/// Claims are what the queue leaves of each supply, earliest first, and nothing is claimed twice.
fn claims(state: &State) {
    let mut filled = state.clone();
    filled.fill_claims();
    assert!(filled.supply.supplies.iter().eq(state.supply.supplies.iter()), "claims follow the queue");
    for (at, row) in state.supply.supplies.iter() {
        assert!(row.remaining > 0 && (0..=row.remaining).contains(&row.claimed), "{at:?} {row:?}");
    }
    for (key, record) in (0u32..).zip(state.keys.iter()) {
        let due: i64 = state.supply.due.iter().filter(|((of, _), _)| *of == key).map(|(_, units)| *units).sum();
        let claimed: i64 = state.supplies_of(key).map(|(_, row)| row.claimed).sum();
        assert!(due + claimed <= record.waiting_total, "a unit is claimed twice: {due} due, {claimed} claimed");
    }
    // What has nothing of all this is covered by the tests of snapshots.
    if state.supply.next_document == 0 {
        return;
    }
    let bytes = |state: &State| state.snapshot().chunks().collect::<Vec<_>>();
    let restored = State::restore(bytes(state)).unwrap();
    assert_eq!(bytes(&restored), bytes(state), "a snapshot is read to the same state");
    assert!(restored.supply.supplies.iter().eq(state.supply.supplies.iter()), "supplies are worked out again");
    assert!(restored.supply.authorised.iter().eq(state.supply.authorised.iter()), "authorised units likewise");
}
