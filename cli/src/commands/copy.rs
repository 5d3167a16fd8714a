//! `strongroom copy`: restore points of another repository into this one.

use std::time::Instant;

use engine::{CopyOptions, CopyReport, Reader, copy, plan_copy};
use repo_format::ChunkId;

use super::{Done, forget::named_points, points::candidates};
use crate::{
    args::{CopyArgs, GlobalArgs},
    exit::Exit,
    failure::Failure,
    opening,
    output::{CopiedLine, CopyResult, SkippedLine, UncopiedLine},
    progress::{Mode, Progress},
};

/// Memory for opened frames of the repository copied from.
const CACHE_BYTES: u64 = 128 << 20;

/// Copies, or shows what would be copied.
pub fn run(global: &GlobalArgs, args: &CopyArgs) -> Result<Done, Failure> {
    let begun = Instant::now();
    let from = opening::reader_from(global, &args.from)?;
    let mut into = opening::writer(global)?;
    let mut warnings = from.warnings.clone();
    warnings.append(&mut into.warnings);
    let points = match args.selectors.is_empty() {
        true => candidates(&from.handle).1,
        false => {
            let named = named_points(&from.handle, &args.selectors, &from.place, &mut warnings)?;
            named.into_iter().map(|(point, _)| point).collect()
        }
    };
    let place = format!("{} into {}", from.place, into.place);
    if args.dry_run {
        let plan = plan_copy(&from.handle, &into.handle, &points)
            .map_err(|error| Failure::of(&error, error.kind(), &place))?;
        let skipped =
            |point: &ChunkId| SkippedLine { vm: vm_of(&from.handle, *point), original: point.to_string(), copy: None };
        let copied = |point: &ChunkId| CopiedLine {
            vm: vm_of(&from.handle, *point),
            original: point.to_string(),
            point: None,
            stored_bytes: None,
        };
        let result = CopyResult {
            dry_run: true,
            copied: plan.to_copy.iter().map(copied).collect(),
            skipped: plan.skipped.iter().map(skipped).collect(),
            failed: plan
                .unreadable
                .iter()
                .map(|point| UncopiedLine {
                    vm: vm_of(&from.handle, *point),
                    original: point.to_string(),
                    what: "its record cannot be read".to_owned(),
                })
                .collect(),
            sent_bytes: 0,
            data_bytes: Some(plan.data_bytes),
            elapsed_seconds: begun.elapsed().as_secs_f64(),
        };
        return Ok(ending(result, None).in_repository(into.line()).with_warnings(warnings));
    }
    let options =
        CopyOptions { threads: global.thread_count(), compression: args.compression, cache_bytes: CACHE_BYTES };
    let progress = Progress::start(Mode::of(global.progress, global.quiet));
    let report = copy(&from.handle, &mut into.handle, &points, &options, &progress);
    warnings.extend(progress.finish());
    let report = report.map_err(|error| Failure::of(&error, error.kind(), &place))?;
    let failure = failure(&report, &place);
    let line = into.line();
    Ok(ending(result(&from.handle, &report, begun), failure).in_repository(line).with_warnings(warnings))
}

fn ending(result: CopyResult, failure: Option<Failure>) -> Done {
    match failure {
        Some(failure) => Done::with(result).but(failure),
        None => Done::with(result),
    }
}

/// All others were copied; these need somebody.
fn failure(report: &CopyReport, place: &str) -> Option<Failure> {
    let first = report.failed.first()?;
    let what = format!(
        "{} restore points were not copied; the first: {} of {}: {}",
        report.failed.len(),
        first.original,
        first.vm_name,
        first.error
    );
    let damaged = report.failed.iter().any(|failed| Exit::of(failed.error.kind()) == Exit::Damaged);
    let exit = if damaged { Exit::Damaged } else { Exit::of(first.error.kind()) };
    Some(Failure::new(exit, what, place, "learn what is damaged there: strongroom -r FROM verify --read-data"))
}

fn result(from: &Reader, report: &CopyReport, begun: Instant) -> CopyResult {
    CopyResult {
        dry_run: false,
        copied: report
            .copied
            .iter()
            .map(|copied| CopiedLine {
                vm: copied.report.vm_name.clone(),
                original: copied.original.to_string(),
                point: Some(copied.report.point.to_string()),
                stored_bytes: Some(copied.report.stored_bytes),
            })
            .collect(),
        skipped: report
            .skipped
            .iter()
            .map(|(original, copy)| SkippedLine {
                vm: vm_of(from, *original),
                original: original.to_string(),
                copy: Some(copy.to_string()),
            })
            .collect(),
        failed: report
            .failed
            .iter()
            .map(|failed| UncopiedLine {
                vm: failed.vm_name.clone(),
                original: failed.original.to_string(),
                what: failed.error.to_string(),
            })
            .collect(),
        sent_bytes: report.sent_bytes,
        data_bytes: None,
        elapsed_seconds: begun.elapsed().as_secs_f64(),
    }
}

fn vm_of(reader: &Reader, point: ChunkId) -> String {
    reader.state().point(&point).map(|point| point.vm_name.clone()).unwrap_or_default()
}
