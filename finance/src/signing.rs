//! The key of this service, and what it signs: heads of the journal's chain.
//!
//! Whoever owns the file of books could write it anew, with a chain that is right in itself. A signed head that somebody else
//! keeps (an auditor, a mail archive) shows it: `verify --heads FILE` compares.
//!
//! Must not know: SQLite, gRPC.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use stockmesh_finance_core::LedgerHead;

use crate::store::SignedHead;

/// Name of the key's file in the data folder.
pub const FILE_NAME: &str = "head-signing.key";

/// Why heads can't be signed: the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The key's file.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Not a key.
    #[error("{0} is not an Ed25519 key in PKCS#8: give the right file, or move this one away for a new key")]
    NotAKey(PathBuf),
    /// The system gave no randomness.
    #[error("no key can be made: the system gives no randomness")]
    NoRandomness,
}

/// Signs heads.
pub struct Signer {
    finance_id: String,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// Reads the key, or makes one that only this user may read.
    ///
    /// # Errors
    /// See [`SigningError`].
    pub fn open(path: &Path, finance_id: &str) -> Result<Self, SigningError> {
        let io = |error| SigningError::Io { path: path.to_owned(), error };
        let key = match std::fs::read(path) {
            Ok(key) => key,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made =
                    Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SigningError::NoRandomness)?;
                write_new(path, made.as_ref()).map_err(io)?;
                tracing::info!(path = %path.display(), "a key for signed heads was made: keep a copy apart from the books");
                made.as_ref().to_vec()
            }
            Err(error) => return Err(io(error)),
        };
        let pair = Ed25519KeyPair::from_pkcs8(&key).map_err(|_| SigningError::NotAKey(path.to_owned()))?;
        Ok(Self { finance_id: finance_id.to_owned(), pair })
    }

    /// Signs a head.
    #[must_use]
    pub fn sign(&self, head: LedgerHead, signed_time_ms: i64) -> SignedHead {
        let signature = self.pair.sign(&bytes(&self.finance_id, head, signed_time_ms));
        SignedHead {
            head,
            signed_time_ms,
            public_key: self.pair.public_key().as_ref().to_vec(),
            signature: signature.as_ref().to_vec(),
        }
    }
}

/// Complete under its name, or not there.
fn write_new(path: &Path, key: &[u8]) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(key)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

/// Whether the signature is that of its own public key, for this finance service.
#[must_use]
pub fn is_signed(finance_id: &str, signed_head: &SignedHead) -> bool {
    let SignedHead { head, signed_time_ms, public_key, signature } = signed_head;
    let key = UnparsedPublicKey::new(&ED25519, public_key);
    key.verify(&bytes(finance_id, *head, *signed_time_ms), signature).is_ok()
}

/// What is signed: see `SignedHead` in `stockmesh/finance/v1/heads.proto`.
fn bytes(finance_id: &str, head: LedgerHead, signed_time_ms: i64) -> Vec<u8> {
    // Ids have 64 characters at most.
    let length = u32::try_from(finance_id.len()).unwrap_or(u32::MAX).to_be_bytes();
    let (number, time) = (head.number.to_be_bytes(), signed_time_ms.to_be_bytes());
    [b"stockmesh-head-v1".as_slice(), &length, finance_id.as_bytes(), &number, &head.hash.0, &time].concat()
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads hexadecimal digits; `None` for anything else.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use stockmesh_types::ChainHash;

    use super::*;

    #[test]
    fn a_head_is_signed_by_the_same_key_after_a_restart_and_every_part_of_it_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let head = LedgerHead { number: 7, hash: ChainHash([9; 32]) };
        let one = Signer::open(&path, "main").unwrap().sign(head, 1_000);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Ed25519 is deterministic: the same key gives the same signature.
        assert_eq!(Signer::open(&path, "main").unwrap().sign(head, 1_000), one);
        assert!(is_signed("main", &one));
        let changes: [fn(&mut SignedHead); 5] = [
            |one| one.head.number += 1,
            |one| one.head.hash.0[31] ^= 1,
            |one| one.signed_time_ms += 1,
            |one| one.public_key[0] ^= 1,
            |one| one.signature[0] ^= 1,
        ];
        assert!(!is_signed("other", &one));
        for (n, change) in changes.iter().enumerate() {
            let mut other = one.clone();
            change(&mut other);
            assert!(!is_signed("main", &other), "change {n}");
        }
        let other_key = Signer::open(&dir.path().join("other"), "main").unwrap().sign(head, 1_000);
        assert!(is_signed("main", &other_key) && other_key.public_key != one.public_key);
        std::fs::write(&path, b"no key").unwrap();
        assert!(matches!(Signer::open(&path, "main"), Err(SigningError::NotAKey(_))));
    }

    #[test]
    fn hexadecimal_comes_back() {
        assert_eq!(from_hex(&to_hex(&[0, 15, 255])), Some(vec![0, 15, 255]));
        for wrong in ["0", "zz", "+1", "é1"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
