//! Rows of the books as messages.

use stockmesh_finance_core::{Entry, Posting};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedRef;
use stockmesh_proto::finance::v1 as wire;
use stockmesh_service::page::encode_token;
use stockmesh_types::FeedId;

use crate::signing::to_hex;
use crate::store::{Account, Page, SignedHead, StockRow, SuspenseRow};

/// Token of the page after this one; empty when it is the last.
pub(super) fn next_token<T>(kind: &str, page: &Page<T>, key: impl FnOnce(&T) -> String) -> String {
    page.rows.last().filter(|_| page.more).map(|row| encode_token(kind, key(row))).unwrap_or_default()
}

pub(super) fn balance(account: Account) -> wire::AccountBalance {
    let Account { entity, name, currency, debit_minor, credit_minor } = account;
    wire::AccountBalance { entity, account: name, currency_code: currency.to_string(), debit_minor, credit_minor }
}

pub(super) fn entry(entry: Entry) -> wire::JournalEntry {
    wire::JournalEntry {
        number: entry.number,
        entity: entry.entity,
        currency_code: entry.currency.to_string(),
        effective_date: entry.effective_date.to_string(),
        posting_date: entry.posting_date.to_string(),
        rule: entry.rule,
        source: Some(FeedRef::from(&entry.source.feed)),
        source_seq: entry.source.seq,
        part: entry.part,
        description: entry.description,
        postings: entry.postings.into_iter().map(posting).collect(),
        hash: entry.hash.to_string(),
    }
}

fn posting(posting: Posting) -> wire::Posting {
    let Posting { account, amount_minor, node, item, channel, order_id, jurisdiction, tax_rate_ppm } = posting;
    wire::Posting { account, amount_minor, node, item, channel, order_id, jurisdiction, tax_rate_ppm }
}

pub(super) fn suspense(row: SuspenseRow) -> wire::SuspenseItem {
    let SuspenseRow { id: _, source, reason, description, arrived_time_ms } = row;
    let (feed, seq) = (Some(FeedRef::from(&source.feed)), source.seq);
    wire::SuspenseItem { source: feed, seq, reason, description, arrived_time_ms }
}

pub(super) fn stock(row: StockRow) -> wire::StockValue {
    let StockRow {
        node,
        item,
        grade,
        owner,
        shelf_life_class,
        currency,
        quantity,
        value_minor,
        pending_quantity,
        pending_value_minor,
        unreceived_quantity,
        unreceived_value_minor: _,
        held_quantity,
        held_value_minor,
        set_aside_quantity,
        set_aside_value_minor,
    } = row;
    wire::StockValue {
        node,
        item,
        grade,
        owner,
        quantity,
        value_minor,
        currency_code: currency,
        returns_pending_quantity: pending_quantity,
        returns_pending_value_minor: pending_value_minor,
        unreceived_quantity,
        shelf_life_class,
        held_quantity,
        held_value_minor,
        set_aside_quantity,
        set_aside_value_minor,
    }
}

pub(super) fn cursor((feed, head): (FeedId, Head)) -> wire::FeedCursor {
    wire::FeedCursor { feed: Some(FeedRef::from(&feed)), position: Some(head.to_wire()) }
}

pub(super) fn signed_head(finance_id: &str, signed: SignedHead) -> wire::SignedHead {
    let SignedHead { head, signed_time_ms, public_key, signature } = signed;
    wire::SignedHead {
        finance_id: finance_id.to_owned(),
        number: head.number,
        hash: head.hash.to_string(),
        signed_time_ms,
        public_key: to_hex(&public_key),
        signature: to_hex(&signature),
    }
}
