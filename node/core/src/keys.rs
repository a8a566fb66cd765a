//! The keys of a node's store, byte by byte. One tree, so that one batch is one atomic commit.
//!
//! | first byte | rest of the key | value |
//! |---|---|---|
//! | `v` | | format version, u32 big-endian |
//! | `m` | | [`Meta`](crate::Meta) |
//! | `h` | | head of the own feed, and the first entry kept (the shell's) |
//! | `i` | item text | [`Item`](crate::Item) |
//! | `c` | item text, 0, grade (1 new, 2 refurbished), owner text, 0, shelf-life class text | [`Cell`](crate::Cell) |
//! | `a` | incarnation u32, log index u64, n u32 | [`Allocation`](crate::Allocation) |
//! | `e` | 1, number u64 | allocation id: the work in the order in which it was taken on |
//! | `e` | 2, order text, 0, number u64 | allocation id: the work of an order |
//! | `e` | 3, number u64 | allocation id: work with units left to ship |
//! | `d` | kind (1 receipt, 2 sale, 3 shipment, 4 return, 50 and on: `DocumentKind::number`), id text | [`Document`](crate::Document) |
//! | `g` `t` `w` | order; pickup; wave u64 | [`outbound`](crate::outbound): holds, pickups, waves |
//! | `q` `y` | date text; 1 refunds paid, 2 counters | [`outbound`](crate::outbound): labour of a day, refunds, counters |
//! | `o` | 1, ABC class text; or 2, then as after `c` | [`SetPolicy`](crate::SetPolicy) |
//! | `r` | UUID, 16 bytes | body hash, 16 bytes, then the answer |
//! | `b` `l` `s` `p` `k` `x` | | those of a site: see [`crate::site::change`] |
//! | `f` | epoch u64, seq u64 | feed entry, as sent |
//! | `u` | participant text, 0, destination text, 0, epoch u64 | cursor in another's feed: seq u64, hash 32 bytes (the shell's) |
//! | `z` | 1, peer text | a consumer that the own feed waits for (the shell's) |
//! | `z` | 2 | where the checkpoint stands in the feed (the shell's) |
//! | `z` | 3, as after `c` | a cell at the checkpoint |
//! | `z` | 4, as after `a` | an allocation that was open at the checkpoint |
//! | `z` | 5 | how far a recovery is (the shell's) |
//!
//! Numbers are big-endian, so that keys sort as their values do. Texts never hold a 0 byte: their alphabets exclude it.
//!
//! Must not know: what an engine does with them.

use stockmesh_types::{AllocationId, FeedId, Grade, Incarnation, ItemId, OrderId, RequestId, StockKey};

use crate::change::DocumentKind;
use crate::outbound::OutboundKey;
use crate::policy::PolicyScope;
use crate::site::SiteKey;

/// A key of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Format version.
    Format,
    /// What the state knows about itself.
    Meta,
    /// Head of the own feed.
    FeedHead,
    /// A ranged item.
    Item(ItemId),
    /// A cell.
    Cell(StockKey),
    /// An allocation.
    Allocation(AllocationId),
    /// An allocation by its number.
    TaskNumber(u64),
    /// An allocation by its order and number.
    TaskOfOrder(OrderId, u64),
    /// An allocation with units left to ship, by its number.
    OpenTask(u64),
    /// A document.
    Document(DocumentKind, OrderId),
    /// A grant policy that the coordinator set.
    Policy(PolicyScope),
    /// An open thing on the way out.
    Outbound(OutboundKey),
    /// A remembered request.
    Request(RequestId),
    /// A site's.
    Site(Box<SiteKey>),
    /// An entry of the own feed.
    FeedEntry {
        /// Epoch.
        epoch: u64,
        /// Sequence number.
        seq: u64,
    },
    /// Cursor in another's feed.
    Cursor(FeedId),
    /// A consumer that the own feed waits for.
    Consumer(String),
    /// Where the checkpoint stands in the feed.
    Checkpoint,
    /// A cell at the checkpoint.
    CheckpointCell(StockKey),
    /// An allocation that was open at the checkpoint.
    CheckpointWork(AllocationId),
    /// How far a recovery is.
    Recovery,
}

