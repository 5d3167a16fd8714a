//! The protocol of log and prune, explored in full at small scope; and what each of its rules is good for.
//!
//! `cargo test -p strongroom-tests --release model:: -- --nocapture` shows figures and counterexamples.

use strongroom_tests::{
    full_run,
    model::{Production, Reached, Rule, Rules, Watch, explore, scope::Scope, scopes},
};

type MakeScope = fn() -> Scope;

/// Scopes, and how many states each must have at least: a model that has lost its actors would find nothing wrong.
const SMALL: [(MakeScope, usize); 9] = [
    (scopes::two_writers, 6_000),
    (scopes::two_copies, 65_000),
    (scopes::repack, 1_900),
    (scopes::repack_and_base, 32_000),
    (scopes::adoption, 3_600),
    (scopes::pinned_reader, 450),
    (scopes::everybody, 12_500),
    (scopes::same_chunks, 850),
    (scopes::damage, 27_000),
];

const LARGE: [(MakeScope, usize); 3] = [
    (scopes::everybody_and_a_second_prune, 450_000),
    (scopes::damage_and_a_writer, 550_000),
    (scopes::adoption_and_two_prunes, 230_000),
];

/// Explores `scopes` under all rules, production at its side, and says what happened in each.
fn explore_all(scopes: &[(MakeScope, usize)]) -> Vec<Reached> {
    let explored = scopes.iter().map(|(scope, states_min)| {
        let scope = scope();
        let production = Production::of(&scope).unwrap();
        let explored =
            explore(&scope, Rules::ALL, Watch::All, production).unwrap_or_else(|objection| panic!("{objection}"));
        println!("{}: {} states, {} steps, {:?}", scope.name, explored.states, explored.steps, explored.reached);
        if let Some(counterexample) = explored.counterexample {
            panic!("{}:\n{counterexample}", scope.name);
        }
        assert!(explored.states >= *states_min, "{}: only {} states", scope.name, explored.states);
        explored.reached
    });
    explored.collect()
}

#[test]
fn no_order_of_events_breaks_an_invariant_and_production_decides_as_the_model() {
    let reached = explore_all(&SMALL);
    let sum = |of: fn(&Reached) -> u64| reached.iter().map(of).sum::<u64>();
    let kinds = [
        ("commits", sum(|reached| reached.commits)),
        ("refusals", sum(|reached| reached.refusals)),
        ("condemns", sum(|reached| reached.condemns)),
        ("deletes of packs", sum(|reached| reached.pack_deletes)),
        ("deletes of orphans", sum(|reached| reached.orphan_deletes)),
        ("removals", sum(|reached| reached.removals)),
        ("moves", sum(|reached| reached.moves)),
        ("adoptions", sum(|reached| reached.adoptions)),
        ("fences", sum(|reached| reached.fences)),
        ("new surveys", sum(|reached| reached.new_surveys)),
        ("pins", sum(|reached| reached.pins)),
    ];
    for (kind, count) in kinds {
        assert!(count >= 100, "the scopes see {count} {kind}");
    }
}

#[test]
fn no_order_of_events_breaks_an_invariant_with_more_at_once() {
    if full_run() {
        explore_all(&LARGE);
    }
}

/// The steps of the shortest counterexample, which is printed.
fn broken_after(scope: &Scope, off: &[Rule], watch: Watch) -> Option<usize> {
    let explored = explore(scope, Rules::without(off), watch, ()).unwrap();
    let counterexample = explored.counterexample?;
    println!("without {off:?} ({}):\n{counterexample}\n", scope.name);
    Some(counterexample.actions.len())
}

#[test]
fn each_rule_that_stands_alone_is_missed_when_it_is_taken_away() {
    let expected: [(Rule, MakeScope, usize); 11] = [
        (Rule::Pins, scopes::two_writers, 13),
        (Rule::Pins, scopes::pinned_reader, 12),
        (Rule::CommitRefusesCondemned, scopes::two_writers, 10),
        (Rule::CommitRefusesFenced, scopes::two_writers, 5),
        (Rule::DurableBeforeCommit, scopes::two_copies, 5),
        (Rule::CondemnAtExactHead, scopes::two_writers, 10),
        (Rule::CondemnSparesReliedOn, scopes::two_writers, 10),
        (Rule::CondemnStopsAtLoss, scopes::two_copies, 12),
        (Rule::CondemnStopsAtLoss, scopes::damage, 7),
        (Rule::DeleteRechecks, scopes::damage, 9),
        (Rule::DeleteAtExactHead, scopes::damage, 9),
    ];
    for (rule, scope, steps) in expected {
        assert_eq!(broken_after(&scope(), &[rule], Watch::All), Some(steps), "without {rule:?}");
    }
}

