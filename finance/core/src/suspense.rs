//! What a fact in suspense is: the body as received, what of it waits, and for what.
//!
//! Suspense has no bound of its own: a fact that waits is kept until it posts, on disk. Facts that wait for the same partner
//! post together with it, in one batch: a node that worked long before it was registered costs memory for all of its facts
//! once, at its registration.

use crate::journal::Source;

/// What of a fact waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// All of it.
    Whole,
    /// A shipment's revenue; its cost is posted.
    Revenue,
    /// Where returned goods came from: their refund and cost. Their quantity is in the books.
    ReturnOrigin,
    /// The cost of returned goods. Their refund is posted.
    ReturnCost,
    /// What goods are worth that came from elsewhere (a transfer, a conversion, a voided sale). Their quantity is in the books.
    Passage,
    /// Nothing is posted: it says what is missing.
    Note,
}

impl Stage {
    /// Every stage, and the word that stores keep.
    pub const ALL: [(Self, &str); 6] = [
        (Self::Whole, "whole"),
        (Self::Revenue, "revenue"),
        (Self::ReturnOrigin, "return-origin"),
        (Self::ReturnCost, "return-cost"),
        (Self::Passage, "passage"),
        (Self::Note, "note"),
    ];

    /// The word that stores keep.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Reads it back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(stage, _)| *stage)
    }
}

/// A fact, or a part of one, that can't be posted yet, or at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspended {
    /// Number, from 1, in the order of arrival: the order in which facts that wait for the same thing are tried again.
    pub id: u64,
    /// Where it stands.
    pub source: Source,
    /// The encoded EntryBody, as received.
    pub body: Vec<u8>,
    /// What of it waits.
    pub stage: Stage,
    /// Machine-readable: `ORDER_NOT_KNOWN`.
    pub reason: String,
    /// What posts it when it becomes known: `order:O1`. Empty: nothing does; a person must look.
    pub waits_for: String,
    /// For people.
    pub description: String,
    /// When it arrived, milliseconds since 1970-01-01T00:00:00Z.
    pub arrived_time_ms: i64,
}
