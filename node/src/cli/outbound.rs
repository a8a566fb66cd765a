//! Client verbs of the way out. Each sends one request, with an id that makes a repeat safe, and prints the answer.
//!
//! Must not know: how arguments are read, how a node is reached.

use std::path::Path;

use serde_json::{Value, json};
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::convert;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::node::v1::*;
use stockmesh_service::Security;
use stockmesh_service::output::{OutputFormat, Table, print};
use stockmesh_types::Currency;

use super::Failure;
use super::client::{Client, call_on};
use super::lines::{GoodsLine, minor_units, wire};
use super::outbound_args::*;
use super::verbs::{Tax, sale_line};

mod refunds;

fn name(text: &str, prefix: &str) -> String {
    text.trim_start_matches(prefix).to_lowercase()
}

fn key(stock_key: &Option<common::StockKey>) -> String {
    convert::stock_key(stock_key, "stock_key").map(|key| key.to_string()).unwrap_or_default()
}

fn money(text: &str, currency: Currency) -> Result<common::Money, Failure> {
    Ok(common::Money { currency_code: currency.code().to_owned(), minor: minor_units(text, currency)? })
}

fn sale_lines(sale: &SaleArgs) -> Result<Vec<feed::CounterSaleLine>, Failure> {
    let tax = sale.tax.as_deref().map(|text| Tax::parse(text, sale.sales_tax)).transpose()?;
    sale.lines.iter().map(|line| sale_line(line, sale.currency, tax.as_ref())).collect()
}

/// One row of names and values, and the same as JSON.
fn show(client: &Client, rows: &[(&str, String)]) {
    let mut table = Table::new(&["", ""]);
    let mut json = serde_json::Map::new();
    for (name, value) in rows {
        table.push(vec![name.replace('_', " "), value.clone()]);
        json.insert((*name).to_owned(), Value::String(value.clone()));
    }
    print(client.output, &table, &Value::Object(json));
}

impl CounterVerb {
    pub(crate) async fn execute(self, security: Security) -> Result<(), Failure> {
        match self {
            Self::Sell { target, once, sale, sale_id, recall } => {
                let client = Client::new(target, security);
                let request = SellRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    sale_id,
                    currency_code: sale.currency.code().to_owned(),
                    lines: sale_lines(&sale)?,
                    tender: sale.tender.wire(),
                    sold_time_ms: 0,
                    recall,
                };
                let done = call_on!(client, counter_service_client::CounterServiceClient, sell, request);
                if done.outcome() == SellOutcome::RecallRequested {
                    eprintln!("not sold yet: free units were asked for; sell again with the same document in a moment");
                }
                client.levels("sale_id", &done.sale_id, &done.levels);
            }
            Self::Record { target, once, sale_id, time, sale } => {
                let client = Client::new(target, security);
                let request = RecordSaleRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    sale_id,
                    currency_code: sale.currency.code().to_owned(),
                    lines: sale_lines(&sale)?,
                    tender: sale.tender.wire(),
                    sold_time_ms: time,
                };
                let done = call_on!(client, counter_service_client::CounterServiceClient, record_sale, request);
                if done.outcome() == RecordOutcome::Conflict {
                    eprintln!("booked before with another content: see exception {}", done.exception_id);
                }
                client.levels("sale_id", &done.sale_id, &done.levels);
            }
            Self::Void { target, once, sale_id, sale, reason } => {
                let client = Client::new(target, security);
                let request = VoidSaleRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    sale_id,
                    currency_code: sale.currency.code().to_owned(),
                    lines: sale_lines(&sale)?,
                    tender: sale.tender.wire(),
                    sold_time_ms: 0,
                    reason,
                };
                let done = call_on!(client, counter_service_client::CounterServiceClient, void_sale, request);
                client.levels("void_id", &done.void_id, &done.levels);
            }
            Self::Return {
                target,
                once,
                sale_id,
                sale_node,
                lines,
                disposition,
                refund,
                currency,
                tender,
                return_id,
            } => {
                let client = Client::new(target, security);
                let refund = match (refund, currency) {
                    (Some(text), Some(currency)) => Some(money(&text, currency)?),
                    _ => None,
                };
                let line = |line: GoodsLine| CounterReturnLine {
                    stock_key: wire(&line.stock_key),
                    quantity: line.quantity,
                    disposition: disposition.map_or(0, super::args::DispositionArg::wire),
                    units: Vec::new(),
                };
                let request = ReturnAtCounterRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    return_id,
                    sale_id,
                    sale_node: sale_node.map(String::from).unwrap_or_default(),
                    lines: lines.into_iter().map(line).collect(),
                    tender: if refund.is_some() { tender.wire() } else { 0 },
                    refund,
                };
                let done = call_on!(client, counter_service_client::CounterServiceClient, return_at_counter, request);
                client.levels("return_ids", &done.return_ids.join(","), &done.levels);
            }
        }
        Ok(())
    }
}

