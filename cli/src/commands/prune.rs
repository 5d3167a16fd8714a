//! `strongroom prune`: space comes back while backups run.

use std::time::Instant;

use engine::{Monitor, PruneOptions, PrunePlan, PruneReport, Writer, plan_prune, prune};

use super::{Done, verify::problem_line};
use crate::{
    args::{GlobalArgs, PruneArgs},
    exit::Exit,
    failure::Failure,
    opening,
    output::{PruneDoneLine, PrunePlanLine, PruneResult},
    progress::{Mode, Progress},
};

/// Prunes, or shows the plan.
pub fn run(global: &GlobalArgs, args: &PruneArgs) -> Result<Done, Failure> {
    let options = args.pruning.options(global.thread_count());
    let begun = Instant::now();
    if args.dry_run {
        let opened = opening::reader(global)?;
        let progress = Progress::start(Mode::of(global.progress, global.quiet));
        let planned = plan_prune(&opened.handle, &options, &progress);
        let warnings = progress.finish();
        let (plan, problems) = planned.map_err(|error| Failure::of(&error, error.kind(), &opened.place))?;
        let result = PruneResult {
            dry_run: true,
            plan: plan_line(&plan),
            done: None,
            problems: problems.iter().map(problem_line).collect(),
            elapsed_seconds: begun.elapsed().as_secs_f64(),
        };
        let line = opened.line();
        return Ok(ending(result).in_repository(line).with_warnings(opened.warnings.into_iter().chain(warnings)));
    }
    let mut opened = opening::writer(global)?;
    let progress = Progress::start(Mode::of(global.progress, global.quiet));
    let result = pruned(&mut opened.handle, &options, &progress, &opened.place);
    let warnings = progress.finish();
    let line = opened.line();
    Ok(ending(result?).in_repository(line).with_warnings(opened.warnings.into_iter().chain(warnings)))
}

/// Prunes and says what was done.
pub fn pruned(
    writer: &mut Writer,
    options: &PruneOptions,
    monitor: &dyn Monitor,
    place: &str,
) -> Result<PruneResult, Failure> {
    let begun = Instant::now();
    let report = prune(writer, options, monitor).map_err(|error| Failure::of(&error, error.kind(), place))?;
    Ok(PruneResult {
        dry_run: false,
        plan: plan_line(&report.plan),
        done: Some(done_line(&report)),
        problems: report.problems.iter().map(problem_line).collect(),
        elapsed_seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Trouble with single objects is for a person to look at; what could be done was done.
fn ending(result: PruneResult) -> Done {
    let exit = if result.problems.is_empty() { Exit::Done } else { Exit::Attention };
    Done::with(result).ending(exit)
}

fn plan_line(plan: &PrunePlan) -> PrunePlanLine {
    PrunePlanLine {
        packs: plan.packs,
        packs_bytes: plan.bytes,
        dead_packs: plan.dead_packs,
        delete_packs: plan.delete_packs,
        waiting_packs: plan.waiting_packs,
        repack_packs: plan.repack_packs,
        small_packs: plan.small_packs,
        repack_bytes: plan.repack_bytes,
        orphan_packs: plan.orphan_packs,
        orphan_bytes: plan.orphan_bytes,
        freed_bytes: plan.freed_bytes,
    }
}

fn done_line(report: &PruneReport) -> PruneDoneLine {
    PruneDoneLine {
        condemned_packs: report.condemned_packs,
        deleted_packs: report.deleted_packs,
        removed_packs: report.removed_packs,
        removed_bytes: report.removed_bytes,
        retained_packs: report.retained_packs,
        repacked_bytes: report.repacked_bytes,
        fenced_sessions: report.fenced_sessions,
        needed_chunks: report.needed_chunks,
    }
}
