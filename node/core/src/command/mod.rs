//! Commands: each a file that can be read in one sitting, with its input, its cases and its reply.
//!
//! Fields arrive checked by themselves (ids, ranges, enumerations): the boundary did that. Here stands what depends on the state.
//!
//! Must not know: requests and their memory, which come before; durability, which comes after.

mod adjust;
mod bins;
mod counter_return;
mod counts;
mod decline;
mod disposition;
mod exceptions;
mod expire;
mod fulfillment;
mod grants;
mod inbound;
mod kit;
mod labour;
mod move_stock;
mod pack;
mod pick;
mod pickup;
mod put_away;
mod receive;
mod refund;
mod returns;
mod sale;
mod sell;
mod ship;
mod transfer;
mod wave;
mod work;

use stockmesh_types::Reject;

pub use adjust::AdjustStock;
pub use bins::{MAX_BINS, SetBins};
pub use counter_return::{CounterReturnLine, ReturnAtCounter};
pub use counts::{
    CancelCount, CountFigure, CountedLine, FinishCount, MAX_COUNT_LINES, RecordCount, RequestCount, ReviewCount,
    StartCount,
};
pub use decline::DeclineAllocation;
pub use disposition::FinishDisposition;
pub use exceptions::ResolveException;
pub use expire::ExpireLots;
pub use fulfillment::{
    HoldFulfillmentOrder, PickWeighed, RejectFulfillmentOrder, ReportShortPick, ResumeFulfillmentOrder,
};
pub use grants::ReviewGrants;
pub use inbound::{CloseInbound, ResolveReceiptDifference};
pub use kit::{AssembleKits, DisassembleKits};
pub use labour::SetCapacity;
pub use move_stock::MoveStock;
pub use pack::PackItems;
pub use pick::PickItems;
pub use pickup::{ExpirePickups, HandOverPickup, ReplacePickupCode, StagePickup};
pub use put_away::PutAwayStock;
pub use receive::{ReceiptLine, ReceiveStock, ReceivedCondition};
pub use refund::RequestRefund;
pub use returns::{BoughtOn, InspectKnownReturn, InspectReturn, Origin, ReceiveKnownReturn, ReceiveReturn};
pub(crate) use sale::content_of as sale_content;
pub use sale::{RecordSale, Sell, VoidSale};
pub use sell::{SaleLine, SellAtCounter};
pub use ship::{ShipItems, ShipLine, ShipParcel};
pub use transfer::{ReceiveTransfer, TransferReceiptLine};
pub use wave::{CreateWave, MAX_WAVE};
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
    /// Sells what the node retained, or asks for rights back.
    Sell(Sell),
    /// Books a sale that has happened.
    RecordSale(RecordSale),
    /// Takes a sale back.
    VoidSale(VoidSale),
    /// Takes goods of a counter sale back, and pays.
    ReturnAtCounter(ReturnAtCounter),
    /// Books goods of a transfer in.
    ReceiveTransfer(ReceiveTransfer),
    /// Ships, with substitutes.
    ShipParcel(ShipParcel),
    /// Has the work for an order wait.
    HoldFulfillmentOrder(HoldFulfillmentOrder),
    /// Has it go on.
    ResumeFulfillmentOrder(ResumeFulfillmentOrder),
    /// Gives it back.
    RejectFulfillmentOrder(RejectFulfillmentOrder),
    /// Fewer units were found than were to pick.
    ReportShortPick(ReportShortPick),
    /// Picks a weighed item.
    PickWeighed(PickWeighed),
    /// Puts work together for one walk.
    CreateWave(CreateWave),
    /// Sets what can be done on a day.
    SetCapacity(SetCapacity),
    /// Sets goods aside for a customer.
    StagePickup(StagePickup),
    /// Gives a pickup another code.
    ReplacePickupCode(ReplacePickupCode),
    /// Hands goods over.
    HandOverPickup(HandOverPickup),
    /// Ends pickups whose time is over.
    ExpirePickups(ExpirePickups),
    /// Puts kits together.
    AssembleKits(AssembleKits),
    /// Takes kits apart.
    DisassembleKits(DisassembleKits),
    /// Takes goods back with what is known of them.
    ReceiveKnownReturn(ReceiveKnownReturn),
    /// Decides what happens to them, under a number.
    InspectKnownReturn(InspectKnownReturn),
    /// Carries it out.
    FinishDisposition(FinishDisposition),
    /// Asks for a refund, or pays one.
    RequestRefund(RequestRefund),
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
            Self::Sell(command) => command.execute(context, draft),
            Self::RecordSale(command) => command.execute(context, draft),
            Self::VoidSale(command) => command.execute(context, draft),
            Self::ReturnAtCounter(command) => command.execute(draft),
            Self::ReceiveTransfer(command) => command.execute(draft),
            Self::ShipParcel(command) => command.execute(draft),
            Self::HoldFulfillmentOrder(command) => command.execute(draft),
            Self::ResumeFulfillmentOrder(command) => command.execute(draft),
            Self::RejectFulfillmentOrder(command) => command.execute(draft),
            Self::ReportShortPick(command) => command.execute(draft),
            Self::PickWeighed(command) => command.execute(draft),
            Self::CreateWave(command) => command.execute(context, draft),
            Self::SetCapacity(command) => command.execute(context, draft),
            Self::StagePickup(command) => command.execute(context, draft),
            Self::ReplacePickupCode(command) => command.execute(draft),
            Self::HandOverPickup(command) => command.execute(context, draft),
            Self::ExpirePickups(command) => command.execute(context, draft),
            Self::AssembleKits(command) => command.execute(draft),
            Self::DisassembleKits(command) => command.execute(draft),
            Self::ReceiveKnownReturn(command) => command.execute(draft),
            Self::InspectKnownReturn(command) => command.execute(draft),
            Self::FinishDisposition(command) => command.execute(draft),
            Self::RequestRefund(command) => command.execute(context, draft),
            Self::FollowCoordinator(command) => command.execute(draft),
            Self::ReviewGrants(command) => Ok(command.execute(draft)),
        }
    }
}