/// The model without a rule is not what runs: production objects at the first decision or entry that differs.
#[test]
fn production_holds_each_rule_that_is_decided_from_the_log() {
    let rules: [(Rule, MakeScope); 7] = [
        (Rule::CommitRefusesCondemned, scopes::two_writers),
        (Rule::CommitRefusesFenced, scopes::two_writers),
        (Rule::CondemnSparesReliedOn, scopes::two_writers),
        (Rule::CondemnStopsAtLoss, scopes::two_copies),
        (Rule::DeleteRechecks, scopes::damage),
        (Rule::OrphanOwnerEnded, scopes::repack),
        (Rule::OrphanFollowsAdoption, scopes::adoption),
    ];
    for (rule, scope) in rules {
        let scope = scope();
        let production = Production::of(&scope).unwrap();
        let objection = explore(&scope, Rules::without(&[rule]), Watch::Loss, production).err();
        println!("without {rule:?}: {}\n", objection.as_deref().unwrap_or("no objection"));
        assert!(objection.is_some_and(|objection| objection.contains("production")), "production is without {rule:?}");
    }
}

/// Without the fence check a based writer loses its pin and does not notice: that chunks are lost takes longer than the
/// breach of I5, and is why a fence must stop a Commit.
#[test]
fn without_the_fence_check_a_writer_loses_what_it_builds_on() {
    assert_eq!(broken_after(&scopes::two_writers(), &[Rule::CommitRefusesFenced], Watch::Loss), Some(17));
}

#[test]
fn of_two_barriers_one_is_enough_and_none_loses_data() {
    // Without damage Delete has nothing to find that Condemn has not: Condemn and Delete then say the same.
    let whole: Vec<Scope> = match full_run() {
        true => scopes::small().into_iter().filter(|scope| scope.damages.is_empty()).collect(),
        false => Vec::new(),
    };
    let expected: [([Rule; 2], MakeScope, usize); 12] = [
        ([Rule::CommitAtExactHead, Rule::ReplayersJudge], scopes::repack, 10),
        ([Rule::CommitRefusesCondemned, Rule::DeleteRechecks], scopes::two_writers, 13),
        ([Rule::CommitRefusesCondemned, Rule::DeleteSparesReliedOn], scopes::two_writers, 13),
        ([Rule::CommitRefusesCondemned, Rule::DeleteAtExactHead], scopes::two_writers, 13),
        ([Rule::OwnPackCheck, Rule::OrphanOwnerEnded], scopes::repack, 9),
        ([Rule::OwnPackCheck, Rule::OrphanFollowsAdoption], scopes::adoption, 11),
        ([Rule::OwnPackCheck, Rule::FreshNames], scopes::same_chunks, 13),
        ([Rule::OwnPackCheck, Rule::CommitRefusesFenced], scopes::repack, 10),
        ([Rule::SweepOnlyNamed, Rule::OrphanOwnerEnded], scopes::repack, 8),
        ([Rule::SweepOnlyNamed, Rule::OrphanFollowsAdoption], scopes::adoption, 10),
        ([Rule::SweepOnlyNamed, Rule::FreshNames], scopes::same_chunks, 12),
        ([Rule::SweepOnlyNamed, Rule::CommitRefusesFenced], scopes::repack, 9),
    ];
    let mut alone: Vec<Rule> = Vec::new();
    for (rules, scope, steps) in expected {
        for rule in rules {
            assert_eq!(broken_after(&scope(), &[rule], Watch::Loss), None, "{rule:?} alone, of {rules:?}");
            if !alone.contains(&rule) {
                alone.push(rule);
            }
        }
        assert_eq!(broken_after(&scope(), &rules, Watch::Loss), Some(steps), "without {rules:?}");
    }
    // A fence ends pins, so that check stands alone where a writer has a base.
    for rule in alone.into_iter().filter(|rule| *rule != Rule::CommitRefusesFenced) {
        for scope in &whole {
            assert_eq!(broken_after(scope, &[rule], Watch::Loss), None, "{rule:?} alone");
        }
    }
}
