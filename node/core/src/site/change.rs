//! Key values of a site: which keys they have, and how they are written.
//!
//! | first byte | rest of the key | value |
//! |---|---|---|
//! | `b` | 1, bin | [`Bin`] |
//! | `b` | 2, condition (1 sellable, 2 quarantined, 3 damaged, 4 return pending, 5 in receiving), stock key, 0, lot, 0, bin | units |
//! | `l` | stock key, 0, lot | [`Lot`] |
//! | `s` | item, 0, serial number | [`Serial`] |
//! | `p` | expected receipt | [`Inbound`] |
//! | `k` | 1, epoch u64, number u64 | [`Count`], while it is open |
//! | `k` | 2, count, line u32 | [`CountLine`], while its count is open |
//! | `k` | 3, count | the closed count as answered; read from the store only |
//! | `x` | epoch u64, number u64 | [`Exception`], while it is open |
//!
//! Numbers are big-endian. A stock key is written as in a cell's key. Labels never hold a 0 byte.
//!
//! Must not know: what a change is for.

use std::fmt;
use std::str::FromStr;

use prost::Message;
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::convert;
use stockmesh_proto::node::v1 as api;
use stockmesh_types::{BusinessDate, ItemId, OrderId, Quantity, Reason, Reject, StockKey};

use super::condition::Condition;
use super::records::{Count, CountLine, Exception, Inbound};
use super::units::{Bin, HoldingKey, Label, Lot, Serial};
use crate::keys::{stock_key_bytes, stock_key_of_bytes};

/// A number that the node gives: epoch of its store, and a number within it. Written as `7-12`, with a letter before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issued {
    /// Epoch.
    pub epoch: u64,
    /// Number.
    pub n: u64,
}

macro_rules! issued_id {
    ($(#[$doc:meta])* $name:ident, $letter:literal, $what:literal, $reason:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub Issued);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}-{}"), self.0.epoch, self.0.n)
            }
        }

        impl FromStr for $name {
            type Err = Reject;
            fn from_str(text: &str) -> Result<Self, Reject> {
                let read = || {
                    let (epoch, n) = text.strip_prefix($letter)?.split_once('-')?;
                    let id = Self(Issued { epoch: epoch.parse().ok()?, n: n.parse().ok()? });
                    // Only the one form that is printed.
                    (id.to_string() == text).then_some(id)
                };
                read().ok_or_else(|| {
                    let shown: String = text.chars().take(60).collect();
                    Reject::new(Reason::$reason, format!(concat!($what, " {:?} is not of the form ", $letter, "1-7"), shown))
                })
            }
        }
    };
}

issued_id!(
    /// An exception.
    ExceptionId, "x", "exception", UnknownException
);
issued_id!(
    /// A count.
    CountId, "c", "count", UnknownCount
);

/// A key of a site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SiteKey {
    /// A bin.
    Bin(Label),
    /// Units of a lot, in a bin, or both.
    Holding(HoldingKey),
    /// A lot.
    Lot(StockKey, Label),
    /// A unit with a serial number.
    Serial(ItemId, Label),
    /// An expected receipt.
    Inbound(OrderId),
    /// An open count.
    Count(CountId),
    /// A line of an open count.
    CountLine(CountId, u32),
    /// A closed count.
    ClosedCount(CountId),
    /// An open exception.
    Exception(ExceptionId),
}

/// A change of a site: a value, or `None` when it is no more.
#[derive(Clone, Debug, PartialEq)]
pub enum SiteChange {
    /// A bin.
    Bin(Label, Option<Bin>),
    /// Units of a lot, in a bin, or both.
    Holding(HoldingKey, Option<Quantity>),
    /// A lot.
    Lot(StockKey, Label, Option<Lot>),
    /// A unit with a serial number.
    Serial(ItemId, Label, Option<Serial>),
    /// An expected receipt.
    Inbound(OrderId, Option<Inbound>),
    /// An open count.
    Count(CountId, Option<Count>),
    /// A line of an open count.
    CountLine(CountId, u32, Option<CountLine>),
    /// A closed count, as answered. It stays in the store only.
    ClosedCount(CountId, api::Count),
    /// An open exception.
    Exception(ExceptionId, Option<Exception>),
}

