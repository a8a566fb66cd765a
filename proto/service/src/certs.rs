//! The development CA: certificates whose names say which principal holds them.
//!
//! For development, demos and tests. A company that has a CA issues the same shape from there: an X.509 certificate with a URI
//! `stockmesh://<kind>/<id>` for each principal among its subject alternative names, beside the host names.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use stockmesh_types::{Principal, PrincipalKind};

use crate::principal::{from_uri, uri_of};
use crate::tls::TlsFiles;

/// Days that a certificate is valid.
const LEAF_DAYS: i64 = 397;
/// Days that the CA is valid.
const CA_DAYS: i64 = 3650;
/// Hosts that every certificate is for.
const LOCAL_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why certificates can't be made.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A file is there already.
    #[error("{0} exists: nothing was written. Choose another --out, or remove it yourself")]
    Exists(PathBuf),
    /// There is no CA in the folder.
    #[error("{0} is not there: make a CA first (`certs init --out DIR`)")]
    NoCa(PathBuf),
    /// A principal's id has wrong characters.
    #[error("{0:?} can't be a principal's name: letters, digits and . _ - @, at most 64")]
    Name(String),
    /// Reading or writing failed.
    #[error("{path}: {error}")]
    File {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A certificate can't be made.
    #[error("the certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
    /// Standard output is gone.
    #[error("can't print: {0}")]
    Print(std::io::Error),
}

/// What was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Files to give to `--tls-*`.
    pub files: TlsFiles,
    /// Who it is.
    pub principals: Vec<Principal>,
    /// Last day, ISO 8601.
    pub valid_until: String,
}

/// A CA in a folder: `ca.pem`, `ca-key.pem`.
pub struct DevCa {
    dir: PathBuf,
}

impl DevCa {
    /// Makes a CA in `dir`, which is made when it is missing.
    ///
    /// # Errors
    /// [`CertsError::Exists`] when one is there; [`CertsError::File`].
    pub fn init(dir: &Path) -> Result<Self, CertsError> {
        std::fs::create_dir_all(dir).map_err(|error| CertsError::File { path: dir.to_owned(), error })?;
        let ca = Self { dir: dir.to_owned() };
        refuse_existing(&[ca.cert_path(), ca.key_path()])?;
        let mut params = dated(CA_DAYS);
        params.distinguished_name.push(DnType::CommonName, "Stockmesh development CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        write_new(&ca.key_path(), &key.serialize_pem(), 0o600)?;
        write_new(&ca.cert_path(), &certificate.pem(), 0o644)?;
        Ok(ca)
    }

    /// The CA that is in `dir`.
    ///
    /// # Errors
    /// [`CertsError::NoCa`].
    pub fn open(dir: &Path) -> Result<Self, CertsError> {
        let ca = Self { dir: dir.to_owned() };
        for path in [ca.cert_path(), ca.key_path()] {
            if !path.is_file() {
                return Err(CertsError::NoCa(path));
            }
        }
        Ok(ca)
    }

    /// Issues `name.pem` and `name-key.pem` for these principals, on this host and `hosts`.
    ///
    /// # Errors
    /// [`CertsError::Exists`], [`CertsError::Name`], [`CertsError::File`].
    pub fn issue(&self, name: &str, principals: &[Principal], hosts: &[String]) -> Result<Issued, CertsError> {
        self.issue_for_days(name, principals, hosts, LEAF_DAYS)
    }

    /// As [`Self::issue`], valid for `days` from today. With a negative number it is over already, to try what happens then.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub fn issue_for_days(
        &self,
        name: &str,
        principals: &[Principal],
        hosts: &[String],
        days: i64,
    ) -> Result<Issued, CertsError> {
        let (cert_path, key_path) = self.paths_of(name);
        refuse_existing(&[cert_path.clone(), key_path.clone()])?;
        let read = |path: PathBuf| std::fs::read_to_string(&path).map_err(|error| CertsError::File { path, error });
        let issuer = Issuer::from_ca_cert_pem(&read(self.cert_path())?, KeyPair::from_pem(&read(self.key_path())?)?)?;

        let mut all_hosts: Vec<String> = LOCAL_HOSTS.iter().map(|host| (*host).to_owned()).collect();
        all_hosts.extend(hosts.iter().filter(|host| !LOCAL_HOSTS.contains(&host.as_str())).cloned());
        let mut params = dated(days);
        params.subject_alt_names = CertificateParams::new(all_hosts)?.subject_alt_names;
        for principal in principals {
            let uri = uri_of(principal);
            if from_uri(&uri).is_none() {
                return Err(CertsError::Name(principal.id.clone()));
            }
            params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Services dial each other: every certificate serves on both sides.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        write_new(&key_path, &key.serialize_pem(), 0o600)?;
        write_new(&cert_path, &certificate.pem(), 0o644)?;
        Ok(Issued {
            files: TlsFiles { ca: Some(self.cert_path()), cert: Some(cert_path), key: Some(key_path) },
            principals: principals.to_vec(),
            valid_until: last_day(days).to_string(),
        })
    }

    /// The files of a certificate that was issued here under `name`.
    #[must_use]
    pub fn files_of(&self, name: &str) -> TlsFiles {
        let (cert, key) = self.paths_of(name);
        TlsFiles { ca: Some(self.cert_path()), cert: Some(cert), key: Some(key) }
    }

    fn paths_of(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.dir.join(format!("{name}.pem")), self.dir.join(format!("{name}-key.pem")))
    }