impl TransferVerb {
    pub(crate) async fn execute(self, security: Security) -> Result<(), Failure> {
        match self {
            Self::Receive { target, once, transfer_id, from, lines, damaged, short, receipt_id } => {
                let client = Client::new(target, security);
                let mut rows: Vec<TransferReceiptLine> = Vec::new();
                for (given, count) in [(lines, 0), (damaged, 1), (short, 2)] {
                    for TransferGoods { line, goods } in given {
                        let at = rows.iter().position(|row| row.line == line).unwrap_or(rows.len());
                        if at == rows.len() {
                            let stock_key = wire(&goods.stock_key);
                            rows.push(TransferReceiptLine { line, stock_key, ..TransferReceiptLine::default() });
                        }
                        let row = &mut rows[at];
                        let counter = match count {
                            0 => &mut row.quantity,
                            1 => &mut row.damaged,
                            _ => &mut row.short,
                        };
                        *counter += goods.quantity;
                    }
                }
                let request = ReceiveTransferRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    receipt_id,
                    transfer_id,
                    source_node: from.to_string(),
                    lines: rows,
                };
                let done = call_on!(client, transfer_service_client::TransferServiceClient, receive_transfer, request);
                client.levels("receipt_id", &done.receipt_id, &done.levels);
            }
            Self::List { target, limit } => {
                let client = Client::new(target, security);
                let mut request =
                    ListTransfersRequest { node: client.node().await?, page_size: 1_000, page_token: String::new() };
                let (mut table, mut rows) = (
                    Table::new(&["transfer", "from", "line", "stock key", "received", "damaged", "short"]),
                    Vec::new(),
                );
                let mut found = 0;
                loop {
                    let page = call_on!(
                        client,
                        transfer_service_client::TransferServiceClient,
                        list_transfers,
                        request.clone()
                    );
                    for transfer in page.transfers.iter().take(limit - found) {
                        found += 1;
                        for line in &transfer.lines {
                            table.push(vec![
                                transfer.transfer_id.clone(),
                                transfer.source_node.clone(),
                                line.line.to_string(),
                                key(&line.stock_key),
                                line.received.to_string(),
                                line.damaged.to_string(),
                                line.short.to_string(),
                            ]);
                            rows.push(json!({
                                "transfer_id": transfer.transfer_id, "source_node": transfer.source_node,
                                "line": line.line, "stock_key": key(&line.stock_key), "received": line.received,
                                "damaged": line.damaged, "short": line.short,
                            }));
                        }
                    }
                    if page.next_page_token.is_empty() || found >= limit {
                        break;
                    }
                    request.page_token = page.next_page_token;
                }
                print(client.output, &table, &json!({ "lines": rows }));
            }
        }
        Ok(())
    }
}

/// The form that a file's name asks for.
fn format_of(file: &Path) -> Result<DocumentFormat, Failure> {
    match file.extension().and_then(|ending| ending.to_str()) {
        Some("pdf") => Ok(DocumentFormat::Pdf),
        Some("zpl") => Ok(DocumentFormat::Zpl),
        Some("txt") => Ok(DocumentFormat::Text),
        _ => Err(Failure::Usage(format!("{} ends in none of .pdf, .txt, .zpl", file.display()))),
    }
}

fn write(client: &Client, file: &Path, content: &[u8]) -> Result<(), Failure> {
    std::fs::write(file, content)
        .map_err(|error| Failure::Other(anyhow::anyhow!("{} can't be written: {error}", file.display())))?;
    show(client, &[("file", file.display().to_string()), ("bytes", content.len().to_string())]);
    Ok(())
}

