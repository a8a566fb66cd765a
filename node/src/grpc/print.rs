//! Pick lists, packing slips and labels for printing.
//!
//! Must not know: forms; [`crate::paper`] does.

use stockmesh_node_core::Allocation;
use stockmesh_proto::convert;
use stockmesh_proto::node::v1::*;
use stockmesh_service::status::to_status;
use stockmesh_types::{OrderId, Reason, Reject};
use tonic::{Request, Status};

use super::{NodeApi, parse_outbound as parse};
use crate::carrier::{Parcel, named};
use crate::paper::{Label, Sheet, to_pdf};
use crate::writer::View;

fn unspecified() -> Reject {
    Reject::new(Reason::UnspecifiedEnum, "format is not one that is known").field("format")
}

fn format_of(given: i32) -> Result<DocumentFormat, Reject> {
    DocumentFormat::try_from(given).map_err(|_| unspecified())
}

/// A sheet in a form.
fn printed(sheet: &Sheet, format: DocumentFormat) -> Result<(String, Vec<u8>), Reject> {
    match format {
        DocumentFormat::Unspecified | DocumentFormat::Pdf => Ok(("application/pdf".to_owned(), to_pdf(sheet))),
        DocumentFormat::Text => Ok(("text/plain; charset=utf-8".to_owned(), sheet.to_text().into_bytes())),
        DocumentFormat::Zpl => {
            let message = "ZPL is for labels: take PDF or text";
            Err(Reject::new(Reason::InvalidValue, message).field("format"))
        }
    }
}

