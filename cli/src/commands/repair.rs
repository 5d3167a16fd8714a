//! `strongroom repair`: what is damaged is mended, and nothing is taken away.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use engine::{
    Healed, HealedFrom, MendedFrom, Name, Prefix, RebuildError, RebuildReport, RepairMode, RepairOptions, RepairReport,
    RepairSources, Store, rebuild_index, rebuild_log, repair,
};
use repo_format::{CONFIG_BYTES, Config};

use super::{Done, verify::problem_line};
use crate::{
    args::{FromArgs, GlobalArgs, RepairArgs, RepairWhat},
    exit::Exit,
    failure::Failure,
    opening::{self, Opened},
    output::{HeadLine, HealedLine, ProblemLine, RebuiltLine, RepairResult, RepositoryLine},
    progress::{Mode, Progress},
    secrets::{self, Secret},
    terminal,
};

/// Memory for opened frames of the other repository.
const CACHE_BYTES: u64 = 128 << 20;
const LOG_ASIDE: &str = "bring the log back from a copy; if there is none, move the folder log/ aside, make an empty one, and run the same command again";

/// Repairs, or says what is wrong and what would be done.
pub fn run(global: &GlobalArgs, args: &RepairArgs) -> Result<Done, Failure> {
    match args.what {
        Some(RepairWhat::Points) => Err(Failure::not_built("repair points")),
        Some(RepairWhat::Index) => index(global, args),
        Some(RepairWhat::Packs) if !args.dry_run => packs(global, args, RepairMode::Mend),
        Some(RepairWhat::Packs) | None => packs(global, args, RepairMode::Plan),
    }
}

fn packs(global: &GlobalArgs, args: &RepairArgs, mode: RepairMode) -> Result<Done, Failure> {
    let begun = Instant::now();
    let mut opened = opening::writer(global)?;
    let mut warnings = std::mem::take(&mut opened.warnings);
    let other = args.from().map(|from| Other::open(global, &from, &opened)).transpose()?;
    if let Some(Other::Repository(other)) = &other {
        warnings.extend(other.warnings.iter().cloned());
    }
    let sources = match &other {
        None => RepairSources::default(),
        Some(Other::Copy(store)) => RepairSources { copy: Some(Arc::clone(store)), other: None },
        Some(Other::Repository(other)) => RepairSources { copy: None, other: Some(&other.handle) },
    };
    if mode == RepairMode::Mend {
        terminal::consent(global.yes, "damaged objects will be replaced by mended ones: go on?")?;
    }
    let options =
        RepairOptions { mode, threads: global.thread_count(), compression: args.compression, cache_bytes: CACHE_BYTES };
    let progress = Progress::start(Mode::of(global.progress, global.quiet));
    let report = repair(&mut opened.handle, &sources, &options, &progress);
    warnings.extend(progress.finish());
    let report = report.map_err(|error| Failure::of(&error, error.kind(), &opened.place))?;
    let failure = failure(&report, other.is_some(), &opened.place);
    let result = RepairResult {
        dry_run: mode == RepairMode::Plan,
        findings: report.findings.iter().map(problem_line).collect(),
        healed: report.healed.iter().map(healed_line).collect(),
        lost: report.lost.iter().map(problem_line).collect(),
        marked: report.marked.iter().map(ToString::to_string).collect(),
        stored_bytes: report.stored_bytes,
        packs_checked: report.packs_checked,
        read_bytes: report.bytes_read,
        rebuilt: None,
        elapsed_seconds: begun.elapsed().as_secs_f64(),
    };
    let done = Done::with(result).in_repository(opened.line()).with_warnings(warnings);
    Ok(match failure {
        Some(failure) => done.but(failure),
        None => done,
    })
}

/// What is left: lost content is damage; what no point needs only wants a look.
fn failure(report: &RepairReport, had_from: bool, place: &str) -> Option<Failure> {
    let first = report.lost.first()?;
    let hurt: std::collections::BTreeSet<_> =
        report.lost.iter().flat_map(|problem| &problem.costs).map(|cost| cost.point).collect();
    let what = format!("{}: {}; restore points hurt: {}", first.object, first.what, hurt.len());
    let what = if report.lost.len() == 1 { what } else { format!("{what}; {} problems in all", report.lost.len()) };
    Some(match (report.is_anything_lost(), had_from) {
        (false, _) => {
            Failure::new(Exit::Attention, what, place, "no restore point needs it; the next prune may remove it")
        }
        (true, true) => Failure::new(
            Exit::Attention,
            what,
            place,
            "the other repository does not have this; back the VMs up again: what they still hold is stored again",
        ),
        (true, false) => Failure::new(
            Exit::Damaged,
            what,
            place,
            "strongroom repair packs --from ANOTHER REPOSITORY, or back the VMs up again: what they still hold is stored again",
        ),
    })
}

/// The repository that is repaired from.
enum Other {
    /// The same one, file by file.
    Copy(Arc<dyn Store>),
    Repository(Box<Opened<engine::Reader>>),
}

