//! The bytes of a snapshot: fixed-width big-endian integers, texts and byte strings with their length.
//!
//! No tags and no optional parts: a changed layout is a new version.

use std::sync::Arc;

use stockmesh_proto::entry::Head;
use stockmesh_types::ChainHash;

/// Writes values.
#[derive(Default)]
pub(crate) struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
    pub fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
    pub fn len(&mut self, value: usize) {
        self.u64(value as u64);
    }
    pub fn array(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }
    pub fn slice(&mut self, value: &[u8]) {
        self.len(value.len());
        self.array(value);
    }
    pub fn head(&mut self, head: Head) {
        let Head { seq, hash } = head;
        self.u64(seq);
        self.array(&hash.0);
    }
}

/// Reads what a [`Writer`] wrote; says what is wrong.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

/// What can't be read.
pub(crate) type Wrong = String;

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    fn take(&mut self, length: usize) -> Result<&'a [u8], Wrong> {
        let (head, tail) = self.bytes.split_at_checked(length).ok_or("it ends within a record")?;
        self.bytes = tail;
        Ok(head)
    }
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        self.take(N)?.try_into().map_err(|_| "it ends within a record".to_owned())
    }
    pub fn u8(&mut self) -> Result<u8, Wrong> {
        Ok(self.array::<1>()?[0])
    }
    pub fn flag(&mut self) -> Result<bool, Wrong> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("{other} is no flag")),
        }
    }
    pub fn u32(&mut self) -> Result<u32, Wrong> {
        self.array().map(u32::from_be_bytes)
    }
    pub fn u64(&mut self) -> Result<u64, Wrong> {
        self.array().map(u64::from_be_bytes)
    }
    pub fn i64(&mut self) -> Result<i64, Wrong> {
        self.array().map(i64::from_be_bytes)
    }
    pub fn slice(&mut self) -> Result<&'a [u8], Wrong> {
        let length = usize::try_from(self.u64()?).map_err(|_| "a length is beyond this machine")?;
        self.take(length)
    }
    pub fn text(&mut self) -> Result<&'a str, Wrong> {
        std::str::from_utf8(self.slice()?).map_err(|error| error.to_string())
    }
    pub fn shared_text(&mut self) -> Result<Arc<str>, Wrong> {
        self.text().map(Arc::from)
    }
    pub fn head(&mut self) -> Result<Head, Wrong> {
        Ok(Head { seq: self.u64()?, hash: ChainHash(self.array()?) })
    }
}