fn show_order(client: &Client, order: Option<FulfillmentOrder>) {
    let order = order.unwrap_or_default();
    if client.output == OutputFormat::Table && !order.hold_reason.is_empty() {
        println!("order {} waits: {}", order.order_id, order.hold_reason);
    }
    client.tasks(&order.tasks);
}

fn waves(client: &Client, waves: &[Wave]) {
    let mut table = Table::new(&["wave", "cut-off", "allocations", "units", "to pick"]);
    let mut rows = Vec::new();
    for wave in waves {
        let Wave { wave, cut_off_time_ms, quantity, to_pick, allocations } = wave;
        table.push(vec![
            wave.to_string(),
            cut_off_time_ms.to_string(),
            allocations.to_string(),
            quantity.to_string(),
            to_pick.to_string(),
        ]);
        rows.push(json!({
            "wave": wave, "cut_off_time_ms": cut_off_time_ms, "allocations": allocations, "quantity": quantity,
            "to_pick": to_pick,
        }));
    }
    print(client.output, &table, &json!({ "waves": rows }));
}

fn pick_list(client: &Client, lines: &[PickListLine]) {
    let mut table = Table::new(&["units", "stock key", "description", "for"]);
    let mut rows = Vec::new();
    for line in lines {
        let parts: Vec<String> =
            line.parts.iter().map(|part| format!("{} of {}/{}", part.quantity, part.order_id, part.line)).collect();
        table.push(vec![line.quantity.to_string(), key(&line.stock_key), line.description.clone(), parts.join(", ")]);
        rows.push(json!({
            "stock_key": key(&line.stock_key), "description": line.description, "quantity": line.quantity,
            "for": parts, "scan_codes": line.scan_codes, "substitutes": line.substitutes, "weighed": line.weighed,
            "components": line.components.iter().map(|part| json!({
                "item": part.item, "units_per_kit": part.units_per_kit,
            })).collect::<Vec<_>>(),
        }));
    }
    print(client.output, &table, &json!({ "lines": rows }));
}

fn capacity(client: &Client, days: &[feed::CapacityReported]) {
    let mut table = Table::new(&["date", "hour", "units", "planned"]);
    let mut rows = Vec::new();
    for day in days {
        let (units, planned) = (day.day_capacity_units, day.day_planned_units);
        table.push(vec![day.date.clone(), "all".to_owned(), units.to_string(), planned.to_string()]);
        for hour in &day.hours {
            let (units, planned) = (hour.capacity_units.to_string(), hour.planned_units.to_string());
            table.push(vec![day.date.clone(), hour.hour.to_string(), units, planned]);
        }
        rows.push(json!({
            "date": day.date, "day_capacity_units": units, "day_planned_units": planned,
            "hours": day.hours.iter().map(|hour| json!({
                "hour": hour.hour, "capacity_units": hour.capacity_units, "planned_units": hour.planned_units,
            })).collect::<Vec<_>>(),
        }));
    }
    print(client.output, &table, &json!({ "days": rows }));
}

