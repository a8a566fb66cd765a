//! Sums of what is written and read.

use std::io::Write;

use sha2::{Digest, Sha256};

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Passes bytes on, and sums them up.
pub(super) struct Summed<W> {
    inner: W,
    bytes: u64,
    crc32: crc32fast::Hasher,
    sha256: Sha256,
}

impl<W> Summed<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, bytes: 0, crc32: crc32fast::Hasher::new(), sha256: Sha256::new() }
    }

    pub(super) fn finish(self) -> (W, u64, u32, String) {
        (self.inner, self.bytes, self.crc32.finalize(), hex(&self.sha256.finalize()))
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        self.crc32.update(&bytes[..written]);
        self.sha256.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
