//! Remembered requests: once, whatever is sent again.

use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::Reason;

use super::world::{START_MS, World, command, item, request_id};
use crate::Answer;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const AHEAD_MS: i64 = 5 * 60 * 1_000;

fn create(name: &str) -> Kind {
    Kind::CreateItems(log::CreateItems { items: vec![item(name, 1)] })
}

fn entry(
    world: &mut World,
    stamp_ms: i64,
    commands: Vec<log::Command>,
) -> Vec<Result<Answer, stockmesh_types::Reject>> {
    world.index += 1;
    let entry = log::LogEntry { feature_level: 1, stamp_ms, commands, ..Default::default() };
    world.state.apply(world.index, &entry).unwrap().outcomes
}

#[test]
fn a_repeat_returns_the_first_answer_and_another_body_is_refused() {
    let mut world = World::with(0, 0);
    let id = request_id(START_MS, 1_000);
    let first = world.apply(vec![command(create("X"), id.clone())]).remove(0);
    assert_eq!(first, Ok(Answer::ItemsCreated { created: 1, existing: 0 }));
    let again = world.apply(vec![command(create("X"), id.clone())]).remove(0);
    assert_eq!(again, first, "a fresh run would have found one existing");
    let other = world.apply(vec![command(create("Y"), id)]).remove(0).unwrap_err();
    assert_eq!((other.reason, other.field.as_str()), (Reason::RequestIdReused, "request_id"));
    assert_eq!(world.state.counters().items, 1);
    // A refusal is an answer too.
    let id = request_id(START_MS, 1_001);
    let clash = Kind::CreateItems(log::CreateItems { items: vec![item("X", 2)] });
    let refused = world.apply(vec![command(clash.clone(), id.clone())]).remove(0);
    assert_eq!(refused.as_ref().unwrap_err().reason, Reason::ItemExists);
    assert_eq!(world.apply(vec![command(clash, id)]).remove(0), refused);
}

#[test]
fn request_ids_must_be_of_now() {
    let mut world = World::with(0, 0);
    let now = world.now();
    let cases = [
        (String::new(), Reason::MissingField),
        ("9b2d8a3e-5f0b-4c1d-8e2f-000000000000".to_owned(), Reason::InvalidRequestId),
        (request_id(now - DAY_MS - 1_000, 1), Reason::RequestExpired),
        (request_id(now + AHEAD_MS + 1_000, 1), Reason::InvalidRequestId),
    ];
    for (id, reason) in cases {
        let reject = world.apply(vec![command(create("X"), id.clone())]).remove(0).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (reason, "request_id"), "{id}");
    }
    let mut torn = command(create("X"), request_id(now, 5));
    torn.request_hash.truncate(5);
    assert_eq!(world.apply(vec![torn]).remove(0).unwrap_err().field, "request_hash");
    assert_eq!(world.state.counters().items, 0);
}

#[test]
fn the_future_begins_at_the_stamp_of_the_entry_however_long_the_group_was_idle() {
    let mut world = World::with(0, 0);
    let stamp = START_MS + 10 * DAY_MS;
    let ids = [stamp + AHEAD_MS + 1, stamp + AHEAD_MS, stamp].into_iter().zip(1..);
    let commands = ids.map(|(drawn, n)| command(create("X"), request_id(drawn, n))).collect();
    let reasons: Vec<_> = entry(&mut world, stamp, commands)
        .into_iter()
        .map(|outcome| outcome.err().map(|reject| reject.reason))
        .collect();
    assert_eq!(reasons, [Some(Reason::InvalidRequestId), None, None]);
}

#[test]
fn a_clock_that_was_far_ahead_once_keeps_no_caller_out() {
    let mut world = World::with(0, 0);
    // A leader whose clock is 100 days ahead, and a caller whose clock is too.
    let ahead = START_MS + 100 * DAY_MS;
    let early = request_id(START_MS, 1);
    entry(&mut world, ahead, vec![command(create("A"), early.clone())]).remove(0).unwrap();
    // Out of order, as requests of several callers come.
    let ids: Vec<_> = [50, 20, 40, 10].into_iter().map(|ms| request_id(START_MS + ms, 2)).collect();
    for (n, id) in ids.iter().enumerate() {
        let created = entry(&mut world, START_MS, vec![command(create(&format!("B{n}")), id.clone())]).remove(0);
        assert_eq!(created, Ok(Answer::ItemsCreated { created: 1, existing: 0 }), "request {n}");
    }
    for (name, id) in [("A", &early), ("B0", &ids[0]), ("B3", &ids[3])] {
        let again = entry(&mut world, START_MS, vec![command(create(name), id.clone())]).remove(0);
        assert_eq!(again, Ok(Answer::ItemsCreated { created: 1, existing: 0 }), "{name} is still remembered");
    }
    entry(&mut world, START_MS, vec![command(create("C"), request_id(ahead, 9))]).remove(0).unwrap();
    // That one made the others forgotten: none of them runs again, and what is drawn from now on runs.
    let late = entry(&mut world, START_MS, vec![command(create("A"), early)]).remove(0).unwrap_err();
    assert_eq!(late.reason, Reason::RequestExpired);
    let new = request_id(START_MS + 60, 3);
    let created = entry(&mut world, START_MS, vec![command(create("D"), new)]).remove(0);
    assert_eq!(created, Ok(Answer::ItemsCreated { created: 1, existing: 0 }));
}

#[test]
fn what_is_forgotten_is_never_executed_again() {
    let mut world = World::with(0, 0);
    let id = request_id(START_MS, 1_000);
    world.apply(vec![command(create("X"), id.clone())]).remove(0).unwrap();
    let later = START_MS + DAY_MS + 60_000;
    entry(&mut world, later, vec![command(create("Y"), request_id(later, 1_001))]).remove(0).unwrap();
    assert_eq!(world.state.counters().remembered_requests, 1, "the first is older than a day");
    let reject = entry(&mut world, START_MS, vec![command(create("X"), id)]).remove(0).unwrap_err();
    assert_eq!(reject.reason, Reason::RequestExpired, "log time does not run backwards with a slow leader");
    assert_eq!(world.state.log_time().0, later);
}

#[test]
fn beyond_the_cap_the_oldest_go_and_their_age_is_refused() {
    let mut world = World::with(0, 0);
    let cap = u32::try_from(crate::apply::MAX_REMEMBERED).unwrap();
    // A refused request is the cheapest to run, and is remembered all the same.
    let refused = Kind::RangeItems(log::RangeItems { node: "nowhere".into(), items: Vec::new() });
    for chunk in (0..cap + 20).collect::<Vec<_>>().chunks(1_000) {
        let id = |n: &u32| request_id(START_MS + i64::from(*n) / 10, *n);
        let commands = chunk.iter().map(|n| command(refused.clone(), id(n))).collect();
        entry(&mut world, START_MS, commands);
    }
    assert_eq!(world.state.counters().remembered_requests, u64::from(cap));
    let again = command(create("X"), request_id(START_MS, 0));
    let reject = entry(&mut world, START_MS, vec![again]).remove(0).unwrap_err();
    assert_eq!(reject.reason, Reason::RequestExpired);
}