impl WorkVerb {
    pub(crate) async fn execute(self, security: Security) -> Result<(), Failure> {
        use fulfillment_service_client::FulfillmentServiceClient as Api;
        match self {
            Self::Show { target, order } => {
                let client = Client::new(target, security);
                let request = GetFulfillmentOrderRequest { node: client.node().await?, order_id: order };
                show_order(&client, call_on!(client, Api, get_fulfillment_order, request).fulfillment_order);
            }
            Self::Hold { target, once, order, reason } => {
                let client = Client::new(target, security);
                let (node, request_id) = (client.node().await?, once.id());
                let request = HoldFulfillmentOrderRequest { node, request_id, order_id: order, reason };
                show_order(&client, call_on!(client, Api, hold_fulfillment_order, request).fulfillment_order);
            }
            Self::Resume { target, once, order } => {
                let client = Client::new(target, security);
                let (node, request_id) = (client.node().await?, once.id());
                let request = ResumeFulfillmentOrderRequest { node, request_id, order_id: order };
                show_order(&client, call_on!(client, Api, resume_fulfillment_order, request).fulfillment_order);
            }
            Self::Reject { target, once, order, reason } => {
                let client = Client::new(target, security);
                let (node, request_id) = (client.node().await?, once.id());
                let request =
                    RejectFulfillmentOrderRequest { node, request_id, order_id: order, reason: reason.wire() };
                show_order(&client, call_on!(client, Api, reject_fulfillment_order, request).fulfillment_order);
            }
            Self::Short { target, once, allocation, found, reason } => {
                let client = Client::new(target, security);
                let (node, request_id) = (client.node().await?, once.id());
                let allocation = Some(allocation.into());
                let request = ReportShortPickRequest { node, request_id, allocation, found, reason: reason.wire() };
                client.tasks(call_on!(client, Api, report_short_pick, request).task.as_slice());
            }
            Self::Weigh { target, once, allocation, grams } => {
                let client = Client::new(target, security);
                let (node, request_id) = (client.node().await?, once.id());
                let allocation = Some(allocation.into());
                let request = PickWeighedRequest { node, request_id, allocation, weight_grams: grams };
                client.tasks(call_on!(client, Api, pick_weighed, request).task.as_slice());
            }
            Self::Wave { target, once, cut_off, accepted_until, max } => {
                let client = Client::new(target, security);
                let request = CreateWaveRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    cut_off_time_ms: cut_off,
                    accepted_until_ms: accepted_until,
                    max_allocations: max,
                };
                let done = call_on!(client, Api, create_wave, request);
                if done.left_for_labour > 0 {
                    eprintln!("{} units stay for a later wave: the labour is used up", done.left_for_labour);
                }
                waves(&client, done.wave.as_slice());
            }
            Self::Waves { target, limit } => {
                let client = Client::new(target, security);
                let mut request =
                    ListWavesRequest { node: client.node().await?, page_size: 1_000, page_token: String::new() };
                let mut found = Vec::new();
                loop {
                    let page = call_on!(client, Api, list_waves, request.clone());
                    found.extend(page.waves);
                    if page.next_page_token.is_empty() || found.len() >= limit {
                        break;
                    }
                    request.page_token = page.next_page_token;
                }
                found.truncate(limit);
                waves(&client, &found);
            }
            Self::PickList { target, wave, order, file } => {
                let client = Client::new(target, security);
                let (node, order_id) = (client.node().await?, order);
                let Some(file) = file else {
                    let request = GetPickListRequest { node, wave, order_id };
                    pick_list(&client, &call_on!(client, Api, get_pick_list, request).lines);
                    return Ok(());
                };
                let request = PrintPickListRequest { node, wave, order_id, format: format_of(&file)?.into() };
                write(&client, &file, &call_on!(client, Api, print_pick_list, request).content)?;
            }
            Self::PackingSlip { target, order, file } => {
                let client = Client::new(target, security);
                let (node, format) = (client.node().await?, format_of(&file)?.into());
                let request = PrintPackingSlipRequest { node, order_id: order, format };
                write(&client, &file, &call_on!(client, Api, print_packing_slip, request).content)?;
            }
            Self::Label { target, shipment_id, order, carrier, grams, file } => {
                let client = Client::new(target, security);
                let request = CreateLabelRequest {
                    node: client.node().await?,
                    shipment_id,
                    order_id: order,
                    carrier,
                    weight_grams: grams,
                    format: format_of(&file)?.into(),
                };
                let label = call_on!(client, Api, create_label, request);
                eprintln!("carrier {}, tracking {}", label.carrier, label.tracking);
                write(&client, &file, &label.content)?;
            }
            Self::Capacity { target, once, date, day_units, hours } => {
                use labour_service_client::LabourServiceClient as Labour;
                let client = Client::new(target, security);
                let node = client.node().await?;
                let (Some(date), Some(day_capacity_units)) = (date, day_units) else {
                    let days = call_on!(client, Labour, list_capacity, ListCapacityRequest { node: node.clone() }).days;
                    capacity(&client, &days);
                    return Ok(());
                };
                let hour = |(hour, capacity_units)| SetHourCapacity { hour, capacity_units };
                let hours = hours.into_iter().map(hour).collect();
                let request = SetCapacityRequest { node, request_id: once.id(), date, day_capacity_units, hours };
                capacity(&client, call_on!(client, Labour, set_capacity, request).capacity.as_slice());
            }
        }
        Ok(())
    }
}

