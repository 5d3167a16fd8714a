//! `strongroom forget`, `hold` and `release`: which restore points stay on the list.

use std::collections::HashSet;

use engine::{Fate, Reader, VmFates};
use repo_format::ChunkId;

use super::{
    Done,
    points::{candidates, choose_parsed, parse, unresolved},
    prune::pruned,
    warning,
};
use crate::{
    args::{ForgetArgs, GlobalArgs, HoldArgs, ReleaseArgs},
    exit::Exit,
    failure::Failure,
    opening,
    output::{FateLine, ForgetResult, HeldLine, HoldResult, WarningLine},
    progress::{Mode, Progress},
    selector::{What, parse_time, points_of_vms},
    terminal, units,
};

/// Forgets by rules or by name.
pub fn run(global: &GlobalArgs, args: &ForgetArgs) -> Result<Done, Failure> {
    check(args)?;
    let mut opened = opening::writer(global)?;
    let place = opened.place.clone();
    let mut warnings = opened.warnings.clone();
    let fates = match args.selectors.is_empty() {
        true => by_rules(&opened.handle, args, &place)?,
        false => by_name(&opened.handle, args, &place, &mut warnings)?,
    };
    let wrong = |error: engine::ForgetError| {
        Failure::of(&error, error.kind(), &place)
            .with_advice("strongroom forget --dry-run shows each point and why it stays")
    };
    let mass = engine::check_mass(&fates, args.allow_mass_forget).map_err(wrong);
    let going: HashSet<ChunkId> = fates
        .iter()
        .flat_map(|vm| &vm.fates)
        .filter(|fate| fate.reasons.is_empty())
        .map(|fate| fate.point.id)
        .collect();
    let progress = Progress::start(Mode::of(global.progress, global.quiet));
    let cost = || match args.cost || args.dry_run {
        true => engine::freed_bytes(&opened.handle, &going, &progress).map(Some),
        false => Ok(None),
    };
    let freed = cost().map_err(|error| Failure::of(&error, error.kind(), &place))?;
    if args.dry_run {
        warnings.extend(progress.finish());
        let result = result(true, &fates, freed, None);
        let done = Done::with(result).in_repository(opened.line()).with_warnings(warnings);
        // The table all the same: it shows what is too much.
        return Ok(match mass {
            Ok(()) => done,
            Err(failure) => done.but(failure),
        });
    }
    mass?;
    if !args.selectors.is_empty() && !going.is_empty() {
        terminal::consent(global.yes, &format!("{} restore points will be forgotten: go on?", going.len()))?;
    }
    engine::forget(&mut opened.handle, &fates, args.reason.as_deref()).map_err(wrong)?;
    let options = args.pruning.options(global.thread_count());
    let prune = args.prune.then(|| pruned(&mut opened.handle, &options, &progress, &place)).transpose();
    warnings.extend(progress.finish());
    let line = opened.line();
    Ok(Done::with(result(false, &fates, freed, prune?)).in_repository(line).with_warnings(warnings))
}

fn check(args: &ForgetArgs) -> Result<(), Failure> {
    let advice = "name points, or say what stays: --keep-last 3 --keep-daily 14 --keep-weekly 8";
    if args.selectors.is_empty() && !args.rules.are_given() {
        return Err(Failure::invalid("neither points nor rules were given", advice));
    }
    if args.selectors.is_empty() && args.rules.rules(0).keep_nothing() {
        return Err(Failure::invalid("these rules keep nothing", advice));
    }
    if args.pruning.are_given() && !args.prune {
        return Err(Failure::invalid(
            "options of prune were given without --prune",
            "add --prune, or leave them to strongroom prune",
        ));
    }
    Ok(())
}

fn by_rules(reader: &Reader, args: &ForgetArgs, place: &str) -> Result<Vec<VmFates>, Failure> {
    let (candidates, _) = candidates(reader);
    points_of_vms(&args.vms, &candidates).map_err(|error| unresolved(&error, place))?;
    let wanted = |point: &engine::PointState| args.vms.is_empty() || args.vms.contains(&point.vm_name);
    let rules = args.rules.rules(args.min_age);
    Ok(engine::apply_rules(reader, &rules, &jiff::tz::TimeZone::system(), &wanted))
}

fn by_name(
    reader: &Reader,
    args: &ForgetArgs,
    place: &str,
    warnings: &mut Vec<WarningLine>,
) -> Result<Vec<VmFates>, Failure> {
    let now_ms = reader.environment().clock.now_ms();
    let mut named = HashSet::new();
    for (point, by_id) in named_points(reader, &args.selectors, place, warnings)? {
        let age_ms = reader.state().point(&point).map_or(0, |point| now_ms.saturating_sub(point.time_ms));
        if by_id || age_ms >= args.min_age {
            named.insert(point);
        } else {
            let text = point.to_string();
            let short = text.get(..8).unwrap_or(&text);
            warnings.push(warning(
                "young",
                format!("{short} stays: it is younger than --min-age; name it by id to forget it"),
            ));
        }
    }
    engine::named_fates(reader, &named)
        .map_err(|error| Failure::of(&error, error.kind(), place).with_advice("strongroom release SELECTOR"))
}