pub(super) async fn pick_list(
    api: &NodeApi,
    request: &Request<PrintPickListRequest>,
) -> Result<PrintPickListResponse, Status> {
    let body = request.get_ref();
    let prepared = || Ok((parse::pick_list_of(body.wave, &body.order_id)?, format_of(body.format)?));
    let (of, format) = prepared().map_err(|reject: Reject| to_status(&reject))?;
    let title = if body.wave > 0 {
        format!("Pick list, wave {}", body.wave)
    } else {
        format!("Pick list, order {}", body.order_id)
    };
    let lines = api.look(request, &body.node, move |view: &View<'_>| view.state.pick_list(&of, view.archive)).await?;
    let sheet = Sheet { title, lines: lines.iter().flat_map(pick_rows).collect() };
    let (content_type, content) = printed(&sheet, format).map_err(|reject| to_status(&reject))?;
    Ok(PrintPickListResponse { content_type, content })
}

fn pick_rows(line: &PickListLine) -> Vec<String> {
    let key = convert::stock_key(&line.stock_key, "stock_key").map(|key| key.to_string()).unwrap_or_default();
    let unit = if line.weighed { "g" } else { "x" };
    let mut rows = vec![format!("[ ] {:>6} {unit} {key}  {}", line.quantity, line.description)];
    for part in &line.parts {
        let id = convert::allocation_id(&part.allocation, "allocation").map(|id| id.to_string()).unwrap_or_default();
        rows.push(format!("      {:>6} for order {} line {} ({id})", part.quantity, part.order_id, part.line));
    }
    for PickListComponent { item, description, units_per_kit } in &line.components {
        rows.push(format!("      kit: {units_per_kit} x {item}  {description}"));
    }
    if !line.substitutes.is_empty() {
        rows.push(format!("      where the order allows it: {}", line.substitutes.join(", ")));
    }
    if !line.scan_codes.is_empty() {
        rows.push(format!("      scan: {}", line.scan_codes.join(", ")));
    }
    rows.push(String::new());
    rows
}

/// What stands on papers of an order: its work here, with descriptions and weights.
struct OrderPaper {
    rows: Vec<String>,
    packed_grams: i64,
    ship_to: String,
}

fn order_paper(view: &View<'_>, order: &OrderId) -> Result<OrderPaper, Reject> {
    let work = view.state.work_of_order(order, view.archive)?;
    let mut paper = OrderPaper { rows: Vec::new(), packed_grams: 0, ship_to: String::new() };
    for (_, allocation) in &work {
        let Allocation { line, stock_key, quantity, picked, packed, shipped, cancelled, ship_to, .. } = allocation;
        let item = view.state.item(&stock_key.item);
        let description = item.map(|item| item.description.as_str()).unwrap_or_default();
        let ready = (*packed.max(picked) - shipped).min(quantity - shipped - cancelled).max(0);
        paper.rows.push(format!("{line:>4}  {ready:>6} x {stock_key}  {description}"));
        let rest = quantity - cancelled - shipped - ready;
        if rest > 0 {
            paper.rows.push(format!("              {rest} more follow"));
        }
        let grams = item.map_or(0, |item| item.weight_grams);
        paper.packed_grams = paper.packed_grams.saturating_add(grams.saturating_mul(ready));
        if let Some(place) = ship_to {
            paper.ship_to = format!("{} {}", place.country_code, place.postal_code).trim().to_owned();
        }
    }
    Ok(paper)
}

pub(super) async fn packing_slip(
    api: &NodeApi,
    request: &Request<PrintPackingSlipRequest>,
) -> Result<PrintPackingSlipResponse, Status> {
    let body = request.get_ref();
    let prepared = || {
        let order = OrderId::new(&body.order_id).map_err(|reject| reject.field("order_id"))?;
        Ok((order, format_of(body.format)?))
    };
    let (order, format) = prepared().map_err(|reject: Reject| to_status(&reject))?;
    let title = format!("Packing slip, order {order}");
    let paper = api.look(request, &body.node, move |view: &View<'_>| order_paper(view, &order)).await?;
    let OrderPaper { mut rows, packed_grams: _, ship_to } = paper;
    rows.insert(0, format!("to {ship_to}, from {}", body.node));
    rows.insert(1, String::new());
    let (content_type, content) =
        printed(&Sheet { title, lines: rows }, format).map_err(|reject| to_status(&reject))?;
    Ok(PrintPackingSlipResponse { content_type, content })
}

pub(super) async fn label(api: &NodeApi, request: &Request<CreateLabelRequest>) -> Result<CreateLabelResponse, Status> {
    let body = request.get_ref();
    let prepared = || {
        let (_, node, _) = api.admit(request, &body.node)?;
        let shipment_id = OrderId::new(&body.shipment_id).map_err(|reject| reject.field("shipment_id"))?;
        let order_id = OrderId::new(&body.order_id).map_err(|reject| reject.field("order_id"))?;
        if body.weight_grams < 0 {
            let message = format!("weight_grams is {}", body.weight_grams);
            return Err(Reject::new(Reason::QuantityNotPositive, message).field("weight_grams"));
        }
        Ok((node, shipment_id, order_id, named(&body.carrier)?, format_of(body.format)?))
    };
    let (node, shipment_id, order_id, carrier, format) = prepared().map_err(|reject: Reject| to_status(&reject))?;
    let order = order_id.clone();
    let paper = api.look(request, &body.node, move |view: &View<'_>| order_paper(view, &order)).await?;
    let weight_grams = if body.weight_grams > 0 { body.weight_grams } else { paper.packed_grams };
    let parcel = Parcel { node, shipment_id, order_id, ship_to: paper.ship_to, weight_grams };
    let finished = || {
        let tracking = carrier.take_on(&parcel)?;
        let Parcel { node, shipment_id, order_id, ship_to, weight_grams } = &parcel;
        let label = Label {
            carrier: carrier.name().to_owned(),
            tracking: tracking.clone(),
            shipment_id: shipment_id.to_string(),
            order_id: order_id.to_string(),
            ship_to: ship_to.clone(),
            node: node.to_string(),
            weight_grams: *weight_grams,
        };
        let (content_type, content) = match format {
            DocumentFormat::Zpl => ("application/vnd.zebra-zpl".to_owned(), label.to_zpl().into_bytes()),
            other => printed(&label.to_sheet(), other)?,
        };
        Ok(CreateLabelResponse { carrier: carrier.name().to_owned(), tracking, content_type, content })
    };
    finished().map_err(|reject: Reject| to_status(&reject))
}
