//! One segment of an outbox: an append-only file of feed entries.
//!
//! ```text
//!   header   magic "SMFEED01", base seq (u64), base hash (32), CRC-32 of these (u32)       52 bytes, big-endian
//!   record   length (u32), CRC-32 of the payload (u32), payload: an encoded FeedEntry      repeated
//! ```
//!
//! The base is the position before the first entry: a segment without entries still says where the feed stands.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use prost::Message;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::ChainHash;

use crate::storage::{StorageFault, sync_folder};

const MAGIC: &[u8; 8] = b"SMFEED01";
const HEADER: usize = 52;
const RECORD_HEADER: usize = 8;
/// A longer record is damage: a feed entry has one fact, at most an order of 2,000 lines.
const MAX_RECORD: usize = 8 << 20;
/// Distance of the index's marks in the file: what one mark costs in memory (16 bytes) buys this much disk.
const MARK_EVERY_BYTES: u64 = 64 << 10;
const READ_CHUNK: usize = 256 << 10;

/// One file.
pub(super) struct Segment {
    path: PathBuf,
    pub(super) base: Head,
    pub(super) head: Head,
    pub(super) bytes: u64,
    /// Sparse: sequence number and offset of a record, every [`MARK_EVERY_BYTES`].
    marks: Vec<(u64, u64)>,
}

/// What was found in a file.
pub(super) enum Found {
    /// All of it is good, or its torn tail was cut.
    Segment(Segment),
    /// Not even its header: it was being made.
    Nothing,
}

impl Segment {
    pub(super) fn create(folder: &Path, base: Head) -> Result<Self, StorageFault> {
        let path = folder.join(format!("{:020}.feed", base.seq + 1));
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&base.seq.to_be_bytes());
        header.extend_from_slice(&base.hash.0);
        header.extend_from_slice(&crc32fast::hash(&header).to_be_bytes());
        let mut file = File::create(&path).map_err(StorageFault::io("could not create", &path))?;
        file.write_all(&header).map_err(StorageFault::io("could not write", &path))?;
        Ok(Self { path, base, head: base, bytes: HEADER as u64, marks: Vec::new() })
    }

    /// Reads a file through, and cuts it at the first record that is not whole.
    pub(super) fn open(path: &Path) -> Result<Found, StorageFault> {
        let file = File::open(path).map_err(StorageFault::io("could not open", path))?;
        let length = file.metadata().map_err(StorageFault::io("could not read", path))?.len();
        let mut header = [0; HEADER];
        if length < HEADER as u64 {
            return Ok(Found::Nothing);
        }
        file.read_exact_at(&mut header, 0).map_err(StorageFault::io("could not read", path))?;
        let Some(base) = decode_header(&header) else { return Ok(Found::Nothing) };
        let mut segment = Self { path: path.to_owned(), base, head: base, bytes: HEADER as u64, marks: Vec::new() };
        let mut records = Records::new(&file, HEADER as u64, length);
        while let Some((entry, offset, end)) = records.next().map_err(StorageFault::io("could not read", path))? {
            let Some(hash) = ChainHash::from_bytes(&entry.hash) else { break };
            if entry.seq != segment.head.seq + 1 {
                break;
            }
            segment.mark(entry.seq, offset);
            segment.head = Head { seq: entry.seq, hash };
            segment.bytes = end;
        }
        if segment.bytes < length {
            tracing::info!(file = %path.display(), cut_bytes = length - segment.bytes, "cut the torn tail of an outbox");
            OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|file| file.set_len(segment.bytes).and_then(|()| file.sync_all()))
                .map_err(StorageFault::io("could not cut", path))?;
        }
        Ok(Found::Segment(segment))
    }

    /// Appends entries that follow its head; readable at once, durable after [`Self::sync`].
    pub(super) fn append(&mut self, entries: &[(FeedEntry, Head)]) -> Result<(), StorageFault> {
        let mut buffer = Vec::new();
        let (mut offset, mut head) = (self.bytes, self.head);
        let mut marks = Vec::new();
        for (entry, after) in entries {
            marks.push((entry.seq, offset + buffer.len() as u64));
            put_record(entry, &mut buffer);
            head = *after;
        }
        // Opened for each append: a feed for each of ten thousand nodes must not hold a file each.
        OpenOptions::new()
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(&buffer))
            .map_err(StorageFault::io("could not append to", &self.path))?;
        for (seq, at) in marks {
            self.mark(seq, at);
        }
        offset += buffer.len() as u64;
        (self.bytes, self.head) = (offset, head);
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), StorageFault> {
        File::open(&self.path).and_then(|file| file.sync_data()).map_err(StorageFault::io("could not sync", &self.path))
    }

    pub(super) fn remove(&self) -> Result<(), StorageFault> {
        std::fs::remove_file(&self.path).map_err(StorageFault::io("could not remove", &self.path))
    }

    /// Entries after `after`, until they have `max_bytes`; at least one, if there is one.
    pub(super) fn read(&self, after: u64, max_bytes: usize) -> Result<Vec<FeedEntry>, StorageFault> {
        let from = self.marks.partition_point(|(seq, _)| *seq <= after + 1);
        let offset = from.checked_sub(1).map_or(HEADER as u64, |at| self.marks[at].1);
        let file = File::open(&self.path).map_err(StorageFault::io("could not open", &self.path))?;
        let mut records = Records::new(&file, offset, self.bytes);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some((entry, _, _)) = records.next().map_err(StorageFault::io("could not read", &self.path))? {
            if entry.seq <= after {
                continue;
            }
            bytes += entry.body.len() + entry.hash.len() + 16;
            if bytes > max_bytes && !entries.is_empty() {
                return Ok(entries);
            }
            entries.push(entry);
        }
        let complete = entries.last().is_some_and(|entry| entry.seq == self.head.seq) || after >= self.head.seq;
        if complete {
            return Ok(entries);
        }
        Err(StorageFault::Corrupt(format!("{} was damaged since it was opened", self.path.display())))
    }

    fn mark(&mut self, seq: u64, offset: u64) {
        if self.marks.last().is_none_or(|(_, last)| offset - last >= MARK_EVERY_BYTES) {
            self.marks.push((seq, offset));
        }
    }
}

