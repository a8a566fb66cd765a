//! FollowCoordinator: a fact of the coordinator's feed to this node takes effect, once.
//!
//! The feed is ordered and exactly-once; what is checked here holds even so, because it costs little and a slip would promise a
//! unit twice: an allocation is accepted once by its id, counters are merged by maximum, an incarnation lower than one that was
//! met is refused, and work beyond the rights that the node granted halts the feed.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::convert;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{
    AllocationAccepted, AllocationOpened, CancellationAnswered, GrantPolicySet, InboundAnnounced, InboundClaimed,
    InboundClosed, RefundDecided, RightsReturned, grant_policy_set,
};
use stockmesh_types::{
    AllocationId, Epoch, Incarnation, ItemId, OrderId, Quantity, Reason, Reject, StockKey, quantity,
};

use super::refund;
use crate::allocation::{Allocation, Handling};
use crate::change::Item;
use crate::draft::Draft;
use crate::effects::Answer;
use crate::policy::{PolicyScope, SetPolicy};

/// A fact of the coordinator's feed.
#[derive(Clone, Debug, PartialEq)]
pub struct CoordinatorFact {
    /// Incarnation of the group that wrote it.
    pub incarnation: Incarnation,
    /// What happened.
    pub work: Work,
}

/// What a coordinator tells a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// The item may be handled here.
    RangeItem {
        /// Item.
        item: ItemId,
        /// Description and weight.
        details: Item,
    },
    /// Work.
    Open {
        /// Allocation.
        id: AllocationId,
        /// Epoch that it was made against.
        epoch: Epoch,
        /// Order.
        order_id: OrderId,
        /// Order line.
        line: u32,
        /// What to ship.
        stock_key: StockKey,
        /// Base units.
        quantity: Quantity,
        /// Where it goes.
        ship_to: Option<common::Place>,
        /// How it is handled.
        handling: Handling,
    },
    /// Cancel what is not shipped.
    Cancel {
        /// Allocation.
        id: AllocationId,
        /// Cumulative units that should be cancelled.
        requested_total: Quantity,
    },
    /// Goods are expected.
    Announce(Box<InboundAnnounced>),
    /// Nothing more is expected.
    CloseInbound(InboundClosed),
    /// Claims on a line of what is expected changed.
    ClaimInbound(InboundClaimed),
    /// How much stays for the counter.
    SetPolicy(PolicyScope, SetPolicy),
    /// The answer to a refund that was asked for.
    DecideRefund(RefundDecided),
    /// Rights given back.
    TakeBackRights {
        /// Epoch that the counter belongs to.
        epoch: Epoch,
        /// Cell.
        stock_key: StockKey,
        /// Cumulative units returned.
        returned_total: Quantity,
    },
}

/// The largest cumulative count that a fact may name: sums of them stay far within 64 bits.
const MAX_TOTAL: Quantity = 1_000_000_000_000_000;

fn total(value: Quantity, field: &str) -> Result<Quantity, Reject> {
    if (0..=MAX_TOTAL).contains(&value) {
        return Ok(value);
    }
    Err(Reject::new(Reason::InvalidValue, format!("{field} is {value}, and must be 0 to {MAX_TOTAL}")).field(field))
}

