//! Identities. Each is a type of its own, so that an order id can't stand where an item is meant.
//!
//! Must not know: where an id comes from. Ids that need randomness or a clock (request ids) are made by shells.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::reject::{Reason, Reject};

/// Which characters an id may have.
#[derive(Clone, Copy)]
struct Alphabet {
    max_length: usize,
    first: fn(char) -> bool,
    rest: fn(char) -> bool,
    words: &'static str,
}

fn lower_letter(c: char) -> bool {
    c.is_ascii_lowercase()
}
fn lower_dash(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}
fn alphanumeric(c: char) -> bool {
    c.is_ascii_alphanumeric()
}
fn business(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/')
}
fn letters_dash(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

const NODE: Alphabet = Alphabet {
    max_length: 63,
    first: lower_letter,
    rest: lower_dash,
    words: "1 to 63 characters of a-z 0-9 -, the first a letter",
};
const BUSINESS: Alphabet = Alphabet {
    max_length: 64,
    first: alphanumeric,
    rest: business,
    words: "1 to 64 characters of A-Z a-z 0-9 . _ - /, the first a letter or digit",
};
const ENTITY: Alphabet = Alphabet {
    max_length: 32,
    first: alphanumeric,
    rest: letters_dash,
    words: "1 to 32 characters of A-Z a-z 0-9 -, the first a letter or digit",
};

fn check(text: &str, alphabet: Alphabet, what: &'static str) -> Result<(), Reject> {
    let mut characters = text.chars();
    let good = text.len() <= alphabet.max_length
        && characters.next().is_some_and(alphabet.first)
        && characters.all(alphabet.rest);
    if good {
        return Ok(());
    }
    if text.is_empty() {
        return Err(Reject::new(Reason::MissingField, format!("{what} is missing")));
    }
    let shown: String = text.chars().take(80).collect();
    Err(Reject::new(Reason::InvalidId, format!("{what} {shown:?} is not {}", alphabet.words)))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $alphabet:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes over a text.
            ///
            /// # Errors
            /// [`Reason::MissingField`] when it is empty, [`Reason::InvalidId`] when it has the wrong length or characters.
            pub fn new(text: &str) -> Result<Self, Reject> {
                check(text, $alphabet, $what)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Reject;
            fn from_str(text: &str) -> Result<Self, Reject> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Reject;
            fn try_from(text: String) -> Result<Self, Reject> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// A node.
    NodeId, NODE, "node"
);
text_id!(
    /// An item (SKU).
    ItemId, BUSINESS, "item"
);
text_id!(
    /// An order; also the form of a node's business ids (receipt, shipment, till document, return).
    OrderId, BUSINESS, "id"
);
text_id!(
    /// An opaque reference to a person or organisation.
    PartyId, BUSINESS, "party reference"
);
text_id!(
    /// A legal entity.
    LegalEntity, ENTITY, "legal entity"
);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// A coordinator group. 1 for a retailer with a single group.
    Group, u32
);
number_id!(
    /// One life of a coordinator group, from 1; a restore from backup begins the next.
    Incarnation, u32
);
number_id!(
    /// One life of a node's store, from 1; a restore or replacement begins the next.
    Epoch, u64
);

/// An order line's claim on one node. Never recurs: it contains the incarnation and the index of its log entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AllocationId {
    /// Incarnation of the group that made it.
    pub incarnation: Incarnation,
    /// Index of the log entry that made it.
    pub log_index: u64,
    /// Number within that entry.
    pub n: u32,
}

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}-{}-{}", self.incarnation, self.log_index, self.n)
    }
}

impl fmt::Debug for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AllocationId {
    type Err = Reject;

    fn from_str(text: &str) -> Result<Self, Reject> {
        let wrong = || {
            let shown: String = text.chars().take(80).collect();
            Reject::new(Reason::InvalidId, format!("allocation {shown:?} is not of the form k1-153-0"))
        };
        let mut parts = text.strip_prefix('k').ok_or_else(wrong)?.split('-');
        let mut next = || parts.next().ok_or_else(wrong);
        let incarnation = Incarnation(next()?.parse().map_err(|_| wrong())?);
        let log_index = next()?.parse().map_err(|_| wrong())?;
        let n = next()?.parse().map_err(|_| wrong())?;
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self { incarnation, log_index, n })
    }
}

/// A request's id: a UUIDv7, whose time tells whether it is too old to be remembered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    /// Reads a UUIDv7.
    ///
    /// # Errors
    /// [`Reason::MissingField`] when it is empty, [`Reason::InvalidRequestId`] when it is no UUID of version 7.
    pub fn new(text: &str) -> Result<Self, Reject> {
        if text.is_empty() {
            return Err(Reject::new(Reason::MissingField, "request_id is missing: send a UUIDv7"));
        }
        let wrong = || {
            let shown: String = text.chars().take(80).collect();
            Reject::new(Reason::InvalidRequestId, format!("request_id {shown:?} is not a UUID of version 7"))
        };
        let id = uuid::Uuid::try_parse(text).map_err(|_| wrong())?;
        if id.get_version_num() == 7 { Ok(Self(id)) } else { Err(wrong()) }
    }

    /// Takes over a UUID that a shell drew.
    #[must_use]
    pub fn from_uuid(id: uuid::Uuid) -> Self {
        Self(id)
    }

    /// The UUID's 16 bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        *self.0.as_bytes()
    }

    /// When it was drawn, milliseconds since 1970-01-01T00:00:00Z, as its maker's clock said.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        let bytes = self.0.as_bytes();
        bytes[..6].iter().fold(0, |ms, byte| (ms << 8) | i64::from(*byte))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_by_their_alphabet() {
        let cases: [(&str, bool, bool); 9] = [
            ("dc-1", true, true),
            ("", false, false),
            ("DC-1", false, true),
            ("1dc", false, true),
            ("-dc", false, false),
            ("85123A", false, true),
            ("a b", false, false),
            ("a/b.c_d", false, true),
            ("\u{e9}t\u{e9}", false, false),
        ];
        for (text, node, item) in cases {
            assert_eq!(NodeId::new(text).is_ok(), node, "node {text:?}");
            assert_eq!(ItemId::new(text).is_ok(), item, "item {text:?}");
        }
        assert_eq!(NodeId::new(&"a".repeat(64)).unwrap_err().reason, Reason::InvalidId);
        assert_eq!(NodeId::new("").unwrap_err().reason, Reason::MissingField);
    }

    #[test]
    fn allocation_ids_survive_text() {
        let id = AllocationId { incarnation: Incarnation(2), log_index: 153, n: 7 };
        assert_eq!(id.to_string(), "k2-153-7");
        assert_eq!("k2-153-7".parse::<AllocationId>().unwrap(), id);
        for wrong in ["", "k", "2-153-7", "k2-153", "k2-153-7-1", "k-1-2-3", "k2-x-7"] {
            assert_eq!(wrong.parse::<AllocationId>().unwrap_err().reason, Reason::InvalidId, "{wrong:?}");
        }
    }

    #[test]
    fn request_ids_are_uuid_v7_and_know_their_time() {
        let id = RequestId::new("017f22e2-79b0-7cc3-98c4-dc0c0c07398f").unwrap();
        assert_eq!(id.time_ms(), 0x017f_22e2_79b0);
        assert_eq!(
            RequestId::new("9b2d8a3e-5f0b-4c1d-8e2f-000000000000").unwrap_err().reason,
            Reason::InvalidRequestId
        );
    }
}
