//! Opening stock from a CSV file: every bad row is named with what is wrong, before anything is booked.
//!
//! A dry run asks the node about each row without booking it. An import books receipts of up to [`ROWS_AT_ONCE`] rows, numbered after
//! the import's name: what was booked before is skipped when it is run again.
//!
//! Must not know: how a node books.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::node::v1::ReceiveStockRequest;
use stockmesh_service::output::{Table, print};
use stockmesh_service::request::new_request_id;
use stockmesh_service::status::{explain, known_reason};
use stockmesh_types::{Currency, Reason};

use crate::cli::Failure;
use crate::cli::client::{Client, call};
use crate::cli::lines::minor_units;

/// Rows of one receipt.
const ROWS_AT_ONCE: usize = 50;
/// Bad rows that are listed.
const MAX_LISTED: usize = 1_000;

/// A row as the file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    item: String,
    quantity: i64,
    cost: String,
    #[serde(default)]
    pack: String,
    #[serde(default)]
    condition: String,
    #[serde(default)]
    grade: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    life: String,
    #[serde(default)]
    lot: String,
    #[serde(default)]
    expiry: String,
    #[serde(default)]
    bin: String,
    #[serde(default)]
    serials: String,
}

/// A row that could be read: its line in the file, and what is to be booked.
type Good = (u64, feed::ReceiptLine);

/// A row that can't be booked: its line in the file, and why.
struct Bad {
    line: u64,
    why: String,
}

fn receipt_line(row: &Row, currency: Currency) -> Result<feed::ReceiptLine, String> {
    let grade = match row.grade.as_str() {
        "" | "new" => common::Grade::New,
        "refurbished" => common::Grade::Refurbished,
        other => return Err(format!("grade {other:?} is none of new, refurbished")),
    };
    let condition = match row.condition.as_str() {
        "" | "sellable" => common::Condition::Sellable,
        "quarantined" => common::Condition::Quarantined,
        "damaged" => common::Condition::Damaged,
        other => return Err(format!("condition {other:?} is none of sellable, quarantined, damaged")),
    };
    let minor = minor_units(&row.cost, currency).map_err(|reject| reject.message)?;
    let entered =
        (!row.pack.is_empty()).then(|| common::EnteredQuantity { quantity: row.quantity, pack: row.pack.clone() });
    let serials: Vec<String> = row.serials.split_whitespace().map(str::to_owned).collect();
    let told = !(row.lot.is_empty() && row.bin.is_empty() && serials.is_empty());
    let units = told.then(|| common::UnitGroup {
        quantity: 0,
        lot: row.lot.clone(),
        expiry_date: row.expiry.clone(),
        bin: row.bin.clone(),
        serials,
    });
    Ok(feed::ReceiptLine {
        stock_key: Some(common::StockKey {
            item: row.item.clone(),
            grade: grade.into(),
            owner: row.owner.clone(),
            shelf_life_class: row.life.clone(),
        }),
        quantity: if entered.is_some() { 0 } else { row.quantity },
        condition: condition.into(),
        cost: Some(common::Money { currency_code: currency.code().to_owned(), minor }),
        entered,
        units: units.into_iter().collect(),
        ..Default::default()
    })
}

/// Reads a file: good lines with their place, and rows that can't be read.
fn read(file: &Path, currency: Currency) -> Result<(Vec<Good>, Vec<Bad>), Failure> {
    let open = |error: csv::Error| Failure::Usage(format!("{}: {error}", file.display()));
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(file).map_err(open)?;
    let headers = reader.headers().map_err(open)?.clone();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let mut serials: BTreeMap<(String, String), u64> = BTreeMap::new();
    for record in reader.records() {
        let (line, row) = match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                (line, record.deserialize::<Row>(Some(&headers)).map_err(|error| error.to_string()))
            }
            Err(error) => (error.position().map_or(0, csv::Position::line), Err(error.to_string())),
        };
        let read = row.and_then(|row| {
            let read = receipt_line(&row, currency)?;
            for serial in row.serials.split_whitespace() {
                if let Some(before) = serials.insert((row.item.clone(), serial.to_owned()), line) {
                    return Err(format!("serial number {serial} stands in line {before} as well"));
                }
            }
            Ok(read)
        });
        match read {
            Ok(read) => good.push((line, read)),
            Err(why) => bad.push(Bad { line, why }),
        }
    }
    Ok((good, bad))
}

