//! The entries of what is open, as memory and store keep them.
//!
//! Messages of the store's own: fields may be added, numbers are never used again.
//!
//! Must not know: how they change.

use sha2::{Digest, Sha256};
use stockmesh_proto::feed::v1::{PickupLine, WaveLine};

/// Wrong codes after which a pickup needs a new one.
pub const MAX_WRONG_CODES: u32 = 5;
/// Rounds of the hash over a pickup's code: few enough to check one at once, many enough to make a copied store dull work.
const CODE_ROUNDS: u32 = 2_000;

/// Work for an order waits.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Hold {
    /// Why.
    #[prost(string, tag = "1")]
    pub reason: String,
}

/// Work that is picked in one walk.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Wave {
    /// When its parcels must have left.
    #[prost(int64, tag = "1")]
    pub cut_off_time_ms: i64,
    /// What it is made of.
    #[prost(message, repeated, tag = "2")]
    pub lines: Vec<WaveLine>,
}

/// Goods that wait for a customer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pickup {
    /// Order.
    #[prost(string, tag = "1")]
    pub order_id: String,
    /// What was set aside.
    #[prost(message, repeated, tag = "2")]
    pub lines: Vec<PickupLine>,
    /// From when the customer may come.
    #[prost(int64, tag = "3")]
    pub ready_time_ms: i64,
    /// Until when the goods wait.
    #[prost(int64, tag = "4")]
    pub expires_time_ms: i64,
    /// Age that must be proved; 0: none.
    #[prost(uint32, tag = "5")]
    pub minimum_age_years: u32,
    /// Salt of the code's hash.
    #[prost(bytes = "vec", tag = "6")]
    pub salt: Vec<u8>,
    /// Hash of salt and code.
    #[prost(bytes = "vec", tag = "7")]
    pub code_hash: Vec<u8>,
    /// Wrong codes since the last right one.
    #[prost(uint32, tag = "8")]
    pub wrong_codes: u32,
}

impl Pickup {
    /// Takes a code; the code itself is not kept.
    pub fn set_code(&mut self, salt: &[u8], code: &str) {
        self.salt = salt.to_vec();
        self.code_hash = code_hash(salt, code);
        self.wrong_codes = 0;
    }

    /// The code is the one that was set.
    #[must_use]
    pub fn is_code(&self, code: &str) -> bool {
        let given = code_hash(&self.salt, code);
        // Every byte is looked at, so that the time taken says nothing.
        given
            .iter()
            .zip(&self.code_hash)
            .fold(given.len() ^ self.code_hash.len(), |differ, (a, b)| differ | usize::from(a ^ b))
            == 0
    }
}

fn code_hash(salt: &[u8], code: &str) -> Vec<u8> {
    let mut hash = Sha256::new().chain_update(salt).chain_update(code).finalize();
    for _ in 0..CODE_ROUNDS {
        hash = Sha256::new().chain_update(salt).chain_update(hash).finalize();
    }
    hash.to_vec()
}

/// What was refunded without asking.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RefundsPaid {
    /// On this business date; a later one begins at 0.
    #[prost(string, tag = "1")]
    pub date: String,
    /// Minor units of the currency of the node's limit.
    #[prost(int64, tag = "2")]
    pub paid_minor: i64,
}

/// Numbers given out.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Counters {
    /// Waves.
    #[prost(uint64, tag = "1")]
    pub waves: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_code_that_was_set_is_right() {
        let mut pickup = Pickup { wrong_codes: 4, ..Pickup::default() };
        assert!(!pickup.is_code(""), "no code was set");
        pickup.set_code(b"salt", "123456");
        assert_eq!(pickup.wrong_codes, 0);
        for (code, right) in [("123456", true), ("123457", false), ("12345", false), ("", false)] {
            assert_eq!(pickup.is_code(code), right, "{code}");
        }
        let mut other = Pickup::default();
        other.set_code(b"pepper", "123456");
        assert_ne!(pickup.code_hash, other.code_hash);
    }
}
