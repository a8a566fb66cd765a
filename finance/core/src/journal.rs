//! Journal entries: what the ledger is made of, and the hash chain that shows when one was changed.
//!
//! Append-only. An entry belongs to one legal entity and one currency, and its postings sum to zero, with no tolerance.
//!
//! Must not know: facts, rules, storage.

use sha2::{Digest, Sha256};
use stockmesh_types::{BusinessDate, ChainHash, Currency, FeedId};

/// Where a fact stands: its feed and its number in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Feed.
    pub feed: FeedId,
    /// Sequence number.
    pub seq: u64,
}

/// One line of an entry. Empty text: the line has no such dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posting {
    /// Account.
    pub account: String,
    /// Minor units: positive debit, negative credit. Never 0.
    pub amount_minor: i64,
    /// Node.
    pub node: String,
    /// Item.
    pub item: String,
    /// Sales channel.
    pub channel: String,
    /// Order, or till document.
    pub order_id: String,
    /// Tax jurisdiction: of a tax; of sales, discounts and sales returns where their line has exactly one tax.
    pub jurisdiction: String,
    /// Tax rate, parts per million. Without a jurisdiction 0 means none, with one a rate of zero.
    pub tax_rate_ppm: u32,
}

/// A journal entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number, from 1, gapless.
    pub number: u64,
    /// Legal entity.
    pub entity: String,
    /// Currency of every posting.
    pub currency: Currency,
    /// When it happened.
    pub effective_date: BusinessDate,
    /// Business date of the fact that made it.
    pub posting_date: BusinessDate,
    /// Rule and version: `shipment.revenue/1`.
    pub rule: String,
    /// The fact that made it.
    pub source: Source,
    /// Which of the entries that this rule made of the fact, from 0: source, rule and part together stand once.
    pub part: u32,
    /// For people.
    pub description: String,
    /// At least two, summing to zero.
    pub postings: Vec<Posting>,
    /// Chain hash up to and including this entry.
    pub hash: ChainHash,
}

impl Entry {
    /// Whether debits equal credits.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.postings.iter().map(|posting| i128::from(posting.amount_minor)).sum::<i128>() == 0
    }

    /// The hash that this entry has after `previous`: SHA-256 of the ASCII text `stockmesh-ledger-v2`, the 32 bytes of the
    /// hash before, and then, integers big-endian, texts as UTF-8 behind their length in 4 bytes: number (8 bytes), entity,
    /// currency code, effective date and posting date (days since 1970-01-01, 8 bytes, two's complement), rule, the source's
    /// participant, destination, epoch (8) and seq (8), part (4), description, number of postings (4), and for each posting account,
    /// amount (8, two's complement), node, item, channel, order, jurisdiction, tax rate (4).
    #[must_use]
    pub fn chain_hash(&self, previous: &ChainHash) -> ChainHash {
        let mut hasher = Sha256::new();
        hasher.update(b"stockmesh-ledger-v2");
        hasher.update(previous.0);
        hasher.update(self.number.to_be_bytes());
        text(&mut hasher, &self.entity);
        text(&mut hasher, self.currency.code());
        hasher.update(self.effective_date.days().to_be_bytes());
        hasher.update(self.posting_date.days().to_be_bytes());
        text(&mut hasher, &self.rule);
        text(&mut hasher, &self.source.feed.participant);
        text(&mut hasher, &self.source.feed.destination);
        hasher.update(self.source.feed.epoch.to_be_bytes());
        hasher.update(self.source.seq.to_be_bytes());
        hasher.update(self.part.to_be_bytes());
        text(&mut hasher, &self.description);
        hasher.update(length(self.postings.len()));
        for posting in &self.postings {
            let Posting { account, amount_minor, node, item, channel, order_id, jurisdiction, tax_rate_ppm } = posting;
            text(&mut hasher, account);
            hasher.update(amount_minor.to_be_bytes());
            for dimension in [node, item, channel, order_id, jurisdiction] {
                text(&mut hasher, dimension);
            }
            hasher.update(tax_rate_ppm.to_be_bytes());
        }
        ChainHash(hasher.finalize().into())
    }
}

fn text(hasher: &mut Sha256, text: &str) {
    hasher.update(length(text.len()));
    hasher.update(text.as_bytes());
}

fn length(length: usize) -> [u8; 4] {
    // Texts and posting counts come from facts, which the wire bounds far below 4 GiB.
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// Where the ledger ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerHead {
    /// Number of the last entry; 0: none yet.
    pub number: u64,
    /// Chain hash up to it.
    pub hash: ChainHash,
}

impl LedgerHead {
    /// Before the first entry.
    pub const START: Self = Self { number: 0, hash: ChainHash::START };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let posting = |account: &str, amount_minor| Posting {
            account: account.into(),
            amount_minor,
            item: "A".into(),
            ..Posting::default()
        };
        Entry {
            number: 1,
            entity: "uk".into(),
            currency: Currency::new("GBP").unwrap(),
            effective_date: BusinessDate::parse("2011-01-04").unwrap(),
            posting_date: BusinessDate::parse("2011-01-05").unwrap(),
            rule: "receipt.purchase/1".into(),
            source: Source {
                feed: FeedId { participant: "node/dc-1".into(), destination: String::new(), epoch: 1 },
                seq: 7,
            },
            part: 3,
            description: "Receipt R1".into(),
            postings: vec![posting("Assets:Inventory:Dc-1", 100), posting("Liabilities:Grni", -100)],
            hash: ChainHash::START,
        }
    }

    #[test]
    fn every_part_of_an_entry_is_in_its_hash() {
        let base = entry().chain_hash(&ChainHash::START);
        let changes: [fn(&mut Entry); 14] = [
            |e| e.number = 2,
            |e| e.entity = "us".into(),
            |e| e.currency = Currency::new("EUR").unwrap(),
            |e| e.effective_date = e.posting_date,
            |e| e.posting_date = e.effective_date,
            |e| e.rule = "receipt.purchase/2".into(),
            |e| e.source.seq = 8,
            |e| e.source.feed.epoch = 2,
            |e| e.part = 0,
            |e| e.postings[0].tax_rate_ppm = 200_000,
            |e| e.description.push('.'),
            |e| e.postings[0].amount_minor = 101,
            |e| e.postings[0].node = "dc-1".into(),
            |e| {
                // The same texts in other fields.
                e.postings[0].channel = std::mem::take(&mut e.postings[0].item);
            },
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut other = entry();
            change(&mut other);
            assert_ne!(other.chain_hash(&ChainHash::START), base, "change {n}");
        }
        assert_ne!(entry().chain_hash(&base), base);
    }

    #[test]
    fn the_hash_is_what_any_sha_256_tool_gives() {
        // Recomputed from the documented bytes by a few lines of Python (struct.pack('>…'), hashlib.sha256).
        assert_eq!(entry().chain_hash(&ChainHash::START).to_string(), EXPECTED);
    }

    const EXPECTED: &str = "de4afc9a7ee0ac685674c29cae631c4b53308cfbe4963673ce4618d55a8213e0";
}