impl Key {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Format => vec![b'v'],
            Self::Meta => vec![b'm'],
            Self::FeedHead => vec![b'h'],
            Self::Item(item) => joined(b'i', &[item.as_str().as_bytes()]),
            Self::Cell(key) => joined(b'c', &[&stock_key_bytes(key)]),
            Self::Allocation(id) => joined(b'a', &[&allocation_bytes(*id)]),
            Self::TaskNumber(number) => joined(b'e', &[&[1], &number.to_be_bytes()]),
            Self::TaskOfOrder(order, number) => {
                joined(b'e', &[&[2], order.as_str().as_bytes(), &[0], &number.to_be_bytes()])
            }
            Self::OpenTask(number) => joined(b'e', &[&[3], &number.to_be_bytes()]),
            Self::Document(kind, id) => joined(b'd', &[&[kind.number()], id.as_str().as_bytes()]),
            Self::Policy(PolicyScope::Segment(class)) => joined(b'o', &[&[1], class.as_bytes()]),
            Self::Policy(PolicyScope::Key(key)) => joined(b'o', &[&[2], &stock_key_bytes(key)]),
            Self::Outbound(key) => key.encode(),
            Self::Request(id) => joined(b'r', &[&id.bytes()]),
            Self::Site(key) => key.encode(),
            Self::FeedEntry { epoch, seq } => joined(b'f', &[&epoch.to_be_bytes(), &seq.to_be_bytes()]),
            Self::Cursor(FeedId { participant, destination, epoch }) => {
                joined(b'u', &[participant.as_bytes(), &[0], destination.as_bytes(), &[0], &epoch.to_be_bytes()])
            }
            Self::Consumer(peer) => joined(b'z', &[&[1], peer.as_bytes()]),
            Self::Checkpoint => vec![b'z', 2],
            Self::CheckpointCell(key) => joined(b'z', &[&[3], &stock_key_bytes(key)]),
            Self::CheckpointWork(id) => joined(b'z', &[&[4], &allocation_bytes(*id)]),
            Self::Recovery => vec![b'z', 5],
        }
    }

    /// Reads a key; `None` when it is not one of these.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        Some(match first {
            b'v' if rest.is_empty() => Self::Format,
            b'm' if rest.is_empty() => Self::Meta,
            b'h' if rest.is_empty() => Self::FeedHead,
            b'i' => Self::Item(ItemId::new(text(rest)?).ok()?),
            b'c' => Self::Cell(stock_key_of_bytes(rest)?),
            first if SiteKey::FIRST_BYTES.contains(first) => Self::Site(Box::new(SiteKey::decode(bytes)?)),
            b'a' => Self::Allocation(allocation_id(rest)?),
            b'e' => {
                let (index, rest) = rest.split_first()?;
                let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
                match index {
                    1 => Self::TaskNumber(number(rest)?),
                    2 => {
                        let (order, rest) = until_zero(rest)?;
                        Self::TaskOfOrder(OrderId::new(text(order)?).ok()?, number(rest)?)
                    }
                    3 => Self::OpenTask(number(rest)?),
                    _ => return None,
                }
            }
            b'd' => {
                let (kind, id) = rest.split_first()?;
                Self::Document(DocumentKind::from_number(*kind)?, OrderId::new(text(id)?).ok()?)
            }
            b'o' => {
                let (kind, rest) = rest.split_first()?;
                Self::Policy(match kind {
                    1 => PolicyScope::Segment(text(rest)?.to_owned()),
                    2 => PolicyScope::Key(stock_key_of_bytes(rest)?),
                    _ => return None,
                })
            }
            b'g' | b't' | b'w' | b'q' | b'y' => Self::Outbound(OutboundKey::decode(*first, rest)?),
            b'r' => Self::Request(request_id(rest)?),
            b'f' if rest.len() == 16 => Self::FeedEntry {
                epoch: u64::from_be_bytes(rest[..8].try_into().ok()?),
                seq: u64::from_be_bytes(rest[8..].try_into().ok()?),
            },
            b'u' => {
                let (participant, rest) = until_zero(rest)?;
                let (destination, epoch) = until_zero(rest)?;
                Self::Cursor(FeedId {
                    participant: text(participant)?.to_owned(),
                    destination: text(destination)?.to_owned(),
                    epoch: u64::from_be_bytes(epoch.try_into().ok()?),
                })
            }
            b'z' => {
                let (kind, rest) = rest.split_first()?;
                match kind {
                    1 => Self::Consumer(text(rest)?.to_owned()),
                    2 if rest.is_empty() => Self::Checkpoint,
                    3 => Self::CheckpointCell(stock_key_of_bytes(rest)?),
                    4 => Self::CheckpointWork(allocation_id(rest)?),
                    5 if rest.is_empty() => Self::Recovery,
                    _ => return None,
                }
            }
            _ => return None,
        })
    }
}

/// A stock key within a key: item, 0, grade, owner, 0, shelf-life class.
pub(crate) fn stock_key_bytes(key: &StockKey) -> Vec<u8> {
    let StockKey { item, grade, owner, shelf_life_class } = key;
    let grade = match grade {
        Grade::New => 1,
        Grade::Refurbished => 2,
    };
    [item.as_str().as_bytes(), &[0, grade], owner.as_bytes(), &[0], shelf_life_class.as_bytes()].concat()
}

/// Reads [`stock_key_bytes`].
pub(crate) fn stock_key_of_bytes(bytes: &[u8]) -> Option<StockKey> {
    let (item, rest) = until_zero(bytes)?;
    let (grade, rest) = rest.split_first()?;
    let grade = match grade {
        1 => Grade::New,
        2 => Grade::Refurbished,
        _ => return None,
    };
    let (owner, class) = until_zero(rest)?;
    let item = ItemId::new(text(item)?).ok()?;
    StockKey::new(item, grade, text(owner)?.to_owned(), text(class)?.to_owned()).ok()
}

