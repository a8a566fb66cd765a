//! The raw feeds as received: written with their effect, read by nodes that were restored and by who recomputes the books.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use stockmesh_finance_core::Settings;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::{ChainHash, FeedId, chain_hash};

use super::read::{Page, Reader, limit};
use super::{Store, StoreError, hash, signed, unsigned};

/// Bytes of one row, unless a single entry has more.
const MAX_CHUNK_BYTES: usize = 1024 * 1024;

/// Consecutive entries of one feed.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Feed.
    pub feed: FeedId,
    /// First of them.
    pub first_seq: u64,
    /// Last of them.
    pub last_seq: u64,
    /// Chain hash up to the last.
    pub hash: ChainHash,
    /// Each body behind its length.
    bodies: Vec<u8>,
}

/// What arrived since the last write, in the order in which it was posted. As large as one batch of the writer.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    chunks: Vec<Chunk>,
}

impl Arrivals {
    /// Adds an entry that was posted; `head` is where its feed stands with it.
    pub fn push(&mut self, feed: &FeedId, head: Head, body: &[u8]) {
        // An entry travels in a message of some MiB at most.
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        let fits = |chunk: &&mut Chunk| {
            chunk.feed == *feed
                && chunk.last_seq + 1 == head.seq
                && chunk.bodies.len() + length.len() + body.len() <= MAX_CHUNK_BYTES
        };
        if let Some(chunk) = self.chunks.last_mut().filter(fits) {
            chunk.bodies.extend_from_slice(&length);
            chunk.bodies.extend_from_slice(body);
            (chunk.last_seq, chunk.hash) = (head.seq, head.hash);
            return;
        }
        let bodies = [length.as_slice(), body].concat();
        let (first_seq, last_seq) = (head.seq, head.seq);
        self.chunks.push(Chunk { feed: feed.clone(), first_seq, last_seq, hash: head.hash, bodies });
    }
}

impl Store {
    /// Writes raw entries, within the batch's transaction.
    pub(super) fn write_arrivals(&mut self, arrivals: &Arrivals, arrived_time_ms: i64) -> Result<(), StoreError> {
        for Chunk { feed, first_seq, last_seq, hash, bodies } in &arrivals.chunks {
            let feed = self.feed_id(feed)?;
            self.last_archive += 1;
            let connection = &self.connection;
            let mut statement = connection.prepare_cached(
                "INSERT INTO archive (id, feed, first_seq, last_seq, hash, arrived_time_ms, bodies) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            let (first, last) = (signed(*first_seq), signed(*last_seq));
            let hash = hash.0.as_slice();
            statement.execute(params![signed(self.last_archive), feed, first, last, hash, arrived_time_ms, bodies])?;
            let mut statement =
                connection.prepare_cached("UPDATE feed SET archived_bytes = archived_bytes + ?2 WHERE id = ?1")?;
            statement.execute(params![feed, body_bytes(bodies.len(), last_seq - first_seq + 1)])?;
        }
        Ok(())
    }

    /// Notes the settings by which facts are posted from here on. Durable when it returns.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn note_settings(&mut self, settings: &Settings) -> Result<(), StoreError> {
        let last: Option<String> = self
            .connection
            .query_row("SELECT settings FROM posting_settings ORDER BY from_archive DESC LIMIT 1", [], |row| row.get(0))
            .optional()?;
        let known = last.map(|text| serde_json::from_str::<Settings>(&text)).transpose()?;
        if known.as_ref() != Some(settings) {
            self.connection.execute(
                "INSERT OR REPLACE INTO posting_settings (from_archive, settings) VALUES (?1, ?2)",
                params![signed(self.last_archive + 1), serde_json::to_string(settings)?],
            )?;
        }
        Ok(())
    }
}

/// Bytes of the bodies in a row.
fn body_bytes(row: usize, entries: u64) -> i64 {
    signed((row as u64).saturating_sub(4 * entries))
}

/// Id of the last row.
pub(super) fn last_id(connection: &Connection) -> Result<u64, StoreError> {
    Ok(unsigned(connection.query_row("SELECT coalesce(max(id), 0) FROM archive", [], |row| row.get(0))?))
}

/// A feed, and how much of it there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedFeed {
    /// Feed.
    pub feed: FeedId,
    /// Where it ends.
    pub head: Head,
    /// Where the archive begins: behind this entry.
    pub base: Head,
    /// Bytes of the archived bodies.
    pub body_bytes: u64,
}

impl ArchivedFeed {
    /// First archived entry; 0: none.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        if self.head.seq > self.base.seq { self.base.seq + 1 } else { 0 }
    }
}