pub(super) async fn run(
    client: &Client,
    file: &Path,
    currency: Currency,
    name: &str,
    dry_run: bool,
) -> Result<(), Failure> {
    let (good, mut bad) = read(file, currency)?;
    let rows = good.len() + bad.len();
    let node = client.node().await?;
    let receipt = |lines: Vec<feed::ReceiptLine>, number: usize, validate_only: bool| ReceiveStockRequest {
        node: node.clone(),
        request_id: new_request_id(),
        receipt_id: format!("{name}-{number}"),
        kind: feed::ReceiptKind::OpeningStock.into(),
        reference: name.to_owned(),
        lines,
        inbound_id: String::new(),
        validate_only,
    };
    // Every row is asked about by itself, so that each bad one is found.
    for (line, row) in &good {
        let asked = ask_about(client, receipt(vec![row.clone()], 0, true)).await?;
        if let Some(why) = asked {
            bad.push(Bad { line: *line, why });
        }
    }
    bad.sort_by_key(|bad| bad.line);
    let mut table = Table::new(&["line", "what is wrong"]);
    for Bad { line, why } in bad.iter().take(MAX_LISTED) {
        table.push(vec![line.to_string(), why.clone()]);
    }
    let listed: Vec<_> = bad.iter().take(MAX_LISTED).map(|bad| json!({ "line": bad.line, "why": bad.why })).collect();
    if !bad.is_empty() || dry_run {
        let json = json!({ "rows": rows, "bad_rows": bad.len(), "bad": listed, "booked_receipts": 0 });
        print(client.output, &table, &json);
        return match bad.len() {
            0 => Ok(()),
            count => Err(Failure::Other(anyhow::anyhow!("{count} of {rows} rows can't be booked; nothing was"))),
        };
    }
    let (mut booked, mut skipped) = (0, 0);
    for (number, part) in good.chunks(ROWS_AT_ONCE).enumerate() {
        let lines = part.iter().map(|(_, row)| row.clone()).collect();
        let request = receipt(lines, number + 1, false);
        let done: Result<_, Failure> = async { Ok(call!(client, receive_stock, request)) }.await;
        match done {
            Ok(_) => booked += 1,
            Err(Failure::Status(status)) if known_reason(&status) == Some(Reason::DocumentIdReused) => skipped += 1,
            Err(other) => return Err(other),
        }
    }
    let mut table = Table::new(&["rows", "receipts booked", "receipts booked before"]);
    table.push(vec![rows.to_string(), booked.to_string(), skipped.to_string()]);
    let json = json!({ "rows": rows, "bad_rows": 0, "bad": [], "booked_receipts": booked, "booked_before": skipped });
    print(client.output, &table, &json);
    Ok(())
}

/// Why the node would refuse a receipt; `None`: it would not.
async fn ask_about(client: &Client, request: ReceiveStockRequest) -> Result<Option<String>, Failure> {
    let asked: Result<_, Failure> = async { Ok(call!(client, receive_stock, request)) }.await;
    match asked {
        Ok(_) => Ok(None),
        Err(Failure::Status(status)) if known_reason(&status).is_some_and(refuses_row) => Ok(Some(explain(&status))),
        Err(other) => Err(other),
    }
}

/// A refusal of what the row says, not of the moment.
fn refuses_row(reason: Reason) -> bool {
    use stockmesh_types::RejectKind;
    !matches!(reason.kind(), RejectKind::Unavailable | RejectKind::ResourceExhausted | RejectKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_row_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("stock.csv");
        let text = "item,quantity,cost,condition,serials,pack\n\
                    A,10,12.50,,,\n\
                    B,x,1.00,,,\n\
                    C,1,1.005,,,\n\
                    D,1,1,broken,,\n\
                    E,2,1,damaged,s1 s2,\n\
                    E,1,1,,s2,\n\
                    F,3,1,,,case\n";
        std::fs::write(&file, text).unwrap();
        let (good, bad) = read(&file, Currency::new("EUR").unwrap()).unwrap();
        assert_eq!(good.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 6, 8]);
        assert_eq!(bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [3, 4, 5, 7]);
        assert_eq!((good[0].1.quantity, good[0].1.cost.as_ref().unwrap().minor), (10, 1_250));
        assert_eq!((good[2].1.quantity, good[2].1.entered.as_ref().unwrap().quantity), (0, 3));
        assert!(bad[3].why.contains("line 6"), "{}", bad[3].why);
        std::fs::write(&file, "item,quantity\nA,1\n").unwrap();
        let (good, bad) = read(&file, Currency::new("EUR").unwrap()).unwrap();
        assert!(good.is_empty() && bad[0].why.contains("cost"), "{}", bad[0].why);
    }
}