#[derive(Clone, PartialEq, prost::Message)]
struct BinValue {
    #[prost(string, tag = "1")]
    zone: String,
    #[prost(bool, tag = "2")]
    accessible: bool,
    #[prost(uint32, tag = "3")]
    walk_order: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HoldingValue {
    #[prost(int64, tag = "1")]
    quantity: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LotValue {
    #[prost(sint64, optional, tag = "1")]
    expiry_days: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SerialValue {
    #[prost(message, optional, tag = "1")]
    stock_key: Option<common::StockKey>,
    #[prost(uint32, tag = "2")]
    condition: u32,
    #[prost(string, tag = "3")]
    lot: String,
    #[prost(string, tag = "4")]
    bin: String,
}

fn issued_bytes(first: &[u8], Issued { epoch, n }: Issued) -> Vec<u8> {
    [first, &epoch.to_be_bytes(), &n.to_be_bytes()].concat()
}

fn issued_of(bytes: &[u8]) -> Option<Issued> {
    let (epoch, n) = bytes.split_first_chunk::<8>()?;
    Some(Issued { epoch: u64::from_be_bytes(*epoch), n: u64::from_be_bytes(n.try_into().ok()?) })
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn label(bytes: &[u8]) -> Option<Label> {
    Label::new(text(bytes)?, "label").ok()
}

fn split_last_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = bytes.iter().rposition(|byte| *byte == 0)?;
    Some((&bytes[..zero], &bytes[zero + 1..]))
}

impl SiteKey {
    /// First bytes of a site's keys.
    pub const FIRST_BYTES: [u8; 6] = *b"blspkx";

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Bin(bin) => [b"b\x01", bin.as_str().as_bytes()].concat(),
            Self::Holding(HoldingKey { stock_key, condition, lot, bin }) => {
                let (lot, bin) = (lot.as_str().as_bytes(), bin.as_str().as_bytes());
                [b"b\x02", &[condition.number()][..], &stock_key_bytes(stock_key), &[0], lot, &[0], bin].concat()
            }
            Self::Lot(key, lot) => [b"l", stock_key_bytes(key).as_slice(), &[0], lot.as_str().as_bytes()].concat(),
            Self::Serial(item, serial) => [b"s", item.as_str().as_bytes(), &[0], serial.as_str().as_bytes()].concat(),
            Self::Inbound(id) => [b"p", id.as_str().as_bytes()].concat(),
            Self::Count(CountId(id)) => issued_bytes(b"k\x01", *id),
            Self::CountLine(CountId(id), line) => {
                [issued_bytes(b"k\x02", *id).as_slice(), &line.to_be_bytes()].concat()
            }
            Self::ClosedCount(CountId(id)) => issued_bytes(b"k\x03", *id),
            Self::Exception(ExceptionId(id)) => issued_bytes(b"x", *id),
        }
    }

    /// Reads a key; `None` when it is not one of these.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        Some(match first {
            b'b' => match rest.split_first()? {
                (1, bin) => Self::Bin(label(bin)?),
                (2, rest) => {
                    let (condition, rest) = rest.split_first()?;
                    let (rest, bin) = split_last_zero(rest)?;
                    let (stock_key, lot) = split_last_zero(rest)?;
                    Self::Holding(HoldingKey {
                        stock_key: stock_key_of_bytes(stock_key)?,
                        condition: Condition::from_number(*condition)?,
                        lot: label(lot)?,
                        bin: label(bin)?,
                    })
                }
                _ => return None,
            },
            b'l' => {
                let (key, lot) = split_last_zero(rest)?;
                Self::Lot(stock_key_of_bytes(key)?, label(lot)?)
            }
            b's' => {
                let (item, serial) = split_last_zero(rest)?;
                Self::Serial(ItemId::new(text(item)?).ok()?, label(serial)?)
            }
            b'p' => Self::Inbound(OrderId::new(text(rest)?).ok()?),
            b'k' => match rest.split_first()? {
                (1, id) => Self::Count(CountId(issued_of(id)?)),
                (2, rest) => {
                    let (id, line) = rest.split_last_chunk::<4>()?;
                    Self::CountLine(CountId(issued_of(id)?), u32::from_be_bytes(*line))
                }
                (3, id) => Self::ClosedCount(CountId(issued_of(id)?)),
                _ => return None,
            },
            b'x' => Self::Exception(ExceptionId(issued_of(rest)?)),
            _ => return None,
        })
    }
}