/// Entries of the archive, as the order of arrival has them.
#[derive(Clone, Debug)]
pub struct ArchivedChunk {
    /// Row.
    pub id: u64,
    /// When it arrived, milliseconds since 1970-01-01T00:00:00Z.
    pub arrived_time_ms: i64,
    /// Feed.
    pub feed: FeedId,
    /// First entry.
    pub first_seq: u64,
    /// Chain hash after its last entry, as stored.
    pub hash: ChainHash,
    /// Bodies.
    pub bodies: Vec<Bytes>,
}

const FEED_COLUMNS: &str =
    "participant, destination, epoch, seq, hash, archive_base_seq, archive_base_hash, archived_bytes";

impl Reader {
    /// Feeds after `after`, by participant, destination and epoch; of one participant, or all when it is empty.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn archived_feeds(
        &self,
        after: Option<&FeedId>,
        size: usize,
        participant: &str,
    ) -> Result<Page<ArchivedFeed>, StoreError> {
        let mut statement = self.connection().prepare_cached(&format!(
            "SELECT {FEED_COLUMNS} FROM feed WHERE (participant, destination, epoch) > (?1, ?2, ?3) \
             AND (?4 = '' OR participant = ?4) ORDER BY participant, destination, epoch LIMIT ?5"
        ))?;
        let none = FeedId { participant: String::new(), destination: String::new(), epoch: 0 };
        let FeedId { participant: from, destination, epoch } = after.unwrap_or(&none);
        let mut rows = statement.query(params![from, destination, signed(*epoch), participant, limit(size)])?;
        let mut feeds = Vec::new();
        while let Some(row) = rows.next()? {
            feeds.push(archived_feed(row)?);
        }
        Ok(Page::of(feeds, size))
    }

    /// One feed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn archived_feed(&self, feed: &FeedId) -> Result<Option<ArchivedFeed>, StoreError> {
        let mut statement = self.connection().prepare_cached(&format!(
            "SELECT {FEED_COLUMNS} FROM feed WHERE participant = ?1 AND destination = ?2 AND epoch = ?3"
        ))?;
        let mut rows = statement.query(params![feed.participant, feed.destination, signed(feed.epoch)])?;
        rows.next()?.map(archived_feed).transpose()
    }

    /// Entries of a feed after `after_seq`, which is not before its base: at most `size`, and of at most `max_bytes` together
    /// unless the first has more.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn archived_entries(
        &self,
        archived: &ArchivedFeed,
        after_seq: u64,
        size: usize,
        max_bytes: usize,
    ) -> Result<Vec<FeedEntry>, StoreError> {
        let feed = &archived.feed;
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut next = after_seq + 1;
        while next <= archived.head.seq && entries.len() < size {
            let (chunk, mut previous) = self.chunk_with(archived, next)?;
            for (seq, body) in (chunk.first_seq..).zip(&chunk.bodies) {
                previous = chain_hash(&previous, feed, seq, body);
                if seq < next {
                    continue;
                }
                bytes += body.len();
                if entries.len() == size || (bytes > max_bytes && !entries.is_empty()) {
                    return Ok(entries);
                }
                entries.push(FeedEntry { seq, body: body.clone(), hash: previous.0.to_vec() });
                next = seq + 1;
            }
            if previous != chunk.hash {
                return Err(StoreError::Damaged(format!("archived entries of {feed} do not have their chain's hash")));
            }
        }
        Ok(entries)
    }

    /// The row with an entry, and the chain hash before it.
    fn chunk_with(&self, archived: &ArchivedFeed, seq: u64) -> Result<(ArchivedChunk, ChainHash), StoreError> {
        let feed = &archived.feed;
        let missing = || StoreError::Damaged(format!("entry {seq} of {feed} is not in the archive"));
        let mut statement = self.connection().prepare_cached(
            "SELECT archive.id, arrived_time_ms, participant, destination, epoch, first_seq, archive.hash, bodies \
             FROM archive JOIN feed ON feed.id = archive.feed WHERE archive.feed = \
             (SELECT id FROM feed WHERE participant = ?1 AND destination = ?2 AND epoch = ?3) AND first_seq <= ?4 \
             ORDER BY first_seq DESC LIMIT 2",
        )?;
        let mut rows = statement.query(params![feed.participant, feed.destination, signed(feed.epoch), signed(seq)])?;
        let chunk = chunk_of(rows.next()?.ok_or_else(missing)?)?;
        if seq >= chunk.first_seq + chunk.bodies.len() as u64 {
            return Err(missing());
        }
        let before = match rows.next()? {
            Some(row) => hash(&row.get::<_, Vec<u8>>(6)?)?,
            None => archived.base.hash,
        };
        Ok((chunk, before))
    }

    /// The archive in the order of arrival: the row after `after`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn arrival_after(&self, after: u64) -> Result<Option<ArchivedChunk>, StoreError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT archive.id, arrived_time_ms, participant, destination, epoch, first_seq, archive.hash, bodies \
             FROM archive JOIN feed ON feed.id = archive.feed WHERE archive.id > ?1 ORDER BY archive.id LIMIT 1",
        )?;
        let mut rows = statement.query([signed(after)])?;
        rows.next()?.map(chunk_of).transpose()
    }

    /// Settings by which facts were posted: each from a row of the archive on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn posting_settings(&self) -> Result<Vec<(u64, Settings)>, StoreError> {
        let mut statement =
            self.connection().prepare("SELECT from_archive, settings FROM posting_settings ORDER BY from_archive")?;
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push((unsigned(row.get(0)?), serde_json::from_str(&row.get::<_, String>(1)?)?));
        }
        Ok(all)
    }
}

