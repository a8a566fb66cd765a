//! The work tree as tests see it: which files git tracks, and which packages depend on which.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top folder of the work tree.
///
/// # Panics
/// When this package does not stand one folder below it.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the top folder").to_path_buf()
}

/// Files that git tracks or would track, as paths from the top.
///
/// # Panics
/// When git can't list them: these tests run in a checkout.
#[must_use]
pub fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8(output.stdout).expect("paths are UTF-8");
    listing.lines().filter(|path| root().join(path).exists()).map(str::to_owned).collect()
}

/// Rust sources that git tracks or would track.
#[must_use]
pub fn rust_files() -> Vec<String> {
    files().into_iter().filter(|path| path.ends_with(".rs")).collect()
}

/// Text of a file.
///
/// # Panics
/// When it can't be read.
#[must_use]
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names in a manifest's `[dependencies]`, build and test dependencies left out.
///
/// # Panics
/// When the manifest is no TOML.
#[must_use]
pub fn dependencies(manifest: &str) -> Vec<String> {
    let parsed: toml::Table = read(manifest).parse().unwrap_or_else(|error| panic!("{manifest}: {error}"));
    let table = parsed.get("dependencies").and_then(toml::Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}