fn allocation_bytes(AllocationId { incarnation, log_index, n }: AllocationId) -> Vec<u8> {
    [incarnation.0.to_be_bytes().as_slice(), &log_index.to_be_bytes(), &n.to_be_bytes()].concat()
}

fn allocation_id(bytes: &[u8]) -> Option<AllocationId> {
    let (incarnation, rest) = bytes.split_first_chunk::<4>()?;
    let (log_index, n) = rest.split_first_chunk::<8>()?;
    Some(AllocationId {
        incarnation: Incarnation(u32::from_be_bytes(*incarnation)),
        log_index: u64::from_be_bytes(*log_index),
        n: u32::from_be_bytes(n.try_into().ok()?),
    })
}

fn joined(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    bytes.push(first);
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

fn until_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..zero], &bytes[zero + 1..]))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn request_id(bytes: &[u8]) -> Option<RequestId> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    RequestId::new(&format!("{:032x}", u128::from_be_bytes(bytes))).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stock_key() -> impl Strategy<Value = StockKey> {
        ("[A-Za-z0-9][A-Za-z0-9._/-]{0,63}", any::<bool>(), "[A-Za-z0-9-]{0,32}", "[A-Za-z0-9-]{0,32}").prop_map(
            |(item, new, owner, class)| {
                let grade = if new { Grade::New } else { Grade::Refurbished };
                StockKey::new(ItemId::new(&item).unwrap(), grade, owner, class).unwrap()
            },
        )
    }

    fn key() -> impl Strategy<Value = Key> {
        let id = || "[A-Za-z0-9][A-Za-z0-9._/-]{0,63}".prop_map(|text| OrderId::new(&text).unwrap());
        let kinds = prop::sample::select(DocumentKind::ALL.to_vec());
        let feed = ("[a-z]{1,9}/[a-z0-9-]{1,20}", "[a-z/]{0,9}", any::<u64>())
            .prop_map(|(participant, destination, epoch)| FeedId { participant, destination, epoch });
        prop_oneof![
            Just(Key::Format),
            Just(Key::Meta),
            Just(Key::FeedHead),
            stock_key().prop_map(|key| Key::Item(key.item)),
            stock_key().prop_map(Key::Cell),
            (any::<u32>(), any::<u64>(), any::<u32>()).prop_map(|(incarnation, log_index, n)| {
                Key::Allocation(AllocationId { incarnation: Incarnation(incarnation), log_index, n })
            }),
            any::<u64>().prop_map(Key::TaskNumber),
            "[ABC]?".prop_map(|class| Key::Policy(PolicyScope::Segment(class))),
            stock_key().prop_map(|key| Key::Policy(PolicyScope::Key(key))),
            any::<u64>().prop_map(Key::OpenTask),
            (id(), any::<u64>()).prop_map(|(order, number)| Key::TaskOfOrder(order, number)),
            id().prop_map(|id| Key::Outbound(OutboundKey::Hold(id))),
            id().prop_map(|id| Key::Outbound(OutboundKey::Pickup(id))),
            any::<u64>().prop_map(|wave| Key::Outbound(OutboundKey::Wave(wave))),
            (kinds, id()).prop_map(|(kind, id)| Key::Document(kind, id)),
            "[0-9a-f]{12}7[0-9a-f]{3}8[0-9a-f]{15}".prop_map(|hex| Key::Request(RequestId::new(&hex).unwrap())),
            (any::<u64>(), any::<u64>()).prop_map(|(epoch, seq)| Key::FeedEntry { epoch, seq }),
            feed.prop_map(Key::Cursor),
            "[a-z]{1,11}/[a-z0-9-]{1,20}".prop_map(Key::Consumer),
            Just(Key::Checkpoint),
            Just(Key::Recovery),
            stock_key().prop_map(Key::CheckpointCell),
            (any::<u32>(), any::<u64>(), any::<u32>()).prop_map(|(incarnation, log_index, n)| {
                Key::CheckpointWork(AllocationId { incarnation: Incarnation(incarnation), log_index, n })
            }),
        ]
    }

    proptest! {
        #[test]
        fn every_key_survives_its_bytes(key in key()) {
            prop_assert_eq!(Key::decode(&key.encode()), Some(key));
        }

        #[test]
        fn cells_sort_as_their_stock_keys(a in stock_key(), b in stock_key()) {
            prop_assert_eq!(a.cmp(&b), Key::Cell(a).encode().cmp(&Key::Cell(b).encode()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(key) = Key::decode(&bytes) {
                prop_assert_eq!(key.encode(), bytes);
            }
        }
    }

    #[test]
    fn the_layout_is_as_documented() {
        let cell = StockKey::new(ItemId::new("A1").unwrap(), Grade::Refurbished, "own".into(), "x".into()).unwrap();
        assert_eq!(Key::Cell(cell).encode(), b"cA1\0\x02own\0x");
        assert_eq!(Key::FeedEntry { epoch: 1, seq: 258 }.encode(), b"f\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x02");
        assert_eq!(Key::Document(DocumentKind::Shipment, OrderId::new("s-1").unwrap()).encode(), b"d\x03s-1");
    }
}