fn archived_feed(row: &rusqlite::Row<'_>) -> Result<ArchivedFeed, StoreError> {
    let feed = FeedId { participant: row.get(0)?, destination: row.get(1)?, epoch: unsigned(row.get(2)?) };
    let head = Head { seq: unsigned(row.get(3)?), hash: hash(&row.get::<_, Vec<u8>>(4)?)? };
    let base = Head { seq: unsigned(row.get(5)?), hash: hash(&row.get::<_, Vec<u8>>(6)?)? };
    Ok(ArchivedFeed { feed, head, base, body_bytes: unsigned(row.get(7)?) })
}

fn chunk_of(row: &rusqlite::Row<'_>) -> Result<ArchivedChunk, StoreError> {
    let feed = FeedId { participant: row.get(2)?, destination: row.get(3)?, epoch: unsigned(row.get(4)?) };
    let bodies = bodies_of(Bytes::from(row.get::<_, Vec<u8>>(7)?))
        .ok_or_else(|| StoreError::Damaged(format!("archived entries of {feed} are cut off")))?;
    Ok(ArchivedChunk {
        id: unsigned(row.get(0)?),
        arrived_time_ms: row.get(1)?,
        feed,
        first_seq: unsigned(row.get(5)?),
        hash: hash(&row.get::<_, Vec<u8>>(6)?)?,
        bodies,
    })
}

fn bodies_of(mut row: Bytes) -> Option<Vec<Bytes>> {
    let mut bodies = Vec::new();
    while !row.is_empty() {
        let length = row.get(..4).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes)?;
        let length = usize::try_from(length).ok()?;
        let _ = row.split_to(4);
        if row.len() < length {
            return None;
        }
        bodies.push(row.split_to(length));
    }
    Some(bodies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(participant: &str) -> FeedId {
        FeedId { participant: participant.into(), destination: String::new(), epoch: 1 }
    }

    #[test]
    fn a_row_holds_consecutive_entries_of_one_feed_up_to_its_size() {
        let at = |seq| Head { seq, hash: ChainHash([u8::try_from(seq).unwrap(); 32]) };
        let (one, two) = (feed("node/a"), feed("node/b"));
        let half = vec![7; MAX_CHUNK_BYTES / 2];
        let mut arrivals = Arrivals::default();
        for (feed, seq, body) in [
            (&one, 1, b"x".as_slice()),
            (&one, 2, b""),
            (&two, 1, b"y"),
            (&one, 3, b"z"),
            (&one, 4, &half),
            (&one, 5, &half),
            // Another life of the same feed could go on with another number.
            (&one, 9, b"far"),
        ] {
            arrivals.push(feed, at(seq), body);
        }
        let rows: Vec<_> = arrivals
            .chunks
            .iter()
            .map(|chunk| {
                let bodies = bodies_of(Bytes::from(chunk.bodies.clone())).unwrap();
                assert_eq!(chunk.hash, at(chunk.last_seq).hash);
                (chunk.feed.participant.as_str(), chunk.first_seq, chunk.last_seq, bodies.len())
            })
            .collect();
        let expected =
            [("node/a", 1, 2, 2), ("node/b", 1, 1, 1), ("node/a", 3, 4, 2), ("node/a", 5, 5, 1), ("node/a", 9, 9, 1)];
        assert_eq!(rows, expected);
        assert!(bodies_of(Bytes::from_static(&[0, 0, 0, 9, 1])).is_none());
        assert!(bodies_of(Bytes::from_static(&[0, 0])).is_none());
    }
}
