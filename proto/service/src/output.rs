//! What client commands print: a table for people or JSON for programs, errors with what to do next, exit codes.

use std::process::ExitCode;

use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, ContentLineStyle, LineStyle, TableStyle};
use stockmesh_types::{Reason, RejectKind};
use tonic::{Code, Status};

use crate::status::{explain, field_of, known_reason, reason_of};

/// Form of output (`--output`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Exit code: done.
pub const EXIT_OK: u8 = 0;
/// Exit code: the service refused.
pub const EXIT_REFUSED: u8 = 1;
/// Exit code: the command line or a config file is wrong.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: no service answered, or it could not at the moment.
pub const EXIT_UNAVAILABLE: u8 = 3;

/// One line a row: what people scan, and `grep` finds.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none().junction('|'))
    .header_separator(LineStyle::none().fill('-').junction('+'))
    .content_lines(ContentLineStyle::none().junction('|'));

/// Rows under headings; amounts and quantities stand to the right.
pub struct Table(comfy_table::Table);

impl Table {
    /// With headings.
    #[must_use]
    pub fn new(columns: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(STYLE);
        table.set_header(columns.to_vec());
        Self(table)
    }

    /// Adds a row.
    #[must_use]
    pub fn row(mut self, cells: Vec<String>) -> Self {
        self.push(cells);
        self
    }

    /// Adds a row.
    pub fn push(&mut self, cells: Vec<String>) {
        self.0.add_row(cells.into_iter().map(|text| {
            let number = text.chars().any(|c| c.is_ascii_digit())
                && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | ','));
            let side = if number { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(text).set_alignment(side)
        }));
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.trim_fmt())
    }
}

/// Prints the answer in the form that was asked for.
pub fn print(format: OutputFormat, table: &Table, json: &serde_json::Value) {
    match format {
        OutputFormat::Table => println!("{table}"),
        OutputFormat::Json => println!("{json:#}"),
    }
}

/// What an error line says: what is wrong, the reason for programs, and what to do next where that is known.
#[must_use]
pub fn error_message(status: &Status) -> String {
    let mut text = format!("error: {}", explain(status));
    if let Some(field) = field_of(status)
        && !status.message().contains(&field)
    {
        text = format!("{text} (at {field})");
    }
    if let Some(reason) = reason_of(status) {
        text = format!("{text} [{reason}]");
    }
    match advice(status) {
        Some(advice) => format!("{text} ({advice})"),
        None => text,
    }
}

fn advice(status: &Status) -> Option<&'static str> {
    if let Some(reason) = known_reason(status) {
        return match (reason, reason.kind()) {
            (Reason::RequestIdReused | Reason::OrderIdReused | Reason::DocumentIdReused, _) => {
                Some("what was accepted under this id stands; take a new id for something new")
            }
            (_, RejectKind::ResourceExhausted) => Some("try again in a moment, with the same id"),
            (_, RejectKind::Unavailable) => Some("repeat with the same id: it takes effect once"),
            _ => None,
        };
    }
    match status.code() {
        Code::Unavailable => Some(
            "is the service up at that address, and do --tls-ca, --tls-cert and --tls-key belong to the same CA as its?",
        ),
        Code::DeadlineExceeded => Some("the outcome is unknown: repeat with the same id"),
        Code::ResourceExhausted => Some("try again in a moment, with the same id"),
        _ => None,
    }
}

/// The exit code for an error.
#[must_use]
pub fn exit_code(status: &Status) -> u8 {
    match status.code() {
        Code::Ok => EXIT_OK,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => EXIT_UNAVAILABLE,
        _ => EXIT_REFUSED,
    }
}

/// Prints an error to standard error and says how to exit.
pub fn print_error(status: &Status) -> ExitCode {
    eprintln!("{}", error_message(status));
    ExitCode::from(exit_code(status))
}

#[cfg(test)]
mod tests {
    use stockmesh_types::Reject;

    use super::*;
    use crate::status::{not_leader, to_status};

    #[test]
    fn tables_have_headings_and_rows() {
        let table = Table::new(&["node", "kind"]).row(vec!["dc-1".into(), "store".into()]).to_string();
        let lines: Vec<_> = table.lines().map(str::trim).collect();
        assert!(lines[0].contains("node") && lines[0].contains("kind"), "{table}");
        assert!(lines.last().unwrap().contains("dc-1"), "{table}");
    }

    #[test]
    fn errors_say_what_is_wrong_why_and_what_next() {
        let reject = |reason, message: &str, field: &str| to_status(&Reject::new(reason, message).field(field));
        let cases = [
            (reject(Reason::UnknownItem, "no item X", ""), "error: no item X [UNKNOWN_ITEM]", EXIT_REFUSED),
            (
                reject(Reason::QuantityNotPositive, "it is -1", "lines[0].quantity"),
                "error: it is -1 (at lines[0].quantity) [QUANTITY_NOT_POSITIVE]",
                EXIT_REFUSED,
            ),
            (
                reject(Reason::Overloaded, "the queue is full", ""),
                "error: the queue is full [OVERLOADED] (try again in a moment, with the same id)",
                EXIT_UNAVAILABLE,
            ),
            (
                reject(Reason::OrderIdReused, "order A exists", ""),
                "error: order A exists [ORDER_ID_REUSED] (what was accepted under this id stands; take a new id for \
                 something new)",
                EXIT_REFUSED,
            ),
        ];
        for (status, message, code) in cases {
            assert_eq!((error_message(&status).as_str(), exit_code(&status)), (message, code));
        }
        assert_eq!(exit_code(&not_leader(None)), EXIT_UNAVAILABLE);
    }
}