    fn cert_path(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn key_path(&self) -> PathBuf {
        self.dir.join("ca-key.pem")
    }
}

fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

fn last_day(days: i64) -> Date {
    today().saturating_add(days.days())
}

/// Valid from yesterday, or the day before its end: clocks differ.
fn dated(days: i64) -> CertificateParams {
    let day = |date: Date| {
        // Month and day of a date are small and positive.
        date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = day(last_day(days.min(0)).saturating_sub(1.days()));
    params.not_after = day(last_day(days));
    params
}

fn refuse_existing(paths: &[PathBuf]) -> Result<(), CertsError> {
    paths.iter().find(|path| path.exists()).map_or(Ok(()), |path| Err(CertsError::Exists(path.clone())))
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| CertsError::File { path: path.to_owned(), error })
}

/// Certificates for development
#[derive(clap::Args, Clone, Debug)]
pub struct CertsArgs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum CertsCommand {
    /// Make a CA in a new folder, and a certificate for each principal named
    ///
    /// Example: certs init --out certs --coordinator --finance --node dc-1 --node store-1 --user alice
    Init {
        /// Folder for ca.pem, ca-key.pem and the certificates
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[command(flatten)]
        principals: PrincipalArgs,
        /// Another host name or address that the certificates are for (localhost, 127.0.0.1 and ::1 always are)
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Issue one certificate for one or several principals (a process that hosts many nodes), from a CA made before
    ///
    /// Example: certs issue --dir certs --name stores --node store-1 --node store-2
    Issue {
        /// Folder with ca.pem and ca-key.pem
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Name of the files: NAME.pem, NAME-key.pem
        #[arg(long)]
        name: String,
        #[command(flatten)]
        principals: PrincipalArgs,
        /// Another host name or address that the certificate is for
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// Days that it is valid
        #[arg(long, default_value_t = LEAF_DAYS, value_parser = clap::value_parser!(i64).range(1..=CA_DAYS))]
        days: i64,
    },
}

#[derive(clap::Args, Clone, Debug, Default)]
struct PrincipalArgs {
    /// A coordinator group's replicas; without a number, group 1
    #[arg(long, value_name = "GROUP", num_args = 0..=1, default_missing_value = "1")]
    coordinator: Vec<String>,
    /// Finance; without a name, `main`
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "main")]
    finance: Vec<String>,
    /// A node (may be repeated, like all of these)
    #[arg(long, value_name = "ID")]
    node: Vec<String>,
    /// A person
    #[arg(long, value_name = "NAME")]
    user: Vec<String>,
    /// An order router, point of sale or other system
    #[arg(long, value_name = "NAME")]
    system: Vec<String>,
}

impl PrincipalArgs {
    fn principals(&self) -> Vec<Principal> {
        let Self { coordinator, finance, node, user, system } = self;
        let kinds = [
            (PrincipalKind::Coordinator, coordinator),
            (PrincipalKind::Finance, finance),
            (PrincipalKind::Node, node),
            (PrincipalKind::User, user),
            (PrincipalKind::System, system),
        ];
        let all =
            kinds.into_iter().flat_map(|(kind, ids)| ids.iter().map(move |id| Principal { kind, id: id.clone() }));
        all.collect()
    }
}

impl CertsArgs {
    /// Does it, and says on `out` what it made.
    ///
    /// # Errors
    /// [`CertsError`].
    pub fn run(&self, out: &mut impl Write) -> Result<(), CertsError> {
        match &self.command {
            CertsCommand::Init { out: dir, principals, hosts } => {
                let principals = principals.principals();
                if let Some(wrong) = principals.iter().find(|principal| from_uri(&uri_of(principal)).is_none()) {
                    return Err(CertsError::Name(wrong.id.clone()));
                }
                let ca = DevCa::init(dir)?;
                let until = last_day(CA_DAYS);
                say(out, &format!("{}  development CA, valid until {until}", ca.cert_path().display()))?;
                for principal in principals {
                    let issued = ca.issue(&name_of(&principal), std::slice::from_ref(&principal), hosts)?;
                    say_issued(out, &issued)?;
                }
                say(out, "Keep ca-key.pem to yourself: who has it can be anybody.")
            }
            CertsCommand::Issue { dir, name, principals, hosts, days } => {
                let issued = DevCa::open(dir)?.issue_for_days(name, &principals.principals(), hosts, *days)?;
                say_issued(out, &issued)
            }
        }
    }
}

/// Name of the files of a principal's certificate: `node-dc-1`, `coordinator-1`, `user-alice`.
#[must_use]
pub fn name_of(principal: &Principal) -> String {
    format!("{}-{}", principal.kind.word(), principal.id)
}

fn say_issued(out: &mut impl Write, issued: &Issued) -> Result<(), CertsError> {
    let show = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let names: Vec<_> = issued.principals.iter().map(uri_of).collect();
    say(
        out,
        &format!(
            "{} {}  {}, valid until {}",
            show(&issued.files.cert),
            show(&issued.files.key),
            names.join(" "),
            issued.valid_until
        ),
    )
}

fn say(out: &mut impl Write, line: &str) -> Result<(), CertsError> {
    writeln!(out, "{line}").map_err(CertsError::Print)
}