impl Work {
    /// Reads a fact as it came over the feed.
    ///
    /// # Errors
    /// What is wrong with a field; [`Reason::UnknownFact`] for a fact that is not for nodes: a consumer never skips one.
    pub fn from_fact(fact: Option<&Fact>) -> Result<Self, Reject> {
        match fact {
            Some(Fact::ItemRanged(ranged)) => Ok(Self::RangeItem {
                item: ItemId::new(&ranged.item)?,
                details: Item {
                    description: ranged.description.clone(),
                    weight_grams: ranged.weight_grams,
                    attributes: ranged.attributes.clone(),
                    version: ranged.version,
                },
            }),
            Some(Fact::AllocationOpened(opened)) => Self::opened(opened),
            Some(Fact::CancellationRequested(cancel)) => Ok(Self::Cancel {
                id: convert::allocation_id(&cancel.allocation, "allocation")?,
                requested_total: quantity::positive(cancel.requested_total, "requested_total")?,
            }),
            Some(Fact::InboundAnnounced(announced)) => Ok(Self::Announce(Box::new(announced.clone()))),
            Some(Fact::InboundClosed(closed)) => Ok(Self::CloseInbound(closed.clone())),
            Some(Fact::InboundClaimed(claimed)) => Ok(Self::ClaimInbound(claimed.clone())),
            Some(Fact::RefundDecided(decided)) => Ok(Self::DecideRefund(decided.clone())),
            Some(Fact::RightsReturned(RightsReturned { epoch, stock_key, returned_total })) => {
                Ok(Self::TakeBackRights {
                    epoch: Epoch(*epoch),
                    stock_key: convert::stock_key(stock_key, "stock_key")?,
                    returned_total: total(*returned_total, "returned_total")?,
                })
            }
            Some(Fact::GrantPolicySet(set)) => {
                let GrantPolicySet { items, floor, walk_in_reserve, version } = set;
                let scope = match items {
                    Some(grant_policy_set::Items::StockKey(key)) => {
                        PolicyScope::Key(convert::stock_key(&Some(key.clone()), "stock_key")?)
                    }
                    Some(grant_policy_set::Items::Segment(segment)) => PolicyScope::Segment(segment.clone()),
                    None => {
                        let message = "segment or stock_key is missing";
                        return Err(Reject::new(Reason::MissingField, message).field("items"));
                    }
                };
                let floor = total(*floor, "floor")?;
                let walk_in_reserve = total(*walk_in_reserve, "walk_in_reserve")?;
                Ok(Self::SetPolicy(scope, SetPolicy { floor, walk_in_reserve, version: *version }))
            }
            _ => Err(Reject::new(Reason::UnknownFact, "a fact that this node does not know: update the node")),
        }
    }

    fn opened(opened: &AllocationOpened) -> Result<Self, Reject> {
        Ok(Self::Open {
            id: convert::allocation_id(&opened.allocation, "allocation")?,
            epoch: Epoch(opened.epoch),
            order_id: OrderId::new(&opened.order_id)?,
            line: opened.line,
            stock_key: convert::stock_key(&opened.stock_key, "stock_key")?,
            quantity: quantity::positive(opened.quantity, "quantity")?,
            ship_to: opened.ship_to.clone(),
            handling: Handling {
                transfer_id: opened.transfer.as_ref().map(|to| to.transfer_id.clone()).unwrap_or_default(),
                destination_node: opened.transfer.as_ref().map(|to| to.destination_node.clone()).unwrap_or_default(),
                allow_substitution: opened.allow_substitution,
                ..Handling::default()
            },
        })
    }
}

impl CoordinatorFact {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { incarnation, work } = self;
        let known = draft.meta.incarnation;
        if incarnation < known {
            let message = format!("incarnation {incarnation} of the group is over: {known} was met");
            return Err(Reject::new(Reason::StaleIncarnation, message));
        }
        draft.meta.incarnation = incarnation;
        match work {
            Work::RangeItem { item, details } => draft.put_item(item, details),
            Work::Open { id, epoch, order_id, line, stock_key, quantity, ship_to, handling } => {
                check_epoch(draft, epoch)?;
                let work = Opened { order_id, line, stock_key, quantity, ship_to, handling };
                work.accept(draft, id)?;
            }
            Work::SetPolicy(scope, policy) => draft.set_policy(scope, policy),
            Work::DecideRefund(decided) => refund::decided(draft, &decided)?,
            Work::Cancel { id, requested_total } => cancel(draft, id, requested_total)?,
            Work::Announce(announced) => super::inbound::announce(draft, *announced)?,
            Work::CloseInbound(closed) => super::inbound::closed_by_coordinator(draft, &closed)?,
            Work::ClaimInbound(claimed) => super::inbound::claimed(draft, &claimed)?,
            Work::TakeBackRights { epoch, stock_key, returned_total } => {
                // A counter of an epoch that is over says nothing about this one.
                if epoch < draft.state().identity().epoch {
                    return Ok(Answer::Done);
                }
                check_epoch(draft, epoch)?;
                take_back(draft, &stock_key, returned_total)?;
            }
        }
        Ok(Answer::Done)
    }
}

