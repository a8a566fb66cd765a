//! Who may import whom. A core that knows a runtime, a store or a clock is no longer pure; services that know each other
//! can no longer be upgraded one by one.

use std::process::Command;

use stockmesh_tests::tree::{dependencies, files, read, root, rust_files};

const CORES: [&str; 4] = ["proto/types", "node/core", "coordinator/core", "finance/core"];
const IMPURE: [&str; 14] = [
    "tokio",
    "actix",
    "actix-rt",
    "tonic",
    "sled",
    "rusqlite",
    "raft",
    "raft-engine",
    "rand",
    "chrono",
    "jiff",
    "reqwest",
    "hyper",
    "stockmesh-service",
];

#[test]
fn cores_depend_on_nothing_impure() {
    for core in CORES {
        let manifest = format!("{core}/Cargo.toml");
        let impure: Vec<_> =
            dependencies(&manifest).into_iter().filter(|name| IMPURE.contains(&name.as_str())).collect();
        assert!(
            impure.is_empty(),
            "{manifest} depends on {impure:?}. A core takes time, randomness and stored data as arguments and returns \
             what should be written and sent; move what needs {impure:?} to the shell beside it."
        );
        assert!(
            !read(&manifest).contains("\"grpc\""),
            "{manifest} turns on the grpc feature of stockmesh-proto: a core imports the plain messages only."
        );
    }
}

#[test]
fn nothing_impure_comes_in_through_another_dependency() {
    let impure = ["tokio", "actix", "tonic", "h2", "hyper", "mio", "sled", "rusqlite", "raft", "rand"];
    for package in ["stockmesh-types", "stockmesh-node-core", "stockmesh-coordinator-core", "stockmesh-finance-core"] {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let output = Command::new(cargo)
            .args([
                "tree",
                "--locked",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}",
                "--package",
                package,
            ])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
        let listing = String::from_utf8_lossy(&output.stdout);
        let names: Vec<_> = listing.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains(&package), "cargo tree lists {names:?}");
        let found: Vec<_> = names.iter().filter(|name| impure.contains(name)).collect();
        assert!(
            found.is_empty(),
            "{package} pulls in {found:?} through a dependency of its own; `cargo tree --edges normal --package {package} \
             --invert <name>` shows which: turn that feature off, or keep the dependency to the shell."
        );
    }
}

#[test]
fn cores_use_no_clock_randomness_or_hash_map() {
    let banned = [
        ("SystemTime", "take `now` as an argument"),
        ("Instant::now", "take `now` as an argument"),
        ("HashMap", "use BTreeMap or a dense index: iteration order must be the same everywhere"),
        ("HashSet", "use BTreeSet: iteration order must be the same everywhere"),
        ("thread_rng", "take the random number as an argument"),
        ("std::fs", "return what should be written; the shell writes it"),
        ("std::net", "return what should be sent; the shell sends it"),
    ];
    let mut wrong = Vec::new();
    for path in rust_files().iter().filter(|path| CORES.iter().any(|core| path.starts_with(&format!("{core}/src/")))) {
        for (number, line) in read(path).lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            // Tests of a core may read the files that they hold it against.
            let of_a_test = |word: &str| word == "std::fs" && path.contains("/src/tests/");
            for (word, instead) in banned.iter().filter(|(word, _)| line.contains(word) && !of_a_test(word)) {
                wrong.push(format!("{path}:{}: {word}: {instead}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "in a core:\n{}", wrong.join("\n"));
}

#[test]
fn services_meet_only_in_the_contract() {
    let services = ["node", "coordinator", "finance"];
    for manifest in files().iter().filter(|path| path.ends_with("Cargo.toml") && path.as_str() != "Cargo.toml") {
        let names = dependencies(manifest);
        let of = services.iter().find(|service| manifest.starts_with(&format!("{service}/")));
        for name in &names {
            assert!(
                name != "stockmesh-tests" && (name != "stockmesh-sim" || manifest == "tests/Cargo.toml"),
                "{manifest} depends on {name}: nothing imports the simulator or the tests."
            );
            let Some(own) = of else { continue };
            let other = services.iter().find(|service| {
                *service != own
                    && (name == &format!("stockmesh-{service}") || name == &format!("stockmesh-{service}-core"))
            });
            assert!(other.is_none(), "{manifest} depends on {name}: services meet in proto/, never in each other.");
        }
    }
}

#[test]
fn the_contract_knows_no_service() {
    for manifest in ["proto/Cargo.toml", "proto/types/Cargo.toml", "proto/service/Cargo.toml"] {
        let ours: Vec<_> = dependencies(manifest)
            .into_iter()
            .filter(|name| {
                ["stockmesh-node", "stockmesh-coordinator", "stockmesh-finance"].iter().any(|s| name.starts_with(s))
            })
            .collect();
        assert!(ours.is_empty(), "{manifest} depends on {ours:?}: the contract stands below the services.");
    }
}
