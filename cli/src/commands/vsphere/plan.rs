//! `strongroom vsphere plan`: what a restore would bring back, before anything is written.

use engine::Reader;
use vsphere::{
    Session,
    recovery::{PowerOn, Purpose, SavedPoint, Target, TargetInventory, Wish, decide},
};

use super::{
    connect::{Connected, connect},
    wish::{exit_of, no_place, plan_line, unread, wish_for, wish_of},
};
use crate::{
    args::{GlobalArgs, PlanArgs, WishArgs},
    commands::{
        Done,
        points::{Chosen, candidates, choose},
    },
    exit::Exit,
    failure::Failure,
    opening,
    output::{PlanLine, PlanResult},
    units,
};

/// Plans.
pub fn run(global: &GlobalArgs, args: &PlanArgs) -> Result<Done, Failure> {
    let wish = wish_of(&args.wish, Purpose::Plan, PowerOn::No)?;
    let opened = opening::reader(global)?;
    let chosen = match &args.selector {
        Some(selector) => vec![choose(&opened.handle, selector, &opened.place)?],
        None => newest_of_each(&opened.handle),
    };
    let Connected { session, warnings } = connect(global, &args.vcenter)?;
    let looked = TargetInventory::look(&session).map_err(|error| no_place(&error, &args.vcenter.vcenter))?;
    let mut result = PlanResult { verdicts: Vec::new() };
    let mut worst = Exit::Done;
    let mut skipped = Vec::new();
    for chosen in chosen {
        let (line, exit) = match one(&opened.handle, &session, &looked, &wish, &args.wish, &chosen) {
            Ok(planned) => planned,
            // Of many VMs one that cannot be judged is a line, not the end.
            Err(failure) if args.all => unknown(&chosen, &failure),
            Err(failure) => return Err(failure),
        };
        if worst == Exit::Done {
            worst = exit;
        }
        result.verdicts.push(line);
        skipped.extend(chosen.warnings);
    }
    let done = Done::with(result).in_repository(opened.line()).with_warnings(opened.warnings.clone());
    Ok(done.with_warnings(warnings).with_warnings(skipped).ending(worst))
}

/// The newest live point of every VM.
fn newest_of_each(reader: &Reader) -> Vec<Chosen> {
    let (candidates, ids) = candidates(reader);
    let mut newest: std::collections::BTreeMap<&str, Chosen> = std::collections::BTreeMap::new();
    for (candidate, id) in candidates.iter().zip(ids) {
        let is_newer = newest.get(candidate.vm.as_str()).is_none_or(|known| known.time_ms < candidate.time_ms);
        if candidate.passed_over.is_none() && is_newer {
            let (vm, time_ms) = (candidate.vm.clone(), candidate.time_ms);
            newest.insert(&candidate.vm, Chosen { id, vm, time_ms, disk: None, warnings: Vec::new() });
        }
    }
    newest.into_values().collect()
}

fn one(
    reader: &Reader,
    session: &Session,
    looked: &TargetInventory,
    wish: &Wish,
    args: &WishArgs,
    chosen: &Chosen,
) -> Result<(PlanLine, Exit), Failure> {
    let point = SavedPoint::read(reader, chosen.id).map_err(|error| unread(&error, chosen))?;
    let wish = wish_for(wish, args, &point.saved.name);
    let target = Target::gather(session, looked, &point.saved, &wish).map_err(|error| no_place(&error, &chosen.vm))?;
    let decision = decide(&point.saved, &wish, &target.facts);
    Ok((plan_line(chosen, &point, &decision, &target), exit_of(decision.plan_ending())))
}

fn unknown(chosen: &Chosen, failure: &Failure) -> (PlanLine, Exit) {
    let time = units::utc(chosen.time_ms);
    let text = format!("plan: {} @ {time}: {} (try: {})", chosen.vm, failure.what, failure.advice);
    let line = PlanLine {
        point: chosen.id.to_string(),
        vm: chosen.vm.clone(),
        time,
        verdict: "unknown".to_owned(),
        row: None,
        losses: Vec::new(),
        refused: vec![failure.what.clone()],
        questions: Vec::new(),
        text: vec![text],
    };
    (line, Exit::Refused)
}
