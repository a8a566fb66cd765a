//! Style as a failing test, with a message that says what to do.

use std::collections::BTreeSet;

use stockmesh_tests::tree::{files, read, root, rust_files};

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = rust_files().into_iter().filter(|path| !read(path).trim_start().starts_with("//!")).collect();
    assert!(silent.is_empty(), "these start without `//!` (what is it for, what must it not know?): {silent:#?}");
}

#[test]
fn files_stay_readable_in_one_sitting() {
    let long: Vec<_> = rust_files()
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > 600)
        .collect();
    assert!(long.is_empty(), "over 600 lines; split along a seam of the domain: {long:#?}");
}

#[test]
fn nothing_is_unfinished_or_banned() {
    // Put together here, so that this file does not find itself.
    let banned = [
        (["to", "do!("].concat(), "finish it, or refuse with NOT_IN_THIS_RELEASE"),
        (["unimple", "mented!("].concat(), "finish it, or refuse with NOT_IN_THIS_RELEASE"),
        (["FIX", "ME"].concat(), "fix it"),
        (["HA", "CK"].concat(), "do it properly"),
        (
            ["do_", "send("].concat(),
            "it ignores the mailbox's bound and drops silently: use try_send and answer OVERLOADED",
        ),
        (["unbounded_", "channel"].concat(), "every queue is bounded: mpsc::channel(n)"),
        (["dbg", "!("].concat(), "use tracing"),
        (
            ["#[ig", "nore"].concat(),
            "a test that does not run shows nothing; only a measurement, a longer search or a writer of golden files may wait to be called",
        ),
    ];
    let waits = ["a measurement", "a longer search", "writes the golden files"]
        .map(|reason| [["#[ig", "nore = \""].concat().as_str(), reason].concat());
    let mut wrong = Vec::new();
    for path in rust_files() {
        for (number, line) in read(&path).lines().enumerate() {
            let found = banned
                .iter()
                .filter(|(word, _)| line.contains(word.as_str()) && !waits.iter().any(|reason| line.contains(reason)));
            for (word, instead) in found {
                wrong.push(format!("{path}:{}: {word} -> {instead}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_top_folder_is_the_owners_layout() {
    let layout = ["proto", "node", "coordinator", "finance", "sim", "deploy", "tests"];
    let folders: BTreeSet<String> = files()
        .iter()
        .filter_map(|path| path.split_once('/').map(|(top, _)| top.to_owned()))
        .filter(|top| !top.starts_with('.'))
        .collect();
    let extra: Vec<_> = folders.iter().filter(|top| !layout.contains(&top.as_str())).collect();
    assert!(extra.is_empty(), "folders at the top that the layout does not have: {extra:?}");
}

/// `node/src/{lib,main}.rs` as the two paths it stands for.
fn expanded(text: &str) -> Vec<String> {
    match text.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (choices, after))) => {
            choices.split(',').map(|choice| format!("{before}{}{after}", choice.trim())).collect()
        }
        None => vec![text.to_owned()],
    }
}

#[test]
fn documents_name_only_what_is_there() {
    let tops = ["proto", "node", "coordinator", "finance", "sim", "tests", "deploy", ".ci"];
    let files = files();
    let mut gone = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md"] {
        for quoted in read(document).split('`').skip(1).step_by(2).flat_map(expanded) {
            if !quoted.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
                continue;
            }
            let from_top = quoted.contains('/') && tops.contains(&quoted.split('/').next().unwrap_or_default());
            // Feeds and principals (`node/dc-1`, `coordinator/1`) look like paths and are none.
            let is_path =
                from_top && (quoted.ends_with('/') || quoted.contains('.') || quoted.matches('/').count() > 1);
            let is_source = [".rs", ".proto", ".py"].iter().any(|ending| quoted.ends_with(ending));
            let there = root().join(&quoted).exists();
            let ends_a_path = || files.iter().any(|file| *file == quoted || file.ends_with(&format!("/{quoted}")));
            if (is_path && !there) || (is_source && !there && !ends_a_path()) {
                gone.push(format!("{document}: {quoted}"));
            }
        }
    }
    assert!(gone.is_empty(), "they moved or are gone; say where it is now: {gone:#?}");
}

#[test]
fn the_architecture_page_stays_short() {
    let lines = read("ARCHITECTURE.md").lines().count();
    assert!(lines < 500, "ARCHITECTURE.md has {lines} lines; what changes often belongs into module docs");
}

#[test]
fn every_dependency_has_one_version_for_all() {
    let mut wrong = Vec::new();
    for manifest in files().iter().filter(|path| path.ends_with("/Cargo.toml")) {
        let parsed: toml::Table = read(manifest).parse().unwrap_or_else(|error| panic!("{manifest}: {error}"));
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = parsed.get(section).and_then(toml::Value::as_table) else { continue };
            for (name, value) in table {
                let inherits = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                if !inherits {
                    wrong.push(format!("{manifest}: {name}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "put the version into [workspace.dependencies] of the top manifest: {wrong:#?}");
}
