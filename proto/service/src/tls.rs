//! Security of connections: mutual TLS from files, or none at all on loopback when somebody asks for exactly that.
//!
//! It must not know who may do what: it proves identities, [`crate::principal`] reads them, services judge them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use stockmesh_types::Principal;
use tonic::transport::{Certificate, ClientTlsConfig, ServerTlsConfig};
use x509_parser::pem::Pem;

use crate::principal::principals_of;

/// Days before its end at which a certificate is warned about.
const WARN_DAYS: i64 = 14;

/// Where certificate and key are: flags, environment, or the `[tls]` table of a config file.
#[derive(clap::Args, Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct TlsFiles {
    /// CA certificate that the other side's certificate must come from (PEM)
    #[arg(id = "tls_ca", long = "tls-ca", env = "STOCKMESH_TLS_CA", value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// Own certificate (PEM); its stockmesh:// names say who this is
    #[arg(id = "tls_cert", long = "tls-cert", env = "STOCKMESH_TLS_CERT", value_name = "FILE", global = true)]
    pub cert: Option<PathBuf>,
    /// Private key of the own certificate (PEM)
    #[arg(id = "tls_key", long = "tls-key", env = "STOCKMESH_TLS_KEY", value_name = "FILE", global = true)]
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// What is set here, and from `other` what is not: flags over a config file.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { ca: self.ca.or(other.ca), cert: self.cert.or(other.cert), key: self.key.or(other.key) }
    }
}

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Neither certificates nor `--insecure-dev`.
    #[error(
        "no certificates: give {missing} (or STOCKMESH_TLS_CA, STOCKMESH_TLS_CERT, STOCKMESH_TLS_KEY, or [tls] in the \
         config file); `certs init --out DIR` makes some for development. On loopback, --insecure-dev does without"
    )]
    Missing {
        /// The flags that are missing.
        missing: String,
    },
    /// Both.
    #[error("--insecure-dev and --tls-* exclude each other: leave one out")]
    Both,
    /// A file can't be read.
    #[error("can't read {flag} {path}: {error}")]
    Read {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{what} is no {wanted}: {detail}")]
    Malformed {
        /// Which input.
        what: String,
        /// What was wanted.
        wanted: &'static str,
        /// Why not.
        detail: String,
    },
    /// The own certificate is over.
    #[error("the certificate {what} expired on {date}: issue a new one (`certs issue`) and start again")]
    Expired {
        /// Which.
        what: String,
        /// Last day.
        date: String,
    },
}

/// Certificates in memory. Its `Debug` shows no key.
#[derive(Clone)]
pub struct Identity {
    ca_pem: Vec<u8>,
    cert_pem: Vec<u8>,
    key_pem: Vec<u8>,
    principals: Vec<Principal>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("principals", &self.principals).finish_non_exhaustive()
    }
}

impl Identity {
    /// From PEM bytes. Does not look at the clock: an expired certificate is for the other side to refuse.
    ///
    /// # Errors
    /// [`TlsError::Malformed`] when the CA or the certificate can't be parsed, or the key is no PEM private key.
    pub fn from_pem(ca_pem: Vec<u8>, cert_pem: Vec<u8>, key_pem: Vec<u8>) -> Result<Self, TlsError> {
        first_certificate(&ca_pem, "the CA (--tls-ca)")?;
        let certificate = first_certificate(&cert_pem, "the certificate (--tls-cert)")?;
        let key = first_pem(&key_pem, "the key (--tls-key)")?;
        if !key.label.ends_with("PRIVATE KEY") {
            return Err(TlsError::Malformed {
                what: "the key (--tls-key)".to_owned(),
                wanted: "PEM private key",
                detail: format!("it holds a {}", key.label),
            });
        }
        let principals = principals_of(&certificate.contents);
        Ok(Self { ca_pem, cert_pem, key_pem, principals })
    }

    /// Who this certificate says that we are; empty when it has no `stockmesh://` name.
    #[must_use]
    pub fn principals(&self) -> &[Principal] {
        &self.principals
    }
}