impl Other {
    fn open(global: &GlobalArgs, from: &FromArgs, ours: &Opened<engine::Writer>) -> Result<Self, Failure> {
        let (store, path) = opening::store_from(global, from)?;
        let mut configs = [Name::config(), Name::config_copy()].into_iter().filter_map(|name| {
            let bytes = store.get(&name, CONFIG_BYTES as u64).ok()??;
            Config::decode(&bytes).ok()
        });
        if configs.any(|config| config.repository() == ours.handle.config().repository) {
            let is_itself = path
                .canonicalize()
                .ok()
                .is_some_and(|path| std::path::Path::new(&ours.place).canonicalize().is_ok_and(|ours| ours == path));
            return match is_itself {
                true => Err(Failure::invalid("--from names the repository that is to be repaired", "name another one")),
                false => Ok(Self::Copy(store)),
            };
        }
        Ok(Self::Repository(Box::new(opening::reader_from(global, from)?)))
    }
}

fn index(global: &GlobalArgs, args: &RepairArgs) -> Result<Done, Failure> {
    let begun = Instant::now();
    let (store, path) = opening::store(global)?;
    let place = path.display().to_string();
    let done = |report: &RebuildReport, log| RepairResult {
        dry_run: args.dry_run,
        lost: report.problems.iter().map(problem_line).collect(),
        rebuilt: Some(RebuiltLine { log, packs: report.packs, points: report.points }),
        ..empty(begun)
    };
    let ending = |report: &RebuildReport, log| {
        let exit = if report.problems.is_empty() { Exit::Done } else { Exit::Attention };
        Done::with(done(report, log)).ending(exit)
    };
    if !is_log_lost(store.as_ref()) {
        let opened = opening::writer(global).map_err(|failure| match failure.exit {
            Exit::Damaged => failure.with_advice(LOG_ASIDE),
            _ => failure,
        });
        let mut opened = opened?;
        if !args.dry_run {
            terminal::consent(global.yes, "the local index will be made anew: go on?")?;
        }
        let report = match args.dry_run {
            true => RebuildReport { packs: 0, points: 0, problems: Vec::new(), head: opened.handle.head() },
            false => rebuild_index(&mut opened.handle).map_err(|error| rebuild_failure(&error, &place))?,
        };
        let line = opened.line();
        return Ok(ending(&report, false).in_repository(line).with_warnings(opened.warnings));
    }
    if args.dry_run {
        let lost = ProblemLine {
            object: "log".to_owned(),
            what: "is lost; it can be written anew from packs and a key slot".to_owned(),
            costs: Vec::new(),
        };
        let report = RepairResult { dry_run: true, findings: vec![lost], rebuilt: None, ..empty(begun) };
        return Ok(Done::with(report));
    }
    terminal::consent(
        global.yes,
        "the log is lost; a new one will be written, in which what was forgotten is back: go on?",
    )?;
    let environment = opening::environment(global, store)?;
    let Secret { secret, warnings } = secrets::read(&secrets::choose_here(&global.secrets())?, false)?;
    let progress = Progress::start(Mode::of(global.progress, global.quiet));
    let rebuilt = rebuild_log(environment, &secret, &progress);
    let mut said = progress.finish();
    let (writer, report) = rebuilt.map_err(|error| rebuild_failure(&error, &place))?;
    said.extend(warnings.into_iter().map(|text| super::warning("secret", text)));
    let told = format!(
        "other machines that know this repository refuse the new log until they are told: --accept-rollback {}",
        report.head.digest
    );
    said.push(super::warning("new_log", told));
    let line = RepositoryLine { id: writer.config().repository.to_string(), head: HeadLine::of(report.head) };
    Ok(ending(&report, true).in_repository(line).with_warnings(said))
}

fn empty(begun: Instant) -> RepairResult {
    RepairResult {
        dry_run: false,
        findings: Vec::new(),
        healed: Vec::new(),
        lost: Vec::new(),
        marked: Vec::new(),
        stored_bytes: 0,
        packs_checked: 0,
        read_bytes: 0,
        rebuilt: None,
        elapsed_seconds: begun.elapsed().as_secs_f64(),
    }
}

fn rebuild_failure(error: &RebuildError, place: &str) -> Failure {
    let failure = Failure::of(error, error.kind(), place);
    match error {
        RebuildError::LogIsThere { .. } => failure.with_advice(LOG_ASIDE),
        _ => failure,
    }
}

/// There is a repository, and not one entry of its log.
fn is_log_lost(store: &dyn Store) -> bool {
    let mut entries = 0_u64;
    let listed = store.list(Prefix::Log, &mut |_| {
        entries += 1;
        ControlFlow::Break(())
    });
    let is_there = [Name::config(), Name::config_copy()].iter().any(|name| matches!(store.size(name), Ok(Some(_))));
    listed.is_ok() && entries == 0 && is_there
}

/// As documents name it.
pub fn healed_line(healed: &Healed) -> HealedLine {
    let from = match healed.from {
        HealedFrom::Pack(from) => from_word(from),
        HealedFrom::Twin => "twin",
        HealedFrom::OtherRepository => "other_repository",
    };
    HealedLine { object: healed.object.clone(), what: healed.what.clone(), from: from.to_owned() }
}

/// What a pack was mended from, as documents name it.
pub fn from_word(from: MendedFrom) -> &'static str {
    match from {
        MendedFrom::Parity => "parity",
        MendedFrom::OtherCopy => "other_copy",
    }
}
