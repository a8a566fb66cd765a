//! Lines of a text file, plain or gzip, with their numbers. Knows nothing of columns.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::StreamError;

/// The longest line that is taken; a longer one is damage, and read no further into memory than this.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// The lines of a file after its header.
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    header: String,
    number: u64,
}

impl Lines {
    /// Opens a file; gzip is known by its first two bytes, whatever its name.
    ///
    /// # Errors
    /// [`StreamError::Io`].
    pub fn open(path: &Path) -> Result<Self, StreamError> {
        let io = |source| StreamError::Io { path: path.display().to_string(), source };
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(io)?);
        let gzip = reader.fill_buf().map_err(io)?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead> = if gzip {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader)))
        } else {
            Box::new(reader)
        };
        Self::from_reader(path, reader)
    }

    /// Takes over any reader; `path` is for messages only.
    ///
    /// # Errors
    /// [`StreamError::Io`].
    pub fn from_reader(path: &Path, reader: Box<dyn BufRead>) -> Result<Self, StreamError> {
        let mut lines = Self { path: path.to_owned(), reader, header: String::new(), number: 0 };
        let header = lines.next_line()?.map(|(_, text)| text).unwrap_or_default();
        lines.header = header.trim_start_matches('\u{feff}').to_owned();
        Ok(lines)
    }

    /// The first line.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }

    /// The file's name, for the report.
    #[must_use]
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(|| self.path.display().to_string(), |name| name.to_string_lossy().into_owned())
    }

    /// The next line with its number (the header is 1), without its line end. Bytes that are not UTF-8 are read as Latin-1,
    /// as older copies of the UCI file have them.
    ///
    /// # Errors
    /// [`StreamError::Io`]; also for damaged gzip.
    pub fn next_line(&mut self) -> Result<Option<(u64, String)>, StreamError> {
        let io = |source| StreamError::Io { path: self.path.display().to_string(), source };
        let mut bytes = Vec::with_capacity(128);
        let read = self.reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes).map_err(io)?;
        if read == 0 {
            return Ok(None);
        }
        if bytes.len() as u64 == MAX_LINE_BYTES && !bytes.ends_with(b"\n") {
            self.skip_to_line_end()?;
        }
        self.number += 1;
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|not_utf8| not_utf8.into_bytes().into_iter().map(char::from).collect());
        Ok(Some((self.number, text)))
    }

    fn skip_to_line_end(&mut self) -> Result<(), StreamError> {
        loop {
            let io = |source| StreamError::Io { path: self.path.display().to_string(), source };
            let buffer = self.reader.fill_buf().map_err(io)?;
            if buffer.is_empty() {
                return Ok(());
            }
            let (used, done) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), false),
            };
            self.reader.consume(used);
            if done {
                return Ok(());
            }
        }
    }
}