/// Makes the names of a folder of segments durable.
pub(super) fn sync_names(folder: &Path) -> Result<(), StorageFault> {
    sync_folder(folder)
}

fn decode_header(header: &[u8; HEADER]) -> Option<Head> {
    let (content, crc32) = header.split_at(HEADER - 4);
    if crc32fast::hash(content).to_be_bytes() != *crc32 || content[..8] != *MAGIC {
        return None;
    }
    Some(Head {
        seq: u64::from_be_bytes(content[8..16].try_into().ok()?),
        hash: ChainHash::from_bytes(&content[16..])?,
    })
}

/// Encodes one record.
pub(super) fn put_record(entry: &FeedEntry, buffer: &mut Vec<u8>) {
    let payload = entry.encode_to_vec();
    // An entry is far below 4 GiB: MAX_RECORD is checked where records are read.
    buffer.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    buffer.extend_from_slice(&crc32fast::hash(&payload).to_be_bytes());
    buffer.extend_from_slice(&payload);
}

/// Decodes records of a file, in bounded pieces.
pub(super) struct Records<'a> {
    file: &'a File,
    /// Offset of `buffer[0]` in the file.
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(file: &'a File, at: u64, end: u64) -> Self {
        Self { file, at, end, buffer: Vec::new(), used: 0 }
    }

    /// The next record with its offset and that of its end; `None` at the end, or at what is no whole record.
    pub(super) fn next(&mut self) -> std::io::Result<Option<(FeedEntry, u64, u64)>> {
        if !self.fill(RECORD_HEADER)? {
            return Ok(None);
        }
        let header = &self.buffer[self.used..self.used + RECORD_HEADER];
        let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (length, crc32) = (number(0) as usize, number(4));
        if length > MAX_RECORD || !self.fill(RECORD_HEADER + length)? {
            return Ok(None);
        }
        let payload = &self.buffer[self.used + RECORD_HEADER..self.used + RECORD_HEADER + length];
        if crc32fast::hash(payload) != crc32 {
            return Ok(None);
        }
        let Ok(entry) = FeedEntry::decode(payload) else { return Ok(None) };
        let offset = self.at + self.used as u64;
        self.used += RECORD_HEADER + length;
        Ok(Some((entry, offset, self.at + self.used as u64)))
    }

    /// Makes sure that this many bytes are there after `used`; false when the file ends before.
    fn fill(&mut self, wanted: usize) -> std::io::Result<bool> {
        if self.buffer.len() - self.used >= wanted {
            return Ok(true);
        }
        self.buffer.drain(..self.used);
        self.at += self.used as u64;
        self.used = 0;
        let have = self.buffer.len();
        let left = usize::try_from(self.end.saturating_sub(self.at + have as u64)).unwrap_or(usize::MAX);
        if have + left < wanted {
            return Ok(false);
        }
        let take = left.min(READ_CHUNK.max(wanted - have));
        self.buffer.resize(have + take, 0);
        self.file.read_exact_at(&mut self.buffer[have..], self.at + have as u64)?;
        Ok(true)
    }
}
