//! FinishDisposition: what an inspection decided is carried out: refurbished goods are sellable again, as goods of that grade; others
//! leave.
//!
//! Must not know: who refurbishes, who buys.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{Disposition, DispositionFinished, DispositionOutcome};
use stockmesh_proto::node::v1::FinishDispositionResponse;
use stockmesh_types::{Grade, OrderId, Quantity, Reason, Reject, StockKey};

use crate::change::{Document, DocumentKind};
use crate::draft::Draft;
use crate::effects::Answer;

/// Carries a disposition out.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishDisposition {
    /// Business id.
    pub finish_id: OrderId,
    /// Return.
    pub return_id: OrderId,
    /// What was decided.
    pub disposition: Disposition,
    /// Base units, positive.
    pub quantity: Quantity,
    /// What became of them.
    pub outcome: DispositionOutcome,
    /// Which units.
    pub units: Vec<common::UnitGroup>,
}

impl FinishDisposition {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { finish_id, return_id, disposition, quantity, outcome, units } = self;
        draft.new_document(DocumentKind::Disposition, &finish_id, Document::Taken, "finish_id")?;
        let Some(Document::Return { stock_key, quantity: returned, inspected, mut waiting }) =
            draft.document(DocumentKind::Return, &return_id)
        else {
            let message = format!("node {} has no return {return_id}", draft.node());
            return Err(Reject::new(Reason::UnknownReturn, message).field("return_id"));
        };
        check_outcome(disposition, outcome)?;
        let Some(waits) = waiting.of(disposition) else {
            let message = "RESALE and WRITE_OFF are carried out by the inspection";
            return Err(Reject::new(Reason::InvalidValue, message).field("disposition"));
        };
        if quantity > *waits {
            let message =
                format!("{waits} units of return {return_id} wait for {}, {quantity} asked", disposition.as_str_name());
            return Err(Reject::new(Reason::NothingAwaits, message).field("quantity"));
        }
        *waits -= quantity;
        draft.put_document(
            DocumentKind::Return,
            &return_id,
            Document::Return { stock_key: stock_key.clone(), quantity: returned, inspected, waiting },
        );
        draft.cell(&stock_key).in_disposition -= quantity;
        let sellable_as = (outcome == DispositionOutcome::Refurbished)
            .then(|| StockKey { grade: Grade::Refurbished, ..stock_key.clone() });
        match &sellable_as {
            Some(key) => {
                draft.fits(key, quantity)?;
                // When the goods were refurbished ones before, both are the same cell.
                draft.cell(&stock_key).converted_total -= quantity;
                let cell = draft.cell(key);
                cell.converted_total += quantity;
                cell.on_hand += quantity;
            }
            None => draft.cell(&stock_key).disposed_total += quantity,
        }
        draft.say(Fact::DispositionFinished(DispositionFinished {
            finish_id: finish_id.to_string(),
            return_id: return_id.to_string(),
            stock_key: Some((&stock_key).into()),
            quantity,
            disposition: disposition.into(),
            outcome: outcome.into(),
            sellable_as: sellable_as.as_ref().map(Into::into),
            units,
        }));
        draft.settle();
        let levels = draft.levels(std::iter::once(&stock_key).chain(&sellable_as));
        Ok(Answer::DispositionFinished(FinishDispositionResponse { levels }))
    }
}

fn check_outcome(disposition: Disposition, outcome: DispositionOutcome) -> Result<(), Reject> {
    let fits = match outcome {
        DispositionOutcome::Refurbished => disposition == Disposition::Refurbish,
        DispositionOutcome::Liquidated => disposition == Disposition::Liquidate,
        DispositionOutcome::ReturnedToVendor => disposition == Disposition::ReturnToVendor,
        DispositionOutcome::WrittenOff => true,
        DispositionOutcome::Unspecified => false,
    };
    if fits {
        return Ok(());
    }
    let message = format!("{} can't be the outcome of {}", outcome.as_str_name(), disposition.as_str_name());
    Err(Reject::new(Reason::OutcomeMismatch, message).field("outcome"))
}