fn pickups(client: &Client, pickups: &[Pickup]) {
    let mut table = Table::new(&["pickup", "order", "units", "ready", "expires", "age", "wrong codes"]);
    let mut rows = Vec::new();
    for pickup in pickups {
        let units: i64 = pickup.lines.iter().map(|line| line.quantity).sum();
        table.push(vec![
            pickup.pickup_id.clone(),
            pickup.order_id.clone(),
            units.to_string(),
            pickup.ready_time_ms.to_string(),
            pickup.expires_time_ms.to_string(),
            pickup.minimum_age_years.to_string(),
            pickup.wrong_codes.to_string(),
        ]);
        rows.push(json!({
            "pickup_id": pickup.pickup_id, "order_id": pickup.order_id, "units": units,
            "ready_time_ms": pickup.ready_time_ms, "expires_time_ms": pickup.expires_time_ms,
            "minimum_age_years": pickup.minimum_age_years, "wrong_codes": pickup.wrong_codes,
        }));
    }
    print(client.output, &table, &json!({ "pickups": rows }));
}

impl PickupVerb {
    pub(crate) async fn execute(self, security: Security) -> Result<(), Failure> {
        use pickup_service_client::PickupServiceClient as Api;
        match self {
            Self::Stage { target, once, order, code, pickup_id, ready, expires } => {
                let client = Client::new(target, security);
                let request = StagePickupRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    pickup_id,
                    order_id: order,
                    ready_time_ms: ready,
                    expires_time_ms: expires,
                    code,
                };
                pickups(&client, call_on!(client, Api, stage_pickup, request).pickup.as_slice());
            }
            Self::Recode { target, once, pickup_id, code } => {
                let client = Client::new(target, security);
                let (node, request_id) = (client.node().await?, once.id());
                let request = ReplacePickupCodeRequest { node, request_id, pickup_id, code };
                pickups(&client, call_on!(client, Api, replace_pickup_code, request).pickup.as_slice());
            }
            Self::HandOver { target, once, pickup_id, code, lines, proxy, age_checked, shipment_id } => {
                let client = Client::new(target, security);
                let line = |line: super::lines::AllocationLine| ShipLine {
                    allocation: Some(line.allocation.into()),
                    quantity: line.quantity,
                    ..ShipLine::default()
                };
                let request = HandOverPickupRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    pickup_id,
                    code,
                    shipment_id,
                    lines: lines.into_iter().map(line).collect(),
                    proxy,
                    age_checked,
                };
                client.tasks(&call_on!(client, Api, hand_over_pickup, request).tasks);
            }
            Self::Expire { target, once } => {
                let client = Client::new(target, security);
                let request = ExpirePickupsRequest { node: client.node().await?, request_id: once.id() };
                let done = call_on!(client, Api, expire_pickups, request);
                if done.more {
                    eprintln!("more are overdue: run it again");
                }
                show(&client, &[("pickup_ids", done.pickup_ids.join(" "))]);
            }
            Self::List { target, overdue, limit } => {
                let client = Client::new(target, security);
                let mut request = ListPickupsRequest {
                    node: client.node().await?,
                    page_size: 1_000,
                    page_token: String::new(),
                    overdue_only: overdue,
                };
                let mut found = Vec::new();
                loop {
                    let page = call_on!(client, Api, list_pickups, request.clone());
                    found.extend(page.pickups);
                    if page.next_page_token.is_empty() || found.len() >= limit {
                        break;
                    }
                    request.page_token = page.next_page_token;
                }
                found.truncate(limit);
                pickups(&client, &found);
            }
        }
        Ok(())
    }
}

impl KitVerb {
    pub(crate) async fn execute(self, security: Security) -> Result<(), Failure> {
        use kit_service_client::KitServiceClient as Api;
        match self {
            Self::Assemble { target, once, kit, kits, scans } => {
                let client = Client::new(target, security);
                let (node, request_id, kit) = (client.node().await?, once.id(), wire(&kit));
                let conversion_id = String::new();
                let request = AssembleKitsRequest { node, request_id, conversion_id, kit, kits, scans };
                let id = request.request_id.clone();
                client.levels("conversion_id", &id, &call_on!(client, Api, assemble_kits, request).levels);
            }
            Self::Disassemble { target, once, kit, kits } => {
                let client = Client::new(target, security);
                let (node, request_id, kit) = (client.node().await?, once.id(), wire(&kit));
                let request = DisassembleKitsRequest { node, request_id, conversion_id: String::new(), kit, kits };
                let id = request.request_id.clone();
                client.levels("conversion_id", &id, &call_on!(client, Api, disassemble_kits, request).levels);
            }
        }
        Ok(())
    }
}
