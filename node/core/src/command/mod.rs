//! Commands: each a file that can be read in one sitting, with its input, its cases and its reply.
//!
//! Fields arrive checked by themselves (ids, ranges, enumerations): the boundary did that. Here stands what depends on the state.
//!
//! Must not know: requests and their memory, which come before; durability, which comes after.

mod adjust;
mod bins;
mod counts;
mod decline;
mod exceptions;
mod expire;
mod grants;
mod inbound;
mod move_stock;
mod pack;
mod pick;
mod put_away;
mod receive;
mod returns;
mod sell;
mod ship;
mod work;

use stockmesh_types::Reject;

pub use adjust::AdjustStock;
pub use bins::{MAX_BINS, SetBins};
pub use counts::{
    CancelCount, CountFigure, CountedLine, FinishCount, MAX_COUNT_LINES, RecordCount, RequestCount, ReviewCount,
    StartCount,
};
pub use decline::DeclineAllocation;
pub use exceptions::ResolveException;
pub use expire::ExpireLots;
pub use grants::ReviewGrants;
pub use inbound::{CloseInbound, ResolveReceiptDifference};
pub use move_stock::MoveStock;
pub use pack::PackItems;
pub use pick::PickItems;
pub use put_away::PutAwayStock;
pub use receive::{ReceiptLine, ReceiveStock, ReceivedCondition};
pub use returns::{BoughtOn, InspectReturn, ReceiveReturn};
pub use sell::{SaleLine, SellAtCounter};
pub use ship::{ShipItems, ShipLine};
pub use work::{CoordinatorFact, Work};

use crate::draft::Draft;
use crate::effects::{Answer, Context};

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Books goods in.
    ReceiveStock(ReceiveStock),
    /// Sells what the node retained.
    SellAtCounter(SellAtCounter),
    /// Picks.
    PickItems(PickItems),
    /// Packs.
    PackItems(PackItems),
    /// Ships.
    ShipItems(ShipItems),
    /// Declines work.
    DeclineAllocation(DeclineAllocation),
    /// Corrects recorded stock.
    AdjustStock(AdjustStock),
    /// Takes a customer's goods back.
    ReceiveReturn(ReceiveReturn),
    /// Decides what happens to them.
    InspectReturn(InspectReturn),
    /// Changes the condition of units.
    MoveStock(MoveStock),
    /// Puts units into a bin.
    PutAwayStock(PutAwayStock),
    /// Sets bins up.
    SetBins(SetBins),
    /// Takes expired lots out of sellable stock.
    ExpireLots(ExpireLots),
    /// Closes an exception.
    ResolveException(ResolveException),
    /// Asks for a count.
    RequestCount(RequestCount),
    /// Begins a count.
    StartCount(StartCount),
    /// Enters figures of a count.
    RecordCount(RecordCount),
    /// Says that every line of a count has a figure.
    FinishCount(FinishCount),
    /// Decides about a count in review.
    ReviewCount(ReviewCount),
    /// Gives a count up.
    CancelCount(CancelCount),
    /// Says that no more comes of an expected receipt.
    CloseInbound(CloseInbound),
    /// Decides about units that are held in receiving.
    ResolveReceiptDifference(ResolveReceiptDifference),
    /// A fact of the coordinator's feed to this node takes effect.
    FollowCoordinator(CoordinatorFact),
    /// Grants what a changed policy allows.
    ReviewGrants(ReviewGrants),
}

impl Command {
    pub(crate) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        match self {
            Self::ReceiveStock(command) => command.execute(context, draft),
            Self::SellAtCounter(command) => command.execute(context, draft),
            Self::PickItems(command) => command.execute(draft),
            Self::PackItems(command) => command.execute(draft),
            Self::ShipItems(command) => command.execute(draft),
            Self::DeclineAllocation(command) => command.execute(draft),
            Self::AdjustStock(command) => command.execute(context, draft),
            Self::ReceiveReturn(command) => command.execute(draft),
            Self::InspectReturn(command) => command.execute(draft),
            Self::MoveStock(command) => command.execute(draft),
            Self::PutAwayStock(command) => command.execute(draft),
            Self::SetBins(command) => command.execute(draft),
            Self::ExpireLots(command) => command.execute(context, draft),
            Self::ResolveException(command) => command.execute(draft),
            Self::RequestCount(command) => command.execute(context, draft),
            Self::StartCount(command) => command.execute(draft),
            Self::RecordCount(command) => command.execute(context, draft),
            Self::FinishCount(command) => command.execute(draft),
            Self::ReviewCount(command) => command.execute(context, draft),
            Self::CancelCount(command) => command.execute(draft),
            Self::CloseInbound(command) => command.execute(context, draft),
            Self::ResolveReceiptDifference(command) => command.execute(draft),
            Self::FollowCoordinator(command) => command.execute(draft),
            Self::ReviewGrants(command) => Ok(command.execute(draft)),
        }
    }
}
