//! Config files: TOML, read whole, refused with the line at fault.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a config file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("can't read the config file {path}: {error}")]
    Read {
        /// File.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is not what it should be: no TOML, an unknown or missing key, a value of another type.
    #[error("the config file {path} is wrong: {error}")]
    Parse {
        /// File.
        path: PathBuf,
        /// The parser's message, with line and column.
        error: Box<toml::de::Error>,
    },
}

/// Reads a TOML file. Give `T` `#[serde(deny_unknown_fields)]`: a misspelled key must not be silently without effect.
///
/// # Errors
/// [`ConfigError`], with the file, and the line where the content is at fault.
pub fn load_toml<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
    toml::from_str(&text).map_err(|error| ConfigError::Parse { path: path.to_owned(), error: Box::new(error) })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::tls::TlsFiles;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        listen: String,
        group: u32,
        #[serde(default)]
        tls: TlsFiles,
    }

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        load_toml(&path)
    }

    #[test]
    fn a_good_file() {
        let config = load("listen = \"127.0.0.1:7201\"\ngroup = 1\n[tls]\nca = \"ca.pem\"\n").unwrap();
        assert_eq!((config.listen.as_str(), config.group), ("127.0.0.1:7201", 1));
        assert_eq!(config.tls.ca, Some(PathBuf::from("ca.pem")));
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_line() {
        let cases = [
            ("listen = \"a\"\ngroup = 1\nlisten_on = 2\n", vec!["line 3", "listen_on", "unknown field"]),
            ("listen = \"a\"\ngroup = \"one\"\n", vec!["line 2", "group"]),
            ("listen = \"a\"\n", vec!["missing field", "group"]),
            ("listen = \n", vec!["line 1"]),
            ("listen = \"a\"\ngroup = 1\n[tls]\ncert_file = \"x\"\n", vec!["line 4", "cert_file"]),
        ];
        for (text, wanted) in cases {
            let message = load(text).unwrap_err().to_string();
            for part in wanted.iter().chain(&["node.toml"]) {
                assert!(message.contains(part), "{message:?} should say {part:?}");
            }
        }
        let message = load_toml::<Config>(Path::new("/nowhere/at/all.toml")).unwrap_err().to_string();
        assert!(message.contains("/nowhere/at/all.toml"), "{message}");
    }
}
