//! `strongroom vsphere restore --in-place`: disks of a VM that is there become what they were.

use std::time::Instant;

use engine::{BadExtents, PinnedReader};
use vsphere::recovery::{
    InPlaceError, InPlaceJob, InPlacePlan, Loss, RestoreVmOptions, plan_in_place, restore_in_place,
};

use super::{
    backup::proxy_of,
    connect::{Connected, connect},
    restore::{say, undo_leftovers},
};
use crate::{
    args::{GlobalArgs, VsphereRestoreArgs},
    commands::{Done, points::Chosen, warning},
    exit::Exit,
    failure::Failure,
    opening::Opened,
    output::{PlanLine, VsphereRestoreResult, WarningLine},
    progress::{Mode, Progress},
    terminal, units,
};

/// Changes disks in place.
pub(super) fn run(
    global: &GlobalArgs,
    args: &VsphereRestoreArgs,
    mut options: RestoreVmOptions,
    opened: &Opened<PinnedReader>,
    chosen: &Chosen,
) -> Result<Done, Failure> {
    let begun = Instant::now();
    let bad_extents = bad_extents(args)?;
    let Connected { session, warnings } = connect(global, &args.vcenter)?;
    let mut warnings: Vec<WarningLine> =
        opened.warnings.iter().cloned().chain(warnings).chain(chosen.warnings.iter().cloned()).collect();
    options.proxy = proxy_of(&session, &options.transports);
    if !args.dry_run {
        undo_leftovers(&session, opened, &mut warnings)?;
    }
    let job =
        InPlaceJob { session: &session, reader: &opened.handle, point: chosen.id, options: &options, bad_extents };
    let plan = plan_in_place(&job).map_err(|error| failed(&error, &chosen.vm))?;
    let plan_line = line(chosen, &plan);
    say(&plan_line.text);
    let mut result = VsphereRestoreResult {
        verdict: plan_line.verdict.clone(),
        plan: plan_line,
        dry_run: args.dry_run,
        vm: None,
        moref: None,
        written_bytes: 0,
        powered_on: false,
        elapsed_seconds: 0.0,
    };
    if args.dry_run {
        result.elapsed_seconds = begun.elapsed().as_secs_f64();
        return Ok(Done::with(result).in_repository(opened.line()).with_warnings(warnings));
    }
    terminal::consent(global.yes, &format!("write over the disks of {}?", plan.vm.name))?;
    let progress = Progress::start(Mode::of(global.progress, global.quiet));
    let outcome = restore_in_place(&job, &plan, &progress);
    warnings.extend(progress.finish());
    let restored = outcome.map_err(|error| failed(&error, &chosen.vm))?;
    result.vm = Some(plan.vm.name.clone());
    result.moref = Some(plan.vm.vm.moref().to_owned());
    let disks = &restored.disks.disks;
    result.written_bytes = disks.iter().map(|disk| disk.written_bytes.saturating_add(disk.zeroed_bytes)).sum();
    result.elapsed_seconds = begun.elapsed().as_secs_f64();
    let attention = !restored.notes.is_empty() || disks.iter().any(|disk| !disk.bad.is_empty());
    warnings.extend(restored.notes.into_iter().map(|text| warning("library", text)));
    let done = Done::with(result).in_repository(opened.line()).with_warnings(warnings);
    Ok(if attention { done.ending(Exit::Attention) } else { done })
}

/// Of all losses a disk knows one.
fn bad_extents(args: &VsphereRestoreArgs) -> Result<BadExtents, Failure> {
    let word = Loss::BadExtents.word();
    match args.wish.accept_loss.iter().find(|given| *given != word) {
        Some(other) => Err(Failure::invalid(
            format!("--in-place gives up nothing of a VM home: --accept-loss {other} has no meaning"),
            format!("leave it out; of disks there is {word}"),
        )),
        None if args.wish.accept_loss.is_empty() => Ok(BadExtents::Refuse),
        None => Ok(BadExtents::AcceptAsZeros),
    }
}

fn line(chosen: &Chosen, plan: &InPlacePlan) -> PlanLine {
    let time = units::utc(chosen.time_ms);
    let mut text = vec![format!("plan: {} @ {time} -> in place, {} ({})", chosen.vm, plan.vm.name, plan.vm.vm.moref())];
    text.push("  keeps     home, keys, NVRAM, vTPM and settings as they are now".to_owned());
    text.extend(
        plan.disks
            .iter()
            .map(|(name, bytes)| format!("  {name:<8}  {}, only what differs is written", units::size(*bytes))),
    );
    if plan.vm.tracks_changes {
        text.push("  note      change tracking begins anew: the next backup reads its disks whole".to_owned());
    }
    text.push(format!("  restores: {}", plan.verdict));
    PlanLine {
        point: chosen.id.to_string(),
        vm: chosen.vm.clone(),
        time,
        verdict: plan.verdict.word().to_owned(),
        row: None,
        losses: Vec::new(),
        refused: Vec::new(),
        questions: Vec::new(),
        text,
    }
}

fn failed(error: &InPlaceError, vm: &str) -> Failure {
    let failure = Failure::of(error, error.kind(), vm);
    let failure = match error.hint() {
        Some(hint) => failure.with_advice(hint),
        None => failure,
    };
    if error.is_refusal() { Failure { exit: Exit::Refused, ..failure } } else { failure }
}
