//! The search: breadth first over everything that can happen, so that the first violation found is a shortest one.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt,
};

use super::{
    action::{Action, Effect, Step},
    invariant::{Violation, Watch, violated},
    log::Record,
    rule::Rules,
    scope::Scope,
    world::World,
};

/// Somebody who goes along and may object.
pub trait Follower: Clone {
    /// `step` was taken in `before`.
    fn follow(&mut self, before: &World, step: &Step) -> Result<(), String>;
}

/// Nobody goes along.
impl Follower for () {
    fn follow(&mut self, _before: &World, _step: &Step) -> Result<(), String> {
        Ok(())
    }
}

/// What happened at least once in a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is a kind of step")]
pub struct Reached {
    pub commits: u64,
    pub refusals: u64,
    pub condemns: u64,
    pub pack_deletes: u64,
    pub orphan_deletes: u64,
    pub removals: u64,
    pub moves: u64,
    pub adoptions: u64,
    pub fences: u64,
    pub new_surveys: u64,
    pub pins: u64,
}

impl Reached {
    fn count(&mut self, step: &Step) {
        let kind = match (step.action, step.effect) {
            (Action::Refused { .. }, _) => &mut self.refusals,
            (Action::Unlink { .. }, _) => &mut self.removals,
            (Action::Outdated { .. }, _) => &mut self.new_surveys,
            (_, Effect::Landed { record, is_void: false, .. }) => match record {
                Record::Commit { .. } => &mut self.commits,
                Record::Condemn { .. } => &mut self.condemns,
                Record::Delete { packs, .. } if !packs.is_empty() => &mut self.pack_deletes,
                Record::Delete { .. } => &mut self.orphan_deletes,
                Record::Moved { .. } => &mut self.moves,
                Record::Open { adopts: Some(_), .. } => &mut self.adoptions,
                Record::Fence { .. } => &mut self.fences,
                Record::Pin { .. } => &mut self.pins,
                _ => return,
            },
            _ => return,
        };
        *kind += 1;
    }
}

/// The shortest way to a violation.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// What was done, in order.
    pub actions: Vec<Action>,
    /// What was broken by it.
    pub violation: Violation,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, action) in (1..).zip(&self.actions) {
            writeln!(f, "  {number:2}. {action}")?;
        }
        write!(f, "  => {}", self.violation)
    }
}

/// What a search has found.
#[derive(Clone, Debug)]
pub struct Explored {
    /// Different worlds.
    pub states: usize,
    /// Steps between them.
    pub steps: u64,
    /// What happened in them.
    pub reached: Reached,
    /// The shortest way to break something.
    pub counterexample: Option<Counterexample>,
}

/// Looks at every world of `scope` that can come about under `rules`, until one is broken.
pub fn explore<F: Follower>(scope: &Scope, rules: Rules, watch: Watch, follower: F) -> Result<Explored, String> {
    let start = World::of(scope);
    let mut came_from: Vec<(u32, Option<Action>)> = vec![(0, None)];
    let mut known = HashMap::from([(start, 0_u32)]);
    let mut due = VecDeque::from([(start, 0_u32, follower)]);
    let (mut reached, mut steps) = (Reached::default(), 0);
    while let Some((world, number, follower)) = due.pop_front() {
        for step in world.steps(scope, rules) {
            steps += 1;
            reached.count(&step);
            if let Some(violation) = violated(&world, &step, scope, watch) {
                let actions = way_to(number, step.action, &came_from);
                let counterexample = Some(Counterexample { actions, violation });
                return Ok(Explored { states: known.len(), steps, reached, counterexample });
            }
            let mut follower = follower.clone();
            follower.follow(&world, &step).map_err(|objection| {
                let way = way_to(number, step.action, &came_from);
                let way: Vec<String> = way.iter().map(ToString::to_string).collect();
                format!("{}: {objection}, after:\n  {}", scope.name, way.join("\n  "))
            })?;
            let Entry::Vacant(new) = known.entry(step.world) else { continue };
            let next = u32::try_from(came_from.len()).map_err(|_| "too many states".to_owned())?;
            new.insert(next);
            came_from.push((number, Some(step.action)));
            due.push_back((step.world, next, follower));
        }
    }
    Ok(Explored { states: known.len(), steps, reached, counterexample: None })
}

fn way_to(mut number: u32, last: Action, came_from: &[(u32, Option<Action>)]) -> Vec<Action> {
    let mut way = vec![last];
    while let (before, Some(action)) = came_from[number as usize] {
        way.push(action);
        number = before;
    }
    way.reverse();
    way
}
