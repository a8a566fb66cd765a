//! Settings of a finance service: a TOML file, which flags override.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use stockmesh_finance_core::Settings;
use stockmesh_finance_core::settings::WHOLE_PPM;
use stockmesh_service::TlsFiles;
use stockmesh_types::{Group, LegalEntity, OrderId, Reason, Reject};

use crate::signing;

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of this service: the coordinator keeps its feed for `finance/<id>`.
    #[serde(default = "main_id")]
    pub id: String,
    /// Where the API listens, and nodes push their feeds to.
    pub listen: SocketAddr,
    /// Folder of the books.
    pub data_dir: PathBuf,
    /// Coordinator group.
    #[serde(default = "first_group")]
    pub group: Group,
    /// Addresses of the coordinator's replicas. None: no link; only nodes' facts arrive.
    #[serde(default)]
    pub coordinator: Vec<String>,
    /// How the books are kept.
    #[serde(default)]
    pub accounting: Accounting,
    /// Certificates.
    #[serde(default)]
    pub tls: TlsFiles,
}

/// How the books are kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounting {
    /// Legal entity that holds customers' deposits on prepaid orders. None: that of the first node that is registered.
    pub deposit_entity: Option<LegalEntity>,
    /// The same for single sales channels.
    pub deposit_entities: BTreeMap<String, LegalEntity>,
    /// Net realisable value of returned goods that are to be sold off, parts per million of their cost: what is above it is
    /// written down when an inspection sets them aside. None: they keep their cost.
    pub liquidation_value_ppm: Option<u32>,
    /// Ed25519 key (PKCS#8) that heads of the journal's chain are signed by; made when it is not there. None:
    /// `head-signing.key` in the data folder.
    pub signing_key: Option<PathBuf>,
}

impl Accounting {
    /// What posting depends on.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            deposit_entity: self.deposit_entity.clone(),
            deposit_entities: self.deposit_entities.clone(),
            liquidation_value_ppm: self.liquidation_value_ppm.unwrap_or(WHOLE_PPM),
        }
    }
}

fn main_id() -> String {
    "main".to_owned()
}

fn first_group() -> Group {
    Group(1)
}

impl Config {
    /// The file of the key that heads are signed by.
    #[must_use]
    pub fn signing_key(&self) -> PathBuf {
        self.accounting.signing_key.clone().unwrap_or_else(|| self.data_dir.join(signing::FILE_NAME))
    }

    /// Checks what the types don't.
    ///
    /// # Errors
    /// A name that can't be, or a group 0.
    pub fn check(&self) -> Result<(), Reject> {
        OrderId::new(&self.id).map_err(|reject| Reject { field: "id".to_owned(), ..reject })?;
        if let Some(ppm) = self.accounting.liquidation_value_ppm.filter(|ppm| *ppm > WHOLE_PPM) {
            let message = format!("liquidation_value_ppm is {ppm}: at most {WHOLE_PPM}, which is the cost");
            return Err(Reject::new(Reason::InvalidValue, message).field("accounting.liquidation_value_ppm"));
        }
        if self.group.0 == 0 {
            return Err(Reject::new(Reason::InvalidValue, "group is 0: groups are numbered from 1").field("group"));
        }
        Ok(())
    }
}
