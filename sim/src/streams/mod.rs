//! Streams of orders: read from the files of real retailers, or generated in their shape.
//!
//! A stream is a pure value: what customers bought, in the order in which they bought it, priced and taxed, with everything
//! that was left out of the file counted by class and every assumption written down. It knows nothing of the network that it
//! will be played against: no nodes' stock, no clients, no clock.
//!
//! ```text
//!   file.rs  a path or .gz -> lines          uci.rs, uci_returns.rs      UCI Online Retail
//!   row.rs   lines -> fields by column       complete_journey.rs         Complete Journey
//!   tax.rs, places.rs, amount.rs, items.rs   generate.rs                 generated, seeded
//!                                   \-> model.rs: Stream
//! ```

pub mod amount;
pub mod complete_journey;
pub mod file;
pub mod generate;
pub mod items;
pub mod left_out;
pub mod model;
pub mod places;
pub mod row;
pub mod tax;
pub mod uci;
pub mod uci_returns;

use std::path::Path;

pub use left_out::{LeftOut, LeftOutReason};
pub use model::{Counter, Event, Stream, StreamOrder, StreamReturn, Totals};

/// Why a stream can't be read at all. What is wrong with single lines is counted in [`LeftOut`] instead.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The file can't be opened or read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// File.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The first line is no header of a stream that is known.
    #[error(
        "{path} is no order stream that this program knows.\n  It begins with: {found}\n  Expected, as CSV or .csv.gz, one of:\n    UCI Online Retail: {}\n    Complete Journey:  {}",
        uci::COLUMNS.join(","),
        complete_journey::COLUMNS.join(",")
    )]
    UnknownFormat {
        /// File.
        path: String,
        /// Its first line, shortened.
        found: String,
    },
    /// Nothing in it can be sold.
    #[error("{path} has no order that can be replayed: {lines} lines were read, all of them left out\n{why}")]
    Empty {
        /// File.
        path: String,
        /// Data lines read.
        lines: u64,
        /// The classes left out.
        why: String,
    },
}

/// How much of a file to take, and how to use it.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// Stop at the line that begins sale invoice (basket) number `limit + 1`; `None`: the whole file.
    pub limit: Option<usize>,
    /// Complete Journey: the largest stores by lines that become nodes.
    pub stores: usize,
    /// Seed of every draw.
    pub seed: u64,
}

/// Reads either of the real streams; which one it is shows in its header.
///
/// # Errors
/// See [`StreamError`].
pub fn read(path: &Path, options: ReadOptions) -> Result<Stream, StreamError> {
    let lines = file::Lines::open(path)?;
    let header = lines.header().to_owned();
    let stream = if row::Columns::find(&header, &uci::COLUMN_NAMES).is_ok() {
        uci::read(lines, options)?
    } else if row::Columns::find(&header, &complete_journey::COLUMN_NAMES).is_ok() {
        complete_journey::read(lines, options)?
    } else {
        let found: String = header.chars().take(160).collect();
        return Err(StreamError::UnknownFormat { path: path.display().to_string(), found });
    };
    if stream.totals().lines == 0 {
        let why = stream.left_out.sentences().join("\n");
        return Err(StreamError::Empty { path: path.display().to_string(), lines: stream.lines_read, why });
    }
    Ok(stream)
}

/// A stable 64-bit hash of a text (FNV-1a with a final mix): the same place for the same customer on every machine.
#[must_use]
pub fn stable_hash(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}