/// The points that `selectors` name, and whether by id. A VM's name alone means all of its points.
pub fn named_points(
    reader: &Reader,
    selectors: &[String],
    place: &str,
    warnings: &mut Vec<WarningLine>,
) -> Result<Vec<(ChunkId, bool)>, Failure> {
    let (candidates, ids) = candidates(reader);
    let mut named = Vec::new();
    for text in selectors {
        let selector = parse(text)?;
        if let Some(disk) = &selector.disk {
            return Err(Failure::invalid(
                format!("{text:?} names disk {disk}: points go and stay whole"),
                "leave the disk out",
            ));
        }
        match &selector.what {
            What::Bare(name) if candidates.iter().any(|point| point.vm == *name) => {
                // What is also the beginning of an id is refused; a VM that has only incomplete points is not.
                match choose_parsed(reader, &selector, place) {
                    Err(failure) if failure.exit != Exit::Missing => return Err(failure),
                    _ => {}
                }
                let of_vm = candidates.iter().zip(&ids).filter(|(point, _)| point.vm == *name);
                named.extend(of_vm.map(|(_, id)| (*id, false)));
            }
            what => {
                let by_id = matches!(what, What::Id(_) | What::Bare(_));
                let chosen = choose_parsed(reader, &selector, place)?;
                warnings.extend(chosen.warnings);
                named.push((chosen.id, by_id));
            }
        }
    }
    Ok(named)
}

fn result(
    dry_run: bool,
    fates: &[VmFates],
    freed_bytes: Option<u64>,
    prune: Option<crate::output::PruneResult>,
) -> ForgetResult {
    let (forget, keep): (Vec<&Fate>, Vec<&Fate>) =
        fates.iter().flat_map(|vm| &vm.fates).partition(|fate| fate.reasons.is_empty());
    let lines = |fates: Vec<&Fate>| fates.into_iter().map(fate_line).collect();
    ForgetResult { dry_run, keep: lines(keep), forget: lines(forget), freed_bytes, prune }
}

fn fate_line(fate: &Fate) -> FateLine {
    FateLine {
        id: fate.point.id.to_string(),
        time: units::utc(fate.point.time_ms),
        vm: fate.point.vm_name.clone(),
        reasons: fate.reasons.iter().map(ToString::to_string).collect(),
    }
}

/// Holds points.
pub fn hold(global: &GlobalArgs, args: &HoldArgs) -> Result<Done, Failure> {
    if args.reason.trim().is_empty() {
        return Err(Failure::invalid("--reason is empty", "say why, for whoever wants to release them"));
    }
    let until_ms = args.until.as_ref().map(|text| {
        parse_time(text, &jiff::tz::TimeZone::system()).map_err(|what| Failure::invalid(what, "strongroom hold --help"))
    });
    let until_ms = until_ms.transpose()?;
    let mut opened = opening::writer(global)?;
    if until_ms.is_some_and(|until| until <= opened.handle.environment().clock.now_ms()) {
        return Err(Failure::invalid("--until is in the past", "a time to come, or leave it out"));
    }
    let mut warnings = opened.warnings.clone();
    let points = named_points(&opened.handle, &args.selectors, &opened.place, &mut warnings)?;
    let points: Vec<ChunkId> = points.into_iter().map(|(point, _)| point).collect();
    let held = engine::hold(&mut opened.handle, &points, &args.reason, until_ms);
    held.map_err(|error| Failure::of(&error, error.kind(), &opened.place))?;
    let lines = points.iter().map(|point| held_line(&opened.handle, *point, true)).collect();
    Ok(Done::with(HoldResult { points: lines }).in_repository(opened.line()).with_warnings(warnings))
}

/// Releases points.
pub fn release(global: &GlobalArgs, args: &ReleaseArgs) -> Result<Done, Failure> {
    let mut opened = opening::writer(global)?;
    let mut warnings = opened.warnings.clone();
    let points = named_points(&opened.handle, &args.selectors, &opened.place, &mut warnings)?;
    let points: Vec<ChunkId> = points.into_iter().map(|(point, _)| point).collect();
    let released = engine::release(&mut opened.handle, &points);
    let (_, released) = released.map_err(|error| Failure::of(&error, error.kind(), &opened.place))?;
    let line = |point: &ChunkId| held_line(&opened.handle, *point, released.contains(point));
    let lines = points.iter().map(line).collect();
    Ok(Done::with(HoldResult { points: lines }).in_repository(opened.line()).with_warnings(warnings))
}

fn held_line(reader: &Reader, point: ChunkId, changed: bool) -> HeldLine {
    let state = reader.state().point(&point);
    HeldLine {
        id: point.to_string(),
        vm: state.map(|point| point.vm_name.clone()).unwrap_or_default(),
        held: state.and_then(|point| point.held.clone()),
        changed,
    }
}