impl SiteChange {
    /// The key.
    #[must_use]
    pub fn key(&self) -> SiteKey {
        match self {
            Self::Bin(bin, _) => SiteKey::Bin(bin.clone()),
            Self::Holding(key, _) => SiteKey::Holding(key.clone()),
            Self::Lot(key, lot, _) => SiteKey::Lot(key.clone(), lot.clone()),
            Self::Serial(item, serial, _) => SiteKey::Serial(item.clone(), serial.clone()),
            Self::Inbound(id, _) => SiteKey::Inbound(id.clone()),
            Self::Count(id, _) => SiteKey::Count(*id),
            Self::CountLine(id, line, _) => SiteKey::CountLine(*id, *line),
            Self::ClosedCount(id, _) => SiteKey::ClosedCount(*id),
            Self::Exception(id, _) => SiteKey::Exception(*id),
        }
    }

    /// The value as the store keeps it; `None` removes the key.
    #[must_use]
    pub fn encode_value(&self) -> Option<Vec<u8>> {
        match self {
            Self::Bin(_, bin) => bin.as_ref().map(|Bin { zone, accessible, walk_order }| {
                BinValue { zone: zone.to_string(), accessible: *accessible, walk_order: *walk_order }.encode_to_vec()
            }),
            Self::Holding(_, quantity) => quantity.map(|quantity| HoldingValue { quantity }.encode_to_vec()),
            Self::Lot(_, _, lot) => lot
                .as_ref()
                .map(|Lot { expiry }| LotValue { expiry_days: expiry.map(BusinessDate::days) }.encode_to_vec()),
            Self::Serial(_, _, serial) => serial.as_ref().map(|Serial { stock_key, condition, lot, bin }| {
                SerialValue {
                    stock_key: Some(stock_key.into()),
                    condition: u32::from(condition.number()),
                    lot: lot.to_string(),
                    bin: bin.to_string(),
                }
                .encode_to_vec()
            }),
            Self::Inbound(_, inbound) => inbound.as_ref().map(Message::encode_to_vec),
            Self::Count(_, count) => count.as_ref().map(Message::encode_to_vec),
            Self::CountLine(_, _, line) => line.as_ref().map(Message::encode_to_vec),
            Self::ClosedCount(_, count) => Some(count.encode_to_vec()),
            Self::Exception(_, exception) => exception.as_ref().map(Message::encode_to_vec),
        }
    }

    /// Reads a key value.
    ///
    /// # Errors
    /// What is wrong with the value, in words.
    pub fn decode(key: &SiteKey, value: &[u8]) -> Result<Self, String> {
        Ok(match key {
            SiteKey::Bin(bin) => {
                let BinValue { zone, accessible, walk_order } = read(value)?;
                let zone = Label::new(&zone, "zone").map_err(words)?;
                Self::Bin(bin.clone(), Some(Bin { zone, accessible, walk_order }))
            }
            SiteKey::Holding(key) => {
                let HoldingValue { quantity } = read(value)?;
                Self::Holding(key.clone(), Some(quantity))
            }
            SiteKey::Lot(key, lot) => {
                let LotValue { expiry_days } = read(value)?;
                let expiry = expiry_days.map(BusinessDate::from_days);
                Self::Lot(key.clone(), lot.clone(), Some(Lot { expiry }))
            }
            SiteKey::Serial(item, serial) => {
                let SerialValue { stock_key, condition, lot, bin } = read(value)?;
                let condition = u8::try_from(condition).ok().and_then(Condition::from_number);
                let record = Serial {
                    stock_key: convert::stock_key(&stock_key, "stock_key").map_err(words)?,
                    condition: condition.ok_or("a condition that is none")?,
                    lot: Label::new(&lot, "lot").map_err(words)?,
                    bin: Label::new(&bin, "bin").map_err(words)?,
                };
                Self::Serial(item.clone(), serial.clone(), Some(record))
            }
            SiteKey::Inbound(id) => Self::Inbound(id.clone(), Some(read(value)?)),
            SiteKey::Count(id) => Self::Count(*id, Some(read(value)?)),
            SiteKey::CountLine(id, line) => Self::CountLine(*id, *line, Some(read(value)?)),
            SiteKey::ClosedCount(id) => Self::ClosedCount(*id, read(value)?),
            SiteKey::Exception(id) => Self::Exception(*id, Some(read(value)?)),
        })
    }
}

