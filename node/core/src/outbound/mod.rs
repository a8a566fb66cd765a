//! What is open on the way out of a node, beside its allocations: holds, waves, pickups; and what its people and its till may do on
//! a day.
//!
//! In memory: one entry for each held order, wave with units to pick, pickup that waits, and day with a capacity (at most
//! [`CAPACITY_DAYS`]). What is over leaves memory and store; documents stay in the store, as [`crate::change::Document`].
//!
//! Must not know: commands; they change entries, and facts say what they did.

pub mod records;
pub mod rules;
mod tidy;
pub mod views;
mod work;

use std::collections::BTreeMap;
use std::ops::Bound;

use prost::Message;
use stockmesh_proto::feed::v1::CapacityReported;
use stockmesh_types::OrderId;

pub use records::{Counters, Hold, Pickup, RefundsPaid, Wave};
pub use rules::Rules;

/// Days that a capacity is kept for: yesterday, today, 30 ahead, and one that a clock in another zone may add.
pub const CAPACITY_DAYS: usize = 33;

/// The key of an open thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutboundKey {
    /// An order whose work here waits.
    Hold(OrderId),
    /// A wave with units to pick.
    Wave(u64),
    /// A pickup that is not over.
    Pickup(OrderId),
    /// Labour of a day, ISO 8601.
    Capacity(String),
    /// What was refunded on the latest day without asking.
    RefundsPaid,
    /// Numbers given out so far.
    Counters,
}

/// An open thing.
#[derive(Clone, Debug, PartialEq)]
pub enum OutboundValue {
    /// See [`Hold`].
    Hold(Hold),
    /// See [`Wave`].
    Wave(Wave),
    /// See [`Pickup`].
    Pickup(Pickup),
    /// As reported.
    Capacity(CapacityReported),
    /// See [`RefundsPaid`].
    RefundsPaid(RefundsPaid),
    /// See [`Counters`].
    Counters(Counters),
}

impl OutboundKey {
    /// Its bytes in the store, the letter first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (letter, rest): (u8, &[u8]) = match self {
            Self::Hold(order) => (b'g', order.as_str().as_bytes()),
            Self::Wave(number) => (b'w', &number.to_be_bytes()),
            Self::Pickup(id) => (b't', id.as_str().as_bytes()),
            Self::Capacity(date) => (b'q', date.as_bytes()),
            Self::RefundsPaid => (b'y', &[1]),
            Self::Counters => (b'y', &[2]),
        };
        [&[letter], rest].concat()
    }

    /// Reads [`Self::encode`]; `None` for other keys.
    #[must_use]
    pub fn decode(letter: u8, rest: &[u8]) -> Option<Self> {
        let text = || std::str::from_utf8(rest).ok();
        Some(match letter {
            b'g' => Self::Hold(OrderId::new(text()?).ok()?),
            b'w' => Self::Wave(u64::from_be_bytes(rest.try_into().ok()?)),
            b't' => Self::Pickup(OrderId::new(text()?).ok()?),
            b'q' => Self::Capacity(stockmesh_types::BusinessDate::parse(text()?).ok()?.to_string()),
            b'y' if rest == [1] => Self::RefundsPaid,
            b'y' if rest == [2] => Self::Counters,
            _ => return None,
        })
    }
}

impl OutboundValue {
    /// As the store keeps it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hold(value) => value.encode_to_vec(),
            Self::Wave(value) => value.encode_to_vec(),
            Self::Pickup(value) => value.encode_to_vec(),
            Self::Capacity(value) => value.encode_to_vec(),
            Self::RefundsPaid(value) => value.encode_to_vec(),
            Self::Counters(value) => value.encode_to_vec(),
        }
    }

    /// Reads the value of a key.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn decode(key: &OutboundKey, value: &[u8]) -> Result<Self, String> {
        let read = match key {
            OutboundKey::Hold(_) => Hold::decode(value).map(Self::Hold),
            OutboundKey::Wave(_) => Wave::decode(value).map(Self::Wave),
            OutboundKey::Pickup(_) => Pickup::decode(value).map(Self::Pickup),
            OutboundKey::Capacity(_) => CapacityReported::decode(value).map(Self::Capacity),
            OutboundKey::RefundsPaid => RefundsPaid::decode(value).map(Self::RefundsPaid),
            OutboundKey::Counters => Counters::decode(value).map(Self::Counters),
        };
        read.map_err(|error| error.to_string())
    }
}

/// Everything open.
pub type Outbound = BTreeMap<OutboundKey, OutboundValue>;

