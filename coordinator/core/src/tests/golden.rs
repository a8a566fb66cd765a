//! Logs and snapshots of past formats: what a release wrote, every later one reads, to the same state.
//!
//! `golden/format-N.log` holds log entries (index u64, length u32, bytes; big-endian) as a leader of that release wrote them;
//! `golden/format-N.snapshot` the chunks of the state half-way (name length u32, name, version u32, checksum, length u32,
//! bytes); `golden/format-N.digests` the state's digest half-way and at the end, in hexadecimal, and the half-way index.
//! They are never written again. A change of what `apply` does that shows here must be decided by logged input: by the
//! entry's feature level, or by a command of its own.

use std::path::PathBuf;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use prost::Message;
use stockmesh_proto::raft::v1::LogEntry;

use super::audit::audit;
use super::network::{Network, step};
use crate::{SnapshotChunk, State};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden").join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (head, tail) = bytes.split_at(length);
    *bytes = tail;
    head
}

fn number(bytes: &mut &[u8]) -> usize {
    u32::from_be_bytes(take(bytes, 4).try_into().unwrap()) as usize
}

fn read_log(name: &str) -> Vec<(u64, LogEntry)> {
    let file = std::fs::read(path(name)).unwrap();
    let mut bytes = file.as_slice();
    let mut log = Vec::new();
    while !bytes.is_empty() {
        let index = u64::from_be_bytes(take(&mut bytes, 8).try_into().unwrap());
        let length = number(&mut bytes);
        log.push((index, LogEntry::decode(take(&mut bytes, length)).unwrap()));
    }
    log
}

fn read_snapshot(name: &str) -> Vec<SnapshotChunk> {
    let file = std::fs::read(path(name)).unwrap();
    let mut bytes = file.as_slice();
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let length = number(&mut bytes);
        let name = String::from_utf8(take(&mut bytes, length).to_vec()).unwrap();
        let version = u32::try_from(number(&mut bytes)).unwrap();
        let checksum = take(&mut bytes, 32).try_into().unwrap();
        let length = number(&mut bytes);
        chunks.push(SnapshotChunk { name, version, checksum, bytes: take(&mut bytes, length).to_vec().into() });
    }
    chunks
}

#[test]
fn what_format_1_wrote_is_read_to_the_same_state() {
    let log = read_log("format-1.log");
    let digests = std::fs::read_to_string(path("format-1.digests")).unwrap();
    let [half_digest, end_digest, half] = digests.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("three words")
    };
    let half: u64 = half.parse().unwrap();
    let mut state = State::new();
    for (index, entry) in &log {
        state.apply(*index, entry).unwrap();
        if *index == half {
            assert_eq!(hex(&state.digest()), half_digest, "up to {half}");
        }
    }
    audit(&state);
    assert_eq!(hex(&state.digest()), end_digest);

    let mut restored = State::restore(read_snapshot("format-1.snapshot")).unwrap();
    assert_eq!((restored.applied_index(), hex(&restored.digest())), (half, half_digest.to_owned()));
    for (index, entry) in log.iter().filter(|(index, _)| *index > half) {
        restored.apply(*index, entry).unwrap();
    }
    audit(&restored);
    assert_eq!(restored.digest(), state.digest());
    let bytes = |state: &State| state.snapshot().chunks().collect::<Vec<_>>();
    assert_eq!(bytes(&restored), bytes(&state), "from the snapshot as from the log");
}

/// Writes the files of a new format; run by hand, once, by the release that begins it.
#[test]
#[ignore = "writes the golden files of a new format"]
fn write_a_new_format() {
    let format = std::env::var("STOCKMESH_GOLDEN_FORMAT").expect("the number of the new format");
    let log_path = path(&format!("format-{format}.log"));
    assert!(!log_path.exists(), "a format that was written is never written again");
    let mut runner = TestRunner::deterministic();
    let steps = proptest::collection::vec(step(), 260..261).new_tree(&mut runner).unwrap().current();
    let mut network = Network::new();
    steps.iter().for_each(|step| network.act(step));
    network.heal();
    let (mut log, mut snapshot) = (Vec::new(), Vec::new());
    let mut state = State::new();
    let half = network.world.log.len() / 2;
    let mut half_way = (String::new(), 0);
    for (n, (index, entry)) in network.world.log.iter().enumerate() {
        let bytes = entry.encode_to_vec();
        log.extend_from_slice(&index.to_be_bytes());
        log.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        log.extend_from_slice(&bytes);
        state.apply(*index, entry).unwrap();
        if n == half {
            half_way = (hex(&state.digest()), *index);
            for chunk in state.snapshot().chunks() {
                snapshot.extend_from_slice(&u32::try_from(chunk.name.len()).unwrap().to_be_bytes());
                snapshot.extend_from_slice(chunk.name.as_bytes());
                snapshot.extend_from_slice(&chunk.version.to_be_bytes());
                snapshot.extend_from_slice(&chunk.checksum);
                snapshot.extend_from_slice(&u32::try_from(chunk.bytes.len()).unwrap().to_be_bytes());
                snapshot.extend_from_slice(&chunk.bytes);
            }
        }
    }
    let digests = format!("{}\n{}\n{}\n", half_way.0, hex(&state.digest()), half_way.1);
    std::fs::write(log_path, log).unwrap();
    std::fs::write(path(&format!("format-{format}.snapshot")), snapshot).unwrap();
    std::fs::write(path(&format!("format-{format}.digests")), digests).unwrap();
}
