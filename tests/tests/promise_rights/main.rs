//! The protocol of promise rights, searched exhaustively at small size, and each bug that it must not have, found.
//!
//! Longer: `cargo test --release -p stockmesh-tests --test promise_rights -- --ignored --nocapture`

mod coordinator;
mod laws;
mod node;
mod world;

use stateright::{Checker, HasDiscoveries, Model};

use world::{Budget, Mutant, Protocol};

const NONE: Budget = Budget {
    sales: 0,
    declines: 0,
    losses: 0,
    finds: 0,
    returns: 0,
    cancels: 0,
    reservations: 0,
    claimed_arrivals: 0,
    crashes: 0,
    node_restores: 0,
    coordinator_restores: 0,
};

const ONE: &[i8] = &[1];
const TWO: &[i8] = &[1, 1];
const DOUBLE: &[i8] = &[2];

/// Configurations: name, units at the start, order lines, what may happen.
fn small() -> Vec<(&'static str, i8, &'static [i8], Budget)> {
    vec![
        ("counter and orders", 2, TWO, Budget { sales: 2, returns: 1, ..NONE }),
        ("parts of one line", 2, DOUBLE, Budget { sales: 1, cancels: 1, ..NONE }),
        ("declines", 2, TWO, Budget { sales: 1, declines: 1, ..NONE }),
        ("cancellations", 2, TWO, Budget { sales: 1, cancels: 1, returns: 1, ..NONE }),
        ("shortfall and cure", 2, TWO, Budget { losses: 1, finds: 1, sales: 1, ..NONE }),
        ("shortfall and decline", 2, DOUBLE, Budget { losses: 1, declines: 1, ..NONE }),
        ("reservations", 2, ONE, Budget { reservations: 1, sales: 1, losses: 1, ..NONE }),
        ("claims", 0, ONE, Budget { claimed_arrivals: 1, sales: 1, ..NONE }),
        ("node restored", 2, ONE, Budget { node_restores: 1, sales: 1, returns: 1, ..NONE }),
        ("node restored, reservation", 1, ONE, Budget { node_restores: 1, sales: 1, reservations: 1, ..NONE }),
        ("node restored, cancellation", 1, ONE, Budget { node_restores: 1, cancels: 1, ..NONE }),
        ("node restored, shortfall", 1, ONE, Budget { node_restores: 1, losses: 1, ..NONE }),
        ("group restored", 2, ONE, Budget { coordinator_restores: 1, sales: 1, returns: 1, ..NONE }),
        ("group restored, decline", 1, ONE, Budget { coordinator_restores: 1, declines: 1, ..NONE }),
        ("group restored, cancellation", 1, ONE, Budget { coordinator_restores: 1, cancels: 1, ..NONE }),
        ("both restored", 1, ONE, Budget { node_restores: 1, coordinator_restores: 1, sales: 1, ..NONE }),
    ]
}

/// Larger ones, for a command.
fn large() -> Vec<(&'static str, i8, &'static [i8], Budget)> {
    vec![
        ("three units", 3, TWO, Budget { sales: 1, returns: 1, cancels: 1, ..NONE }),
        ("loss, decline and cancellation", 2, TWO, Budget { losses: 1, declines: 1, cancels: 1, ..NONE }),
        ("reservation and shortfall", 2, TWO, Budget { reservations: 1, losses: 1, finds: 1, ..NONE }),
        ("node restored, two lines", 2, TWO, Budget { node_restores: 1, sales: 1, declines: 1, ..NONE }),
        ("node restored twice", 1, ONE, Budget { node_restores: 2, sales: 1, ..NONE }),
        ("group restored, two lines", 2, TWO, Budget { coordinator_restores: 1, sales: 1, ..NONE }),
        (
            "group restored, reservation and loss",
            1,
            ONE,
            Budget { coordinator_restores: 1, reservations: 1, losses: 1, ..NONE },
        ),
        ("both restored, two units", 2, ONE, Budget { node_restores: 1, coordinator_restores: 1, sales: 1, ..NONE }),
    ]
}

fn hold(configurations: Vec<(&'static str, i8, &'static [i8], Budget)>) {
    for (name, units, lines, budget) in configurations {
        let protocol = Protocol { units, lines, budget, mutant: None };
        let checker = protocol.checker().threads(2).spawn_bfs().join();
        println!("{name:40} {:>9} states", checker.unique_state_count());
        checker.assert_properties();
    }
}

#[test]
fn the_protocol_holds_in_every_state() {
    hold(small());
}

#[test]
#[ignore = "a longer search: see the head of this file"]
fn the_protocol_holds_in_every_state_of_larger_configurations() {
    hold(large());
}

#[test]
fn every_mutant_is_caught() {
    let cases: &[(Mutant, i8, &'static [i8], Budget)] = &[
        (Mutant::SendBeforeFlush, 1, ONE, Budget { sales: 1, crashes: 1, ..NONE }),
        (Mutant::ReturnAsDifference, 2, ONE, Budget { sales: 2, returns: 1, ..NONE }),
        (Mutant::FreeOnCancelRequest, 1, TWO, Budget { cancels: 1, ..NONE }),
        (Mutant::NoEpochCheck, 1, ONE, Budget { node_restores: 1, sales: 1, ..NONE }),
        (Mutant::NoIncarnationCheck, 1, ONE, Budget { coordinator_restores: 1, returns: 1, sales: 1, ..NONE }),
        (Mutant::NodeTakesBackByItself, 1, ONE, NONE),
        (Mutant::ReturnSentBeforeCommit, 1, ONE, Budget { returns: 1, ..NONE }),
        (Mutant::SameIdAcceptedTwice, 2, ONE, NONE),
        (Mutant::RestoreKeepsSelling, 1, ONE, Budget { node_restores: 1, sales: 1, ..NONE }),
        (Mutant::NoManifestAudit, 2, ONE, Budget { node_restores: 1, ..NONE }),
        (Mutant::PromiseWithoutFreeCheck, 1, ONE, NONE),
        (Mutant::ReservationForgottenAtRestore, 1, ONE, Budget { reservations: 1, node_restores: 1, ..NONE }),
        (Mutant::AllocationsNotRestamped, 1, TWO, Budget { node_restores: 1, ..NONE }),
        (Mutant::SubstituteOpenedBeforeCancellation, 2, DOUBLE, Budget { losses: 1, finds: 1, ..NONE }),
        (Mutant::DeclinedUnitsThroughFree, 1, ONE, Budget { declines: 1, ..NONE }),
        (Mutant::ClaimNotGrantedAtReceipt, 0, ONE, Budget { claimed_arrivals: 1, sales: 1, ..NONE }),
    ];
    for (mutant, units, lines, budget) in cases {
        let protocol = Protocol { units: *units, lines, budget: *budget, mutant: None };
        let sound = protocol.clone().checker().threads(2).spawn_bfs().join();
        let broken: Vec<&str> = broken_laws(&sound);
        assert!(broken.is_empty(), "{mutant:?}: the protocol itself breaks {broken:?} in this configuration");

        let protocol = Protocol { mutant: Some(*mutant), ..protocol };
        let checker = protocol.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let broken = broken_laws(&checker);
        println!("{mutant:40?} {:>9} states: {}", checker.unique_state_count(), broken.join(", "));
        assert!(!broken.is_empty(), "{mutant:?} was not caught in {} states", checker.unique_state_count());
    }
}

/// Names of the laws that a counterexample was found to.
fn broken_laws(checker: &impl Checker<Protocol>) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = checker.discoveries().into_keys().collect();
    names.retain(|name| *name != "an order line is supplied");
    names.sort_unstable();
    names
}
