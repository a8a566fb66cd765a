//! CSV (RFC 4180): one posting per row, with every dimension.

use super::{CHUNK, ExportError, Pieces};
use crate::money::decimal;
use crate::store::Reader;

const HEADER: &str = "entry,line,entity,effective_date,posting_date,rule,source,destination,epoch,seq,part,description,\
account,currency,debit,credit,node,item,channel,order,jurisdiction,tax_rate_ppm,hash\r\n";

pub(super) fn write<F: FnMut(Vec<u8>) -> Result<(), ExportError>>(
    reader: &Reader,
    entity: &str,
    pieces: &mut Pieces<F>,
) -> Result<(), ExportError> {
    pieces.push(HEADER)?;
    let mut after = 0;
    loop {
        let page = reader.entries(after, CHUNK, "")?;
        for entry in &page.rows {
            after = entry.number;
            if !entity.is_empty() && entry.entity != entity {
                continue;
            }
            for (line, posting) in entry.postings.iter().enumerate() {
                let amount = decimal(posting.amount_minor.abs(), entry.currency);
                let (debit, credit) =
                    if posting.amount_minor > 0 { (amount, String::new()) } else { (String::new(), amount) };
                let rate = (!posting.jurisdiction.is_empty()).then_some(posting.tax_rate_ppm);
                let row = [
                    entry.number.to_string(),
                    line.to_string(),
                    entry.entity.clone(),
                    entry.effective_date.to_string(),
                    entry.posting_date.to_string(),
                    entry.rule.clone(),
                    entry.source.feed.participant.clone(),
                    entry.source.feed.destination.clone(),
                    entry.source.feed.epoch.to_string(),
                    entry.source.seq.to_string(),
                    entry.part.to_string(),
                    entry.description.clone(),
                    posting.account.clone(),
                    entry.currency.to_string(),
                    debit,
                    credit,
                    posting.node.clone(),
                    posting.item.clone(),
                    posting.channel.clone(),
                    posting.order_id.clone(),
                    posting.jurisdiction.clone(),
                    rate.map(|ppm| ppm.to_string()).unwrap_or_default(),
                    entry.hash.to_string(),
                ];
                pieces.push(&row.map(quoted).join(","))?;
                pieces.push("\r\n")?;
            }
        }
        if !page.more {
            return Ok(());
        }
    }
}

/// A field, in quotes where it must be.
fn quoted(text: String) -> String {
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn fields_are_quoted_as_rfc_4180_says() {
        for (field, written) in [("plain", "plain"), ("a,b", "\"a,b\""), ("say \"x\"", "\"say \"\"x\"\"\""), ("", "")] {
            assert_eq!(quoted(field.to_owned()), written);
        }
    }
}