/// Copies of what a command touches, over what is open.
pub(crate) struct OutboundDraft<'a> {
    open: &'a Outbound,
    changed: BTreeMap<OutboundKey, Option<OutboundValue>>,
}

/// Reads one kind of open thing.
macro_rules! read {
    ($($name:ident($($argument:ident: $type:ty)?) -> $kind:ident: $value:ty;)*) => {
        $(pub(crate) fn $name(&self $(, $argument: $type)?) -> Option<&$value> {
            match self.get(&OutboundKey::$kind $(($argument.clone()))?)? {
                OutboundValue::$kind(value) => Some(value),
                _ => None,
            }
        })*
    };
}

impl<'a> OutboundDraft<'a> {
    pub(crate) fn new(open: &'a Outbound) -> Self {
        Self { open, changed: BTreeMap::new() }
    }

    fn get(&self, key: &OutboundKey) -> Option<&OutboundValue> {
        match self.changed.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.open.get(key),
        }
    }

    read! {
        hold(order: &OrderId) -> Hold: Hold;
        wave(number: &u64) -> Wave: Wave;
        pickup(id: &OrderId) -> Pickup: Pickup;
        refunds_paid() -> RefundsPaid: RefundsPaid;
        counters() -> Counters: Counters;
    }

    pub(crate) fn capacity(&self, date: &str) -> Option<&CapacityReported> {
        match self.get(&OutboundKey::Capacity(date.to_owned()))? {
            OutboundValue::Capacity(value) => Some(value),
            _ => None,
        }
    }

    /// Nothing was changed so far.
    pub(crate) fn is_untouched(&self) -> bool {
        self.changed.is_empty()
    }

    pub(crate) fn put(&mut self, key: OutboundKey, value: OutboundValue) {
        self.changed.insert(key, Some(value));
    }

    pub(crate) fn remove(&mut self, key: OutboundKey) {
        self.changed.insert(key, None);
    }

    /// Days with a capacity, as they were before this command.
    pub(crate) fn capacity_days(&self) -> Vec<String> {
        let from = Bound::Included(OutboundKey::Capacity(String::new()));
        let days = self.open.range((from, Bound::Excluded(OutboundKey::RefundsPaid)));
        days.filter_map(|(key, _)| match key {
            OutboundKey::Capacity(date) => Some(date.clone()),
            _ => None,
        })
        .collect()
    }

    /// Pickups whose time is over, as they were before this command; at most `limit`.
    pub(crate) fn overdue_pickups(&self, now_ms: i64, limit: usize) -> Vec<(OrderId, Pickup)> {
        let overdue = |(key, value): (&OutboundKey, &OutboundValue)| match (key, value) {
            (OutboundKey::Pickup(id), OutboundValue::Pickup(pickup)) if pickup.expires_time_ms <= now_ms => {
                Some((id.clone(), pickup.clone()))
            }
            _ => None,
        };
        self.open.iter().filter_map(overdue).take(limit).collect()
    }

    /// What changed against what was open.
    pub(crate) fn finish(self) -> impl Iterator<Item = (OutboundKey, Option<OutboundValue>)> + use<'a> {
        let open = self.open;
        self.changed.into_iter().filter(move |(key, value)| open.get(key) != value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_value_survives_its_bytes() {
        let id = || OrderId::new("a/b-1").unwrap();
        let cases = [
            (OutboundKey::Hold(id()), OutboundValue::Hold(Hold { reason: "fraud".into() })),
            (OutboundKey::Wave(258), OutboundValue::Wave(Wave { cut_off_time_ms: 5, ..Wave::default() })),
            (OutboundKey::Pickup(id()), OutboundValue::Pickup(Pickup { wrong_codes: 2, ..Pickup::default() })),
            (
                OutboundKey::Capacity("2026-11-21".into()),
                OutboundValue::Capacity(CapacityReported { day_capacity_units: 7, ..CapacityReported::default() }),
            ),
            (
                OutboundKey::RefundsPaid,
                OutboundValue::RefundsPaid(RefundsPaid { date: "2026-11-21".into(), paid_minor: 9 }),
            ),
            (OutboundKey::Counters, OutboundValue::Counters(Counters { waves: 3 })),
        ];
        for (key, value) in cases {
            let bytes = key.encode();
            assert_eq!(OutboundKey::decode(bytes[0], &bytes[1..]), Some(key.clone()));
            assert_eq!(OutboundValue::decode(&key, &value.encode()), Ok(value));
        }
        assert_eq!(OutboundKey::decode(b'w', &[1]), None);
        assert_eq!(OutboundKey::decode(b'q', b"tomorrow"), None);
        assert_eq!(OutboundKey::decode(b'y', &[3]), None);
    }
}
