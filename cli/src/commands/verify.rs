//! `strongroom verify`: all problems, each with what it costs.

use std::time::Instant;

use engine::{
    Cost, Depth, MendedFrom, Part, Problem, Share, VerifyOptions, VerifyReport, verify, verify_and_mend,
    verify_without_key,
};
use repo_format::ChunkId;

use super::{Done, points::choose, repair::from_word};
use crate::{
    args::{GlobalArgs, VerifyArgs},
    exit::Exit,
    failure::Failure,
    opening::{self, AsReader, Opened},
    output::{CostLine, HealedLine, ProblemLine, RangeLine, VerifyResult, WarningLine},
    progress::{Mode, Progress},
    units,
};

/// Verifies a repository, with its key or without.
pub fn run(global: &GlobalArgs, args: &VerifyArgs) -> Result<Done, Failure> {
    let begun = Instant::now();
    if args.no_key {
        let (store, path) = opening::store(global)?;
        let place = path.display().to_string();
        let progress = Progress::start(Mode::of(global.progress, global.quiet));
        let report = verify_without_key(store.as_ref(), global.thread_count(), &progress);
        let warnings = progress.finish();
        let report = report.map_err(|error| Failure::of(&error, error.kind(), &place))?;
        return Ok(done(report, "no_key", begun, &place, warnings));
    }

    if args.repair {
        let mut opened = opening::writer(global)?;
        let chosen = chosen(&opened, args)?;
        let progress = Progress::start(Mode::of(global.progress, global.quiet));
        let report = verify_and_mend(&mut opened.handle, &chosen.options(global), &progress);
        let warnings = chosen.warnings.into_iter().chain(progress.finish()).collect();
        let report = report.map_err(|error| Failure::of(&error, error.kind(), &opened.place))?;
        return Ok(done(report, chosen.word, begun, &opened.place, warnings).in_repository(opened.line()));
    }
    let mut opened = opening::reader(global)?;
    let chosen = chosen(&opened, args)?;
    let progress = Progress::start(Mode::of(global.progress, global.quiet));
    let report = verify(&mut opened.handle, &chosen.options(global), &progress);
    let warnings = chosen.warnings.into_iter().chain(progress.finish()).collect();
    let report = report.map_err(|error| Failure::of(&error, error.kind(), &opened.place))?;
    Ok(done(report, chosen.word, begun, &opened.place, warnings).in_repository(opened.line()))
}

/// What is to be verified, and how deep.
struct Chosen {
    depth: Depth,
    word: &'static str,
    points: Vec<ChunkId>,
    warnings: Vec<WarningLine>,
}

impl Chosen {
    fn options(&self, global: &GlobalArgs) -> VerifyOptions {
        VerifyOptions { depth: self.depth, points: self.points.clone(), threads: global.thread_count() }
    }
}

fn chosen<H: AsReader>(opened: &Opened<H>, args: &VerifyArgs) -> Result<Chosen, Failure> {
    let (reader, place) = (opened.handle.reader(), &opened.place);
    let mut warnings = opened.warnings.clone();
    let mut points = Vec::new();
    for selector in &args.selectors {
        let chosen = choose(reader, selector, place)?;
        warnings.extend(chosen.warnings);
        points.push(chosen.id);
    }
    let (depth, word) = match args.read_data {
        None => (Depth::Quick, "quick"),
        Some(share) if share.0 == 100 => (Depth::ReadData(Share::Whole), "read_data"),
        Some(share) => (Depth::ReadData(Share::Percent(share.0)), "read_data"),
    };
    Ok(Chosen { depth, word, points, warnings })
}

fn done(report: VerifyReport, depth: &str, begun: Instant, place: &str, warnings: Vec<WarningLine>) -> Done {
    let failure = match report.problems.as_slice() {
        [] => None,
        problems => {
            let costs = problems.iter().flat_map(|problem| &problem.costs);
            let mut hurt: Vec<String> = costs.map(|cost| cost.point.to_string()).collect();
            hurt.sort_unstable();
            hurt.dedup();
            let what = match problems {
                [only] => format!("{}: {}", only.object, only.what),
                more => format!("{} objects are damaged or missing", more.len()),
            };
            let what = if depth == "no_key" { what } else { format!("{what}; restore points hurt: {}", hurt.len()) };
            let advice = "mend what can be mended: strongroom repair packs, with --from if there is another repository; what costs no point restores whole";
            Some(Failure::new(Exit::Damaged, what, place, advice))
        }
    };
    let result = VerifyResult {
        depth: depth.to_owned(),
        problems: report.problems.iter().map(problem_line).collect(),
        healed: report.mended.iter().map(mended_line).collect(),
        points_checked: report.points_checked,
        packs_checked: report.packs_checked,
        packs_total: report.packs_total,
        read_bytes: report.bytes_read,
        oldest_verified: report.oldest_verified_ms.map(units::utc),
        elapsed_seconds: begun.elapsed().as_secs_f64(),
    };
    let done = Done::with(result).with_warnings(warnings);
    match failure {
        Some(failure) => done.but(failure),
        None => done,
    }
}

fn mended_line((problem, from): &(Problem, MendedFrom)) -> HealedLine {
    HealedLine { object: problem.object.clone(), what: problem.what.clone(), from: from_word(*from).to_owned() }
}

/// A problem as documents name it.
pub fn problem_line(problem: &Problem) -> ProblemLine {
    ProblemLine {
        object: problem.object.clone(),
        what: problem.what.clone(),
        costs: problem.costs.iter().map(cost_line).collect(),
    }
}

fn cost_line(cost: &Cost) -> CostLine {
    let (part, disk) = match &cost.part {
        Part::Point => ("point", None),
        Part::Home => ("vm_home", None),
        Part::Disk(disk) => ("disk", Some(disk.clone())),
    };
    CostLine {
        point: cost.point.to_string(),
        vm: cost.vm.clone(),
        part: part.to_owned(),
        disk,
        lost_bytes: cost.bytes,
        ranges: cost.ranges.iter().map(range_line).collect(),
    }
}

/// A range as documents name it.
pub fn range_line(range: &std::ops::Range<u64>) -> RangeLine {
    RangeLine { start_bytes: range.start, length_bytes: range.end.saturating_sub(range.start) }
}
