//! Conversions: components become kits, or kits components. Value moves with the units, and passes through an account that is
//! at zero again when the fact is posted.
//!
//! Kits that are taken apart give their value to the components in proportion to what these last cost; by units, when no cost
//! of any of them is known.

use stockmesh_proto::feed::v1::KitsConverted;
use stockmesh_types::quantity::{change, positive};
use stockmesh_types::{NodeId, OrderId, Reason, Reject, StockKey};

use super::shipments::{Leave, Leaving};
use super::{Incoming, Posted, fingerprint, own_key, units};
use crate::books::{Books, Fault, Stamp};
use crate::records::{CellKey, Expense, Node, Passage, PassageKind, PassagePart, Records, Segment, Stage, passage_key};
use crate::rules::CONVERSION_TAKEN;

impl<R: Records> Books<R> {
    pub(super) fn kits_converted(
        &mut self,
        incoming: &Incoming<'_>,
        fact: &KitsConverted,
        stage: Stage,
    ) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.conversion_id)?;
        let document = format!("conversion:{node}:{id}");
        let passage = passage_key("conversion", node.as_str(), id.as_str(), 0);
        let stamp = incoming.stamp()?;
        if stage == Stage::Whole {
            if !self.is_new_document(&document, fact)? {
                return Ok(());
            }
            let kits = change(fact.kits, "kits")?;
            let kit = (own_key(&fact.kit, "kit")?, kits.abs());
            let component = |(n, wire): (usize, &stockmesh_proto::feed::v1::KitComponent)| {
                let key = own_key(&wire.stock_key, &format!("components[{n}].stock_key"))?;
                Ok((key, positive(wire.quantity, &format!("components[{n}].quantity"))?))
            };
            let components = fact.components.iter().enumerate().map(component).collect::<Result<Vec<_>, Reject>>()?;
            if components.is_empty() {
                return Err(Reject::new(Reason::MissingField, "the kit has no components").field("components").into());
            }
            let (taken, made) = if kits > 0 { (components, vec![kit]) } else { (vec![kit], components) };
            let about = format!("{} of {} at {node}, conversion {id}", units(kits.abs()), taken_or_made(fact));
            let record = self.convert(&node, &record, &document, &about, taken, &made, &stamp)?;
            self.put_passage(passage.clone(), record);
            self.put_document(document, fingerprint(fact));
        }
        self.cost_passage(&passage, &stamp)
    }

    #[allow(clippy::too_many_arguments)]
    fn convert(
        &mut self,
        node: &NodeId,
        record: &Node,
        document: &str,
        about: &str,
        taken: Vec<(StockKey, i64)>,
        made: &[(StockKey, i64)],
        stamp: &Stamp,
    ) -> Result<Passage, Fault<R::Error>> {
        let leaving: Vec<_> = taken
            .into_iter()
            .enumerate()
            .map(|(n, (stock_key, quantity))| Leaving { id: format!("{document}:{n}"), stock_key, quantity })
            .collect();
        let leave = Leave { rule: &CONVERSION_TAKEN, expense: Expense::Conversion, channel: "", lane: "", about };
        self.leave(&leave, node, &record.entity, "", &leaving, stamp)?;
        let segment = |leaving: Leaving| Segment { issue: leaving.id, from: 0, to: leaving.quantity, value_minor: 0 };
        let segments = leaving.into_iter().map(segment).collect();
        let cell = |key: &StockKey| CellKey { node: node.clone(), stock_key: key.clone() };
        let mut weights = Vec::with_capacity(made.len());
        for (key, quantity) in made {
            weights.push(self.cell(&cell(key))?.at_last_cost(*quantity));
        }
        let sum = weights.iter().try_fold(0_i64, |sum, weight| sum.checked_add(*weight));
        if made.len() == 1 || matches!(sum, None | Some(0)) {
            weights = made.iter().map(|(_, quantity)| *quantity).collect();
        }
        let mut parts = Vec::with_capacity(made.len());
        let mut whole = 0_i64;
        for ((key, quantity), weight) in made.iter().zip(weights) {
            let layer = self.arrive_units(&cell(key), *quantity, &record.entity, stamp)?;
            let from = whole;
            whole += weight;
            parts.push(PassagePart { stock_key: key.clone(), from, to: whole, layer: Some(layer), value_minor: 0 });
        }
        Ok(Passage {
            kind: PassageKind::Conversion,
            node: node.clone(),
            entity: record.entity.clone(),
            source_node: node.clone(),
            source_entity: record.entity.clone(),
            lane: String::new(),
            channel: String::new(),
            order_id: String::new(),
            segments,
            whole,
            parts,
            costed: false,
            value_minor: 0,
            settled: false,
        })
    }
}

/// The kit, for people.
fn taken_or_made(fact: &KitsConverted) -> String {
    let kit = fact.kit.as_ref().map(|kit| kit.item.as_str()).unwrap_or_default();
    if fact.kits > 0 { format!("{kit} put together") } else { format!("{kit} taken apart") }
}
