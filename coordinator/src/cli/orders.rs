//! `order …`.

use std::path::PathBuf;

use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1::order_service_client::OrderServiceClient;
use stockmesh_proto::coordinator::v1::{
    CancelLine, CancelOrderRequest, GetOrderRequest, ListOrdersRequest, OrderState, OrderStatus, PlaceOrderRequest,
};
use stockmesh_service::output::{Table, print};
use stockmesh_service::request::new_request_id;

use super::order_file::{LineArg, Payment, Shortage, lines, percent_ppm, read};
use super::{Asking, CliError, call, json};

#[derive(clap::Subcommand, Debug)]
pub(super) enum OrderCommand {
    /// Place an order, from flags or from a JSON file
    Place(Box<PlaceArgs>),
    /// Place many orders on one stream, from a file with one JSON order a line; safe to run again: an id is placed once
    PlaceMany {
        /// File; each line as for `order place --file`
        file: PathBuf,
    },
    /// What an order would cost and from where it would ship, as `order place` would be asked; promises nothing
    Quote(Box<PlaceArgs>),
    /// Show one order with its promises
    Get {
        /// Order id
        order_id: String,
    },
    /// List orders in the order in which they were placed
    List {
        /// Only orders in this state
        #[arg(long, value_enum)]
        state: Option<StateArg>,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Cancel units: everything that has not shipped, unless lines are named
    Cancel {
        /// Order id
        order_id: String,
        /// Units of one line only, LINE=QTY (may be repeated)
        #[arg(long = "line", value_name = "LINE=QTY", value_parser = cancel_line)]
        lines: Vec<CancelLine>,
        /// Id of this request, a UUIDv7: give it again to repeat the request
        #[arg(long, value_name = "UUID")]
        request_id: Option<String>,
    },
}

#[derive(clap::Args, Debug)]
pub(super) struct PlaceArgs {
    /// The whole order as JSON (order_id, ship_to.country_code, currency_code, lines[].item/quantity/sales_minor, …)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lines", "id"], required_unless_present = "lines")]
    file: Option<PathBuf>,
    /// One line (may be repeated); the unit price without tax, in the currency's main unit
    #[arg(long = "line", value_name = "ITEM=QTY@UNIT_PRICE")]
    lines: Vec<LineArg>,
    /// Order id: give it again to repeat the order safely; drawn when left out
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Sales channel
    #[arg(long, default_value = "web")]
    channel: String,
    /// Currency, ISO 4217
    #[arg(long, default_value = "GBP")]
    currency: String,
    /// Country that it ships to, ISO 3166-1 alpha-2
    #[arg(long, default_value = "GB")]
    country: String,
    /// Postal code
    #[arg(long, default_value = "")]
    postal_code: String,
    /// Latitude in degrees
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    latitude: f64,
    /// Longitude in degrees
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    longitude: f64,
    /// Reference of the customer: no name, no address
    #[arg(long, default_value = "guest")]
    customer: String,
    /// When the customer placed it, milliseconds since 1970 UTC; set by the coordinator when left out
    #[arg(long, value_name = "MS", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    placed_time_ms: i64,
    /// What happens to units that can't be promised now
    #[arg(long, value_enum, default_value = "backorder")]
    shortage: Shortage,
    /// When the customer pays
    #[arg(long, value_enum, default_value = "prepaid")]
    payment: Payment,
    /// VAT on every line, percent, levied by the country
    #[arg(long, value_name = "PERCENT", value_parser = percent_ppm)]
    vat_percent: Option<u32>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum StateArg {
    Backordered,
    PartiallyPromised,
    Promised,
    PartiallyShipped,
    Shipped,
    Cancelled,
}

impl StateArg {
    fn wire(self) -> OrderState {
        match self {
            Self::Backordered => OrderState::Backordered,
            Self::PartiallyPromised => OrderState::PartiallyPromised,
            Self::Promised => OrderState::Promised,
            Self::PartiallyShipped => OrderState::PartiallyShipped,
            Self::Shipped => OrderState::Shipped,
            Self::Cancelled => OrderState::Cancelled,
        }
    }
}

fn cancel_line(text: &str) -> Result<CancelLine, String> {
    let parsed = text
        .split_once('=')
        .and_then(|(line, quantity)| Some(CancelLine { line: line.parse().ok()?, quantity: quantity.parse().ok()? }));
    parsed.ok_or_else(|| format!("{text:?} is not of the form LINE=QTY, like 1=2"))
}

fn degrees_e7(degrees: f64, limit: f64) -> Result<i32, CliError> {
    if !(-limit..=limit).contains(&degrees) {
        return Err(CliError::Usage(format!("{degrees} degrees is not between -{limit} and {limit}")));
    }
    // Within the range of 32 bits: 180e7 is 1,800,000,000.
    Ok((degrees * 1e7).round() as i32)
}

fn order_of(args: PlaceArgs) -> Result<wire::Order, CliError> {
    if let Some(path) = &args.file {
        return read(path);
    }
    Ok(wire::Order {
        order_id: args.id.unwrap_or_else(new_request_id),
        channel: args.channel,
        placed_time_ms: args.placed_time_ms,
        customer: Some(wire::PartyRef { id: args.customer }),
        ship_to: Some(wire::Place {
            country_code: args.country.clone(),
            postal_code: args.postal_code,
            latitude_e7: degrees_e7(args.latitude, 90.0)?,
            longitude_e7: degrees_e7(args.longitude, 180.0)?,
        }),
        currency_code: args.currency.clone(),
        lines: lines(&args.lines, &args.currency, &args.country, args.vat_percent)?,
        shortage_policy: args.shortage.wire(),
        payment_terms: args.payment.wire(),
    })
}

pub(super) async fn run(asking: &Asking, command: OrderCommand) -> Result<(), CliError> {
    match command {
        OrderCommand::Place(args) => {
            let request = PlaceOrderRequest { order: Some(order_of(*args)?), incarnation: 0 };
            let response = call!(asking, OrderServiceClient, place_order, request)?;
            let status = response.status.unwrap_or_default();
            let mut value = json::order_status(&status);
            value["already_placed"] = response.already_placed.into();
            print(asking.output, &lines_table(&status), &value);
            if asking.output == stockmesh_service::output::OutputFormat::Table {
                let id = status.order.as_ref().map_or("", |order| order.order_id.as_str());
                let again = if response.already_placed { ", placed before" } else { "" };
                println!("\norder {id}: {}{again}", json::state(status.state));
            }
        }
        OrderCommand::PlaceMany { file } => super::bulk::place_many(asking, &file).await?,
        OrderCommand::Quote(args) => super::bulk::quote(asking, order_of(*args)?).await?,
        OrderCommand::Get { order_id } => {
            let response = call!(asking, OrderServiceClient, get_order, GetOrderRequest { order_id })?;
            let status = response.status.unwrap_or_default();
            print(asking.output, &lines_table(&status), &json::order_status(&status));
        }
        OrderCommand::List { state, limit } => {
            let orders = list(asking, state.map_or(OrderState::Unspecified, StateArg::wire), limit).await?;
            let mut table = Table::new(&["order", "state", "channel", "lines", "ordered", "shipped", "waiting"]);
            for status in &orders {
                let order = status.order.clone().unwrap_or_default();
                let sum = |of: fn(&stockmesh_proto::coordinator::v1::OrderLineStatus) -> i64| {
                    status.lines.iter().map(of).sum::<i64>().to_string()
                };
                table.push(vec![
                    order.order_id,
                    json::state(status.state),
                    order.channel,
                    order.lines.len().to_string(),
                    sum(|line| line.ordered),
                    sum(|line| line.shipped),
                    sum(|line| line.backordered),
                ]);
            }
            print(asking.output, &table, &orders.iter().map(json::order_status).collect());
        }
        OrderCommand::Cancel { order_id, lines, request_id } => {
            let request_id = request_id.unwrap_or_else(new_request_id);
            let request = CancelOrderRequest { request_id, order_id, lines };
            let response = call!(asking, OrderServiceClient, cancel_order, request)?;
            let status = response.status.unwrap_or_default();
            let mut value = json::order_status(&status);
            value["cancelled_now"] = response.cancelled.into();
            value["requested_of_nodes"] = response.requested.into();
            print(asking.output, &lines_table(&status), &value);
            if asking.output == stockmesh_service::output::OutputFormat::Table {
                println!(
                    "\n{} units cancelled; nodes were asked to cancel {} more, and may answer that it is too late",
                    response.cancelled, response.requested
                );
            }
        }
    }
    Ok(())
}

async fn list(asking: &Asking, state: OrderState, limit: usize) -> Result<Vec<OrderStatus>, CliError> {
    let (mut orders, mut page_token) = (Vec::new(), String::new());
    loop {
        let page_size = i32::try_from((limit - orders.len()).min(1_000)).unwrap_or(1_000);
        let request = ListOrdersRequest { page_size, page_token, state: state.into() };
        let response = call!(asking, OrderServiceClient, list_orders, request)?;
        orders.extend(response.orders);
        page_token = response.next_page_token;
        if page_token.is_empty() || orders.len() >= limit {
            orders.truncate(limit);
            return Ok(orders);
        }
    }
}

fn lines_table(status: &OrderStatus) -> Table {
    let mut table =
        Table::new(&["line", "item", "ordered", "shipped", "waiting", "cancelled", "returned", "promised from"]);
    for line in &status.lines {
        let from: Vec<String> = line
            .allocations
            .iter()
            .map(|allocation| {
                format!(
                    "{} {} ({})",
                    allocation.quantity - allocation.cancelled,
                    allocation.node,
                    json::allocation_id(allocation)
                )
            })
            .collect();
        table.push(vec![
            line.line.to_string(),
            line.stock_key.as_ref().map_or_else(String::new, json::stock_key_text),
            line.ordered.to_string(),
            line.shipped.to_string(),
            line.backordered.to_string(),
            line.cancelled.to_string(),
            line.returned.to_string(),
            from.join(", "),
        ]);
    }
    table
}