/// How connections are secured, both those that come in and those that go out.
#[derive(Clone, Debug)]
pub enum Security {
    /// Mutual TLS: both sides prove who they are.
    Mtls(Identity),
    /// Plain text, for development on loopback.
    InsecureDev,
}

impl Security {
    /// Reads the files, or accepts `--insecure-dev`.
    ///
    /// # Errors
    /// [`TlsError`], which says what to do.
    pub fn load(files: &TlsFiles, insecure_dev: bool) -> Result<Self, TlsError> {
        let TlsFiles { ca, cert, key } = files;
        match (ca, cert, key, insecure_dev) {
            (None, None, None, true) => Ok(Self::InsecureDev),
            (_, _, _, true) => Err(TlsError::Both),
            (Some(ca), Some(cert), Some(key), false) => {
                let identity =
                    Identity::from_pem(read(ca, "--tls-ca")?, read(cert, "--tls-cert")?, read(key, "--tls-key")?)?;
                check_validity(&identity.cert_pem, cert)?;
                Ok(Self::Mtls(identity))
            }
            (ca, cert, key, false) => {
                let missing: Vec<_> = [("--tls-ca", ca), ("--tls-cert", cert), ("--tls-key", key)]
                    .into_iter()
                    .filter_map(|(flag, file)| file.is_none().then_some(flag))
                    .collect();
                Err(TlsError::Missing { missing: missing.join(", ") })
            }
        }
    }

    /// For a server: client certificates are required, always. `None`: plain text.
    pub(crate) fn server_tls(&self, handshake_timeout: std::time::Duration) -> Option<ServerTlsConfig> {
        match self {
            Self::InsecureDev => None,
            Self::Mtls(identity) => Some(
                ServerTlsConfig::new()
                    .identity(tonic::transport::Identity::from_pem(&identity.cert_pem, &identity.key_pem))
                    .client_ca_root(Certificate::from_pem(&identity.ca_pem))
                    .client_auth_optional(false)
                    .timeout(handshake_timeout),
            ),
        }
    }

    /// For a client.
    pub(crate) fn client_tls(&self) -> Option<ClientTlsConfig> {
        match self {
            Self::InsecureDev => None,
            Self::Mtls(identity) => Some(
                ClientTlsConfig::new()
                    .ca_certificate(Certificate::from_pem(&identity.ca_pem))
                    .identity(tonic::transport::Identity::from_pem(&identity.cert_pem, &identity.key_pem)),
            ),
        }
    }
}

fn read(path: &Path, flag: &'static str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Read { flag, path: path.to_owned(), error })
}

fn first_pem(bytes: &[u8], what: &str) -> Result<Pem, TlsError> {
    let malformed = |detail: String| TlsError::Malformed { what: what.to_owned(), wanted: "PEM file", detail };
    Pem::iter_from_buffer(bytes)
        .next()
        .ok_or_else(|| malformed("it holds no PEM block".to_owned()))?
        .map_err(|error| malformed(error.to_string()))
}

fn first_certificate(bytes: &[u8], what: &str) -> Result<Pem, TlsError> {
    let pem = first_pem(bytes, what)?;
    let parsed = pem.parse_x509().map(|_| ());
    parsed.map_err(|error| TlsError::Malformed {
        what: what.to_owned(),
        wanted: "X.509 certificate",
        detail: error.to_string(),
    })?;
    Ok(pem)
}

fn check_validity(cert_pem: &[u8], path: &Path) -> Result<(), TlsError> {
    let pem = first_certificate(cert_pem, "the certificate (--tls-cert)")?;
    // Parsed once already by `first_certificate`.
    let Ok(certificate) = pem.parse_x509() else { return Ok(()) };
    let not_after = certificate.validity().not_after;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs().cast_signed());
    let days_left = (not_after.timestamp() - now).div_euclid(86_400);
    if days_left < 0 {
        return Err(TlsError::Expired { what: path.display().to_string(), date: not_after.to_string() });
    }
    if days_left < WARN_DAYS {
        tracing::warn!(certificate = %path.display(), days_left, "the certificate expires soon: issue a new one");
    }
    Ok(())
}
