//! The books as files for tools that are not ours. Written piece by piece from one snapshot: never held whole.

mod beancount;
mod csv;
mod hledger;
mod plain;

use stockmesh_proto::finance::v1::ExportFormat;
use stockmesh_types::{Reason, Reject};

use crate::store::{Reader, StoreError};

/// Largest piece that is handed over.
const PIECE_BYTES: usize = 256 * 1024;
/// Entries read at a time.
const CHUNK: usize = 500;

/// Why an export ends early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The books can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not possible.
    #[error("{0}")]
    Rejected(#[from] Reject),
    /// The file can't be written.
    #[error("the export can't be written: {0}")]
    Io(#[from] std::io::Error),
    /// Whoever asked for it takes no piece.
    #[error("the reader of the export took no piece for {0:?}: the books are not held for it any longer")]
    ReaderTooSlow(std::time::Duration),
    /// Whoever asked for it is gone.
    #[error("the reader of the export is gone")]
    ReaderGone,
}

/// Collects text and hands it over in pieces.
struct Pieces<F> {
    text: String,
    send: F,
}

impl<F: FnMut(Vec<u8>) -> Result<(), ExportError>> Pieces<F> {
    fn new(send: F) -> Self {
        Self { text: String::new(), send }
    }

    fn push(&mut self, text: &str) -> Result<(), ExportError> {
        self.text.push_str(text);
        if self.text.len() >= PIECE_BYTES / 2 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        let text = std::mem::take(&mut self.text).into_bytes();
        text.chunks(PIECE_BYTES).try_for_each(|piece| (self.send)(piece.to_vec()))
    }
}

/// Exports the books of one entity, or of all when it is empty.
///
/// # Errors
/// See [`ExportError`].
pub fn export(
    reader: &Reader,
    format: ExportFormat,
    entity: &str,
    send: impl FnMut(Vec<u8>) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut pieces = Pieces::new(send);
    reader.snapshot(|reader| {
        if !entity.is_empty() && reader.balances(entity)?.is_empty() {
            let message = format!("no entry was posted for legal entity {entity}");
            return Err(Reject::new(Reason::UnknownEntity, message).field("entity").into());
        }
        match format {
            ExportFormat::Beancount => beancount::write(reader, entity, &mut pieces)?,
            ExportFormat::Csv => csv::write(reader, entity, &mut pieces)?,
            ExportFormat::Hledger => hledger::write(reader, entity, &mut pieces)?,
            ExportFormat::Unspecified => {
                let message = "say which format: beancount, hledger or csv";
                return Err(Reject::new(Reason::UnspecifiedEnum, message).field("format").into());
            }
        }
        pieces.flush()
    })
}