fn check_epoch(draft: &Draft<'_>, epoch: Epoch) -> Result<(), Reject> {
    let own = draft.state().identity().epoch;
    if epoch == own {
        return Ok(());
    }
    Err(Reject::new(Reason::StaleEpoch, format!("made against epoch {epoch}, and the node is in epoch {own}")))
}

struct Opened {
    order_id: OrderId,
    line: u32,
    stock_key: StockKey,
    quantity: Quantity,
    ship_to: Option<common::Place>,
    handling: Handling,
}

impl Opened {
    fn accept(self, draft: &mut Draft<'_>, id: AllocationId) -> Result<(), Reject> {
        // An id is accepted once, whatever comes with it.
        if draft.knows_allocation(id) {
            return Ok(());
        }
        let Self { order_id, line, stock_key, quantity, ship_to, handling } = self;
        let cell = draft.cell(&stock_key);
        let covered = cell.outstanding() - cell.open;
        if quantity > covered {
            let message = format!(
                "allocation {id} is for {quantity} units of {stock_key}, and rights for {covered} are outstanding: \
                 the coordinator promised more than this node granted"
            );
            return Err(Reject::new(Reason::InsufficientRights, message));
        }
        cell.open += quantity;
        draft.meta.accepted += 1;
        let allocation = Allocation {
            order_id: order_id.clone(),
            line,
            stock_key: stock_key.clone(),
            quantity,
            picked: 0,
            packed: 0,
            shipped: 0,
            cancelled: 0,
            lost: 0,
            ship_to,
            accepted_time: draft.meta.time,
            number: draft.meta.accepted,
            handling,
        };
        draft.put_allocation(id, allocation);
        draft.say(Fact::AllocationAccepted(AllocationAccepted {
            allocation: Some(id.into()),
            order_id: order_id.to_string(),
            line,
            stock_key: Some((&stock_key).into()),
            quantity,
        }));
        Ok(())
    }
}

/// Cancels up to a cumulative amount what is not shipped, and answers with the amount asked.
fn cancel(draft: &mut Draft<'_>, id: AllocationId, requested_total: Quantity) -> Result<(), Reject> {
    let allocation = draft.allocation(id)?;
    let more = (requested_total - allocation.cancelled).clamp(0, allocation.left());
    allocation.cancelled += more;
    let (cancelled_total, lost_total) = (allocation.cancelled, allocation.lost);
    let stock_key = allocation.stock_key.clone();
    draft.cell(&stock_key).open -= more;
    draft.say(Fact::CancellationAnswered(CancellationAnswered {
        allocation: Some(id.into()),
        requested_total,
        cancelled_total,
        lost_total,
    }));
    Ok(())
}

fn take_back(draft: &mut Draft<'_>, stock_key: &StockKey, returned_total: Quantity) -> Result<(), Reject> {
    let cell = draft.cell(stock_key);
    let more = returned_total - cell.returned;
    if more <= 0 {
        return Ok(());
    }
    if more > cell.outstanding() - cell.open {
        let message = format!(
            "{returned_total} rights on {stock_key} returned in all, more than are outstanding and not bound by open work"
        );
        return Err(Reject::new(Reason::InsufficientRights, message));
    }
    cell.returned = returned_total;
    Ok(())
}
