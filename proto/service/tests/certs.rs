//! The development CA: what it writes, what it refuses, and what its command line takes.

use std::os::unix::fs::PermissionsExt;

use clap::Parser;
use stockmesh_service::certs::{CertsArgs, CertsError, DevCa};
use stockmesh_service::{Security, TlsError, TlsFiles};
use stockmesh_types::{Principal, PrincipalKind};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    certs: CertsArgs,
}

fn run(arguments: &[&str]) -> Result<String, CertsError> {
    let cli = Cli::try_parse_from(std::iter::once(&"certs").chain(arguments)).expect("arguments that clap takes");
    let mut out = Vec::new();
    cli.certs.run(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn principals(files: &TlsFiles) -> Vec<String> {
    match Security::load(files, false).unwrap() {
        Security::Mtls(identity) => identity.principals().iter().map(ToString::to_string).collect(),
        Security::InsecureDev => panic!("certificates were given"),
    }
}

#[test]
fn init_makes_a_ca_and_a_certificate_for_each_principal_with_private_keys() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new").join("certs");
    let out_text = out.to_str().unwrap();
    let said = run(&[
        "init",
        "--out",
        out_text,
        "--coordinator",
        "--finance",
        "--node",
        "dc-1",
        "--node",
        "store-1",
        "--user",
        "alice",
        "--host",
        "db.example",
    ])
    .unwrap();
    let ca = DevCa::open(&out).unwrap();
    for (name, principal) in [
        ("coordinator-1", "coordinator/1"),
        ("finance-main", "finance/main"),
        ("node-dc-1", "node/dc-1"),
        ("node-store-1", "node/store-1"),
        ("user-alice", "user/alice"),
    ] {
        assert_eq!(principals(&ca.files_of(name)), [principal]);
        assert!(said.contains(&format!("stockmesh://{principal}, valid until 20")), "{said}");
        let key = out.join(format!("{name}-key.pem"));
        assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::metadata(out.join("ca-key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn issue_puts_several_principals_in_one_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let dir_text = dir.path().to_str().unwrap();
    run(&["init", "--out", dir_text]).unwrap();
    run(&["issue", "--dir", dir_text, "--name", "stores", "--node", "s1", "--node", "s2"]).unwrap();
    assert_eq!(principals(&DevCa::open(dir.path()).unwrap().files_of("stores")), ["node/s1", "node/s2"]);
}

#[test]
fn nothing_is_overwritten_and_wrong_names_make_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir_text = dir.path().to_str().unwrap();
    assert!(matches!(run(&["init", "--out", dir_text, "--user", "a b"]), Err(CertsError::Name(name)) if name == "a b"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(matches!(run(&["issue", "--dir", dir_text, "--name", "x"]), Err(CertsError::NoCa(_))));
    run(&["init", "--out", dir_text, "--user", "alice"]).unwrap();
    let before = std::fs::read(dir.path().join("user-alice.pem")).unwrap();
    assert!(matches!(run(&["init", "--out", dir_text]), Err(CertsError::Exists(_))));
    let again = run(&["issue", "--dir", dir_text, "--name", "user-alice", "--user", "alice"]);
    assert!(matches!(again, Err(CertsError::Exists(_))));
    assert_eq!(std::fs::read(dir.path().join("user-alice.pem")).unwrap(), before);
}

#[test]
fn loading_says_what_is_missing_or_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let ca = DevCa::init(dir.path()).unwrap();
    let alice = Principal { kind: PrincipalKind::User, id: "alice".to_owned() };
    let files = ca.issue("alice", std::slice::from_ref(&alice), &[]).unwrap().files;
    let over = ca.issue_for_days("over", &[alice], &[], -2).unwrap().files;
    let load = |files: &TlsFiles, insecure| Security::load(files, insecure).map(|_| ()).unwrap_err();

    let message = load(&TlsFiles { key: None, ..files.clone() }, false).to_string();
    assert!(message.contains("--tls-key") && message.contains("--insecure-dev"), "{message}");
    assert!(!message.contains("--tls-cert,"), "only what is missing is asked for: {message}");
    assert!(matches!(load(&files, true), TlsError::Both));
    assert!(matches!(load(&over, false), TlsError::Expired { .. }));
    let swapped = TlsFiles { cert: files.key.clone(), ..files.clone() };
    assert!(matches!(load(&swapped, false), TlsError::Malformed { .. }));
    let gone = TlsFiles { ca: Some(dir.path().join("gone.pem")), ..files.clone() };
    assert!(load(&gone, false).to_string().contains("gone.pem"));
    assert!(matches!(Security::load(&TlsFiles::default(), true), Ok(Security::InsecureDev)));
}

#[test]
fn debug_output_holds_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let files = DevCa::init(dir.path()).unwrap().issue("x", &[], &[]).unwrap().files;
    let security = Security::load(&files, false).unwrap();
    assert!(!format!("{security:?}").contains("PRIVATE"));
}