fn read<M: Message + Default>(value: &[u8]) -> Result<M, String> {
    M::decode(value).map_err(|error| error.to_string())
}

fn words(reject: Reject) -> String {
    reject.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stock_key() -> impl Strategy<Value = StockKey> {
        ("[A-Za-z0-9][A-Za-z0-9._/-]{0,20}", any::<bool>(), "[A-Za-z0-9-]{0,9}", "[A-Za-z0-9-]{0,9}").prop_map(
            |(item, new, owner, class)| {
                let grade = if new { stockmesh_types::Grade::New } else { stockmesh_types::Grade::Refurbished };
                StockKey::new(ItemId::new(&item).unwrap(), grade, owner, class).unwrap()
            },
        )
    }

    fn a_label() -> impl Strategy<Value = Label> {
        "[!-~]{0,48}".prop_map(|text| Label::new(&text, "label").unwrap())
    }

    fn key() -> impl Strategy<Value = SiteKey> {
        let issued = || (any::<u64>(), any::<u64>()).prop_map(|(epoch, n)| Issued { epoch, n });
        let condition = prop::sample::select(Condition::ALL.to_vec());
        prop_oneof![
            a_label().prop_map(SiteKey::Bin),
            (stock_key(), condition, a_label(), a_label()).prop_map(|(stock_key, condition, lot, bin)| {
                SiteKey::Holding(HoldingKey { stock_key, condition, lot, bin })
            }),
            (stock_key(), a_label()).prop_map(|(key, lot)| SiteKey::Lot(key, lot)),
            (stock_key(), a_label()).prop_map(|(key, serial)| SiteKey::Serial(key.item, serial)),
            stock_key().prop_map(|key| SiteKey::Inbound(OrderId::new(key.item.as_str()).unwrap())),
            issued().prop_map(|id| SiteKey::Count(CountId(id))),
            (issued(), any::<u32>()).prop_map(|(id, line)| SiteKey::CountLine(CountId(id), line)),
            issued().prop_map(|id| SiteKey::ClosedCount(CountId(id))),
            issued().prop_map(|id| SiteKey::Exception(ExceptionId(id))),
        ]
    }

    proptest! {
        #[test]
        fn every_key_survives_its_bytes(key in key()) {
            let bytes = key.encode();
            prop_assert!(SiteKey::FIRST_BYTES.contains(&bytes[0]));
            prop_assert_eq!(SiteKey::decode(&bytes), Some(key));
        }

        #[test]
        fn any_bytes_are_read_or_refused(first in prop::sample::select(SiteKey::FIRST_BYTES.to_vec()),
                                         rest in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = [&[first], rest.as_slice()].concat();
            if let Some(key) = SiteKey::decode(&bytes) {
                prop_assert_eq!(key.encode(), bytes);
            }
        }
    }

    #[test]
    fn issued_ids_have_one_form() {
        assert_eq!("x1-7".parse::<ExceptionId>().unwrap().to_string(), "x1-7");
        for wrong in ["", "x", "x1", "x1-", "x01-7", "c1-7", "x1-7-8", "x-1-7", "x+1-7"] {
            assert_eq!(wrong.parse::<ExceptionId>().unwrap_err().reason, Reason::UnknownException, "{wrong:?}");
        }
        assert_eq!("c1-7".parse::<CountId>().unwrap(), CountId(Issued { epoch: 1, n: 7 }));
    }
}
