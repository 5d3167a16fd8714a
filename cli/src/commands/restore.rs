//! `strongroom restore`: disks of a point in time come back, and the VM home beside them.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use engine::{
    BadExtents, FileTarget, FileTargetOptions, IfExists, NbdOptions, NbdTarget, NbdUri, Reader, RestoreBase,
    RestoreError, RestoreJob, RestoreOptions, RestoreReport, ShownPoint, Space, Target, UnwrittenTarget, restore,
    restore_home, show,
};
use repo_format::DiskRecord;

use super::{
    Done, check_absent,
    points::{Chosen, choose_parsed, parse},
    refuse_inside_repository,
    verify::{problem_line, range_line},
    warning, write_private,
};
use crate::{
    args::{GlobalArgs, RestoreArgs},
    changed_areas,
    exit::Exit,
    failure::Failure,
    nbd_failure::nbd_failure,
    opening,
    output::{RestoreDisk, RestoreResult, WarningLine},
    progress::{Mode, Progress},
    selector::{Selector, What, When, parse_time},
    terminal, units,
};

/// Brings a point back.
pub fn run(global: &GlobalArgs, args: &RestoreArgs) -> Result<Done, Failure> {
    let begun = Instant::now();
    let selector = selector_at(&args.selector, args.at.as_deref())?;
    if args.overwrite && !args.dry_run {
        terminal::consent(global.yes, "--overwrite replaces what is there: go on?")?;
    }
    if args.in_place && !args.dry_run {
        terminal::consent(global.yes, "--in-place writes over what is there: go on?")?;
    }
    for (path, option) in [(&args.vm_home_out, "--vm-home-out"), (&args.nvram_out, "--nvram-out")] {
        if let Some(path) = path {
            check_absent(path, option)?;
        }
    }
    let repository = opening::repository_path(global)?;
    let opened = opening::writer(global)?;
    let (reader, place) = (&opened.handle, &opened.place);
    let chosen = choose_parsed(reader, &selector, place)?;
    let opened = if args.dry_run { opened.without_pin() } else { opened.pinning(chosen.id) };
    let (reader, place) = (&*opened.handle, &opened.place);
    let shown = show(reader, chosen.id)
        .map_err(|error| Failure::of(&error, error.kind(), format!("point {}, {place}", chosen.id)))?;
    let goals = goals(args, &chosen, &shown, place)?;
    for goal in &goals {
        match &goal.place {
            Place::Path(path) => refuse_inside_repository(path, &repository)?,
            Place::Nbd(uri) if !args.overwrite => return Err(overwritten(uri)),
            Place::Nbd(_) => {}
        }
    }
    let bad: u64 = goals.iter().map(|goal| goal.record.bad_bytes).sum();
    if bad > 0 && args.accept_loss.is_none() {
        let what =
            format!("the point has {bad} bytes that could not be read when it was backed up; nothing was written");
        let place = format!("point {} of {}", chosen.id, chosen.vm);
        return Err(Failure::new(
            Exit::Refused,
            what,
            place,
            "restore another point, or --accept-loss bad-extents: they become zeros",
        ));
    }

    let mut warnings = opened.warnings.clone();
    warnings.extend(chosen.warnings.iter().cloned());
    let base = base_of(reader, args, &chosen, &goals, place, &mut warnings)?;
    let mut result = RestoreResult {
        point: chosen.id.to_string(),
        vm: chosen.vm.clone(),
        time: units::utc(chosen.time_ms),
        dry_run: args.dry_run,
        disks: Vec::new(),
        vm_home_file: None,
        nvram_file: None,
        problems: Vec::new(),
        elapsed_seconds: 0.0,
    };
    // In place, a dry run compares as the real one does, and tells what would be written.
    if args.dry_run && !args.in_place {
        result.disks = goals.iter().map(planned).collect::<Result<_, _>>()?;
        refuse_existing(&goals, args)?;
        result.elapsed_seconds = begun.elapsed().as_secs_f64();
        return Ok(Done::with(result).in_repository(opened.line()).with_warnings(warnings));
    }
    if !args.dry_run {
        write_home(reader, args, &chosen, &mut result, place)?;
    }
    let mut failure = None;
    if !goals.is_empty() {
        let progress = Progress::start(Mode::of(global.progress, global.quiet));
        let outcome = restore_disks(reader, args, &chosen, &goals, base, global.thread_count(), &progress);
        warnings.extend(progress.finish());
        let report = outcome?;
        for (disk, goal) in report.disks.iter().zip(&goals) {
            if disk.tail_bytes > 0 {
                let text = format!(
                    "{} is larger than {}: its last {} bytes are as they were",
                    goal.place, disk.name, disk.tail_bytes
                );
                warnings.push(warning("tail", text));
            }
            if !disk.bad.is_empty() && !args.dry_run {
                warnings.push(warning("bad_extents", list_bad(disk, goal)?));
            }
        }
        result.disks = lines(&report, &goals);
        result.problems = report.problems.iter().map(problem_line).collect();
        failure = damage(&report, &goals, args);
    }
    result.elapsed_seconds = begun.elapsed().as_secs_f64();
    let attention = result.disks.iter().any(|disk| !disk.bad.is_empty());
    let done = Done::with(result).in_repository(opened.line()).with_warnings(warnings);
    Ok(match failure {
        Some(failure) => done.but(failure),
        None if attention => done.ending(Exit::Attention),
        None => done,
    })
}

/// The selector, with `--at` put into it.
pub fn selector_at(text: &str, at: Option<&str>) -> Result<Selector, Failure> {
    let selector = parse(text)?;
    let Some(at) = at else { return Ok(selector) };
    let at = parse_time(at, &jiff::tz::TimeZone::system())
        .map_err(|what| Failure::invalid(what, "--at 2026-11-20T02:00"))?;
    match selector.what {
        What::Bare(name) => Ok(Selector { what: What::Vm { name, when: When::AtOrBefore(at) }, ..selector }),
        What::Vm { name, when: When::Latest(0) } if !text.contains('@') => {
            Ok(Selector { what: What::Vm { name, when: When::AtOrBefore(at) }, ..selector })
        }
        _ => Err(Failure::invalid(
            "--at and the selector both say which point",
            "write the VM's name with --at, or @TIME without it",
        )),
    }
}

/// The point that the targets are said to hold, and what has changed on them since.
fn base_of(
    reader: &Reader,
    args: &RestoreArgs,
    chosen: &Chosen,
    goals: &[Goal<'_>],
    place: &str,
    warnings: &mut Vec<WarningLine>,
) -> Result<Option<RestoreBase>, Failure> {
    let Some(base) = &args.base else { return Ok(None) };
    let base = choose_parsed(reader, &parse(base)?, place).map_err(|failure| Failure {
        exit: Exit::Invalid,
        what: format!("--base: {}", failure.what),
        ..failure
    })?;
    let identity = |id| reader.state().point(id).map(|point| &point.identity);
    if identity(&base.id) != identity(&chosen.id) {
        let what = format!("--base: point {} is of {}, not of {}", base.id, base.vm, chosen.vm);
        return Err(Failure::new(Exit::Invalid, what, place, "name the point that the targets hold, of the same VM"));
    }
    warnings.extend(base.warnings);
    let disks: Vec<(&str, u64)> = goals.iter().map(|goal| (goal.record.name.as_str(), goal.record.bytes)).collect();
    let lists = changed_areas::read_all(&args.changed_areas, &disks)?;
    warnings.extend(lists.warnings);
    Ok(Some(RestoreBase { point: base.id, areas: lists.areas }))
}

/// One disk and where it goes.
struct Goal<'p> {
    record: &'p DiskRecord,
    place: Place,
}

/// Where a disk goes.
enum Place {
    /// A file or device.
    Path(PathBuf),
    /// An export of an NBD server.
    Nbd(NbdUri),
}

impl Place {
    fn parse(text: &str) -> Result<Self, Failure> {
        if !NbdUri::is_meant(text) {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        NbdUri::parse(text)
            .map(Self::Nbd)
            .map_err(|error| Failure::invalid(error, "--disk NAME=nbd://HOST[:PORT]/EXPORT"))
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Nbd(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Nbd(uri) => write!(f, "{uri}"),
        }
    }
}

/// An export holds something already, as a device does.
fn overwritten(uri: &NbdUri) -> Failure {
    Failure::new(Exit::Invalid, "an NBD export is written over; nothing was written", uri, "add --overwrite")
}

fn goals<'p>(
    args: &RestoreArgs,
    chosen: &Chosen,
    shown: &'p ShownPoint,
    place: &str,
) -> Result<Vec<Goal<'p>>, Failure> {
    let disks = &shown.record.disks;
    let find = |name: &str| {
        disks.iter().find(|disk| disk.name == name).ok_or_else(|| {
            if name.to_ascii_lowercase().ends_with(".vmx") {
                let what = "the VMX is not a restore source (VMware advises against it)";
                return Failure::new(Exit::Invalid, what, place, "strongroom show SELECTOR --config");
            }
            let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
            let what = format!("point {} has no disk {name:?}", chosen.id);
            Failure::new(Exit::Invalid, what, place, format!("its disks: {}", names.join(", ")))
        })
    };
    if !args.disks.is_empty() {
        let goal =
            |disk: &crate::args::NamedPath| Ok(Goal { record: find(&disk.name)?, place: Place::parse(&disk.path)? });
        return args.disks.iter().map(goal).collect();
    }
    let Some(folder) = &args.to else { return Ok(Vec::new()) };
    let wanted: Vec<&DiskRecord> = match &chosen.disk {
        Some(name) => vec![find(name)?],
        None => disks.iter().collect(),
    };
    let goal = |record: &'p DiskRecord| {
        let name = format!("{}.img", file_name(&record.name));
        engine::check_file_name(&name).map_err(|error| {
            Failure::new(Exit::Invalid, error, folder.display(), format!("--disk {}=FILE", record.name))
        })?;
        Ok(Goal { record, place: Place::Path(folder.join(name)) })
    };
    let goals = wanted.into_iter().map(goal).collect::<Result<Vec<Goal<'_>>, Failure>>()?;
    let mut paths: Vec<&Path> = goals.iter().filter_map(|goal| goal.place.path()).collect();
    paths.sort_unstable();
    if paths.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        return Err(Failure::invalid("two disks would get one file name", "give each its file: --disk NAME=FILE"));
    }
    Ok(goals)
}

/// A disk such as `scsi0:0` becomes `scsi0_0`: the name comes from a repository and must not leave the folder.
fn file_name(disk: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    disk.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

fn refuse_existing(goals: &[Goal<'_>], args: &RestoreArgs) -> Result<(), Failure> {
    let mut paths = goals.iter().filter_map(|goal| goal.place.path());
    match paths.find(|path| !args.overwrite && fs::symlink_metadata(path).is_ok_and(|about| about.is_file())) {
        Some(path) => Err(exists(path)),
        None => Ok(()),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Exit::Invalid,
        "the target exists; nothing was written",
        path.display(),
        "name another place, or --overwrite",
    )
}

fn planned(goal: &Goal<'_>) -> Result<RestoreDisk, Failure> {
    Ok(RestoreDisk {
        name: goal.record.name.clone(),
        target: goal.place.to_string(),
        size_bytes: goal.record.bytes,
        written_bytes: 0,
        skipped_bytes: 0,
        hole_bytes: 0,
        zeroed_bytes: 0,
        shared_bytes: 0,
        bad: Vec::new(),
        lost: Vec::new(),
        tail_bytes: 0,
    })
}

/// Document and NVRAM, of this point and no other, byte for byte.
fn write_home(
    reader: &Reader,
    args: &RestoreArgs,
    chosen: &Chosen,
    result: &mut RestoreResult,
    place: &str,
) -> Result<(), Failure> {
    if args.vm_home_out.is_none() && args.nvram_out.is_none() {
        return Ok(());
    }
    let home = restore_home(reader, chosen.id).map_err(|error| Failure::of(&error, error.kind(), place))?;
    if let Some(path) = &args.nvram_out {
        let Some((_, bytes)) = &home.nvram else {
            let what = format!("the VM home of point {} has no NVRAM", chosen.id);
            return Err(Failure::new(Exit::Missing, what, place, "leave --nvram-out away"));
        };
        write_private(path, bytes, "--nvram-out")?;
        result.nvram_file = Some(path.display().to_string());
    }
    if let Some(path) = &args.vm_home_out {
        write_private(path, &home.document, "--vm-home-out")?;
        result.vm_home_file = Some(path.display().to_string());
    }
    Ok(())
}

fn restore_disks(
    reader: &Reader,
    args: &RestoreArgs,
    chosen: &Chosen,
    goals: &[Goal<'_>],
    base: Option<RestoreBase>,
    threads: usize,
    progress: &Progress,
) -> Result<RestoreReport, Failure> {
    if let Some(folder) = &args.to {
        fs::create_dir_all(folder).map_err(|error| {
            Failure::new(
                Exit::Invalid,
                format!("the folder cannot be made: {error}"),
                folder.display(),
                "name another folder",
            )
        })?;
    }
    let options = FileTargetOptions {
        if_exists: match (args.in_place, args.overwrite) {
            (true, _) => IfExists::InPlace,
            (false, true) => IfExists::Overwrite,
            (false, false) => IfExists::Refuse,
        },
        space: if args.no_sparse { Space::Reserved } else { Space::Sparse },
    };
    let target = |goal: &Goal<'_>| {
        let name = goal.record.name.clone();
        let target: Arc<dyn Target> = match &goal.place {
            Place::Path(path) => {
                let target = FileTarget::at(path, options);
                unwritten_if_dry(
                    target.map_err(|error| target_failure(&error, &name, &goal.place.to_string()))?,
                    args.dry_run,
                )
            }
            Place::Nbd(uri) => {
                let target = NbdTarget::open(uri, NbdOptions::default());
                unwritten_if_dry(target.map_err(|error| nbd_failure(&error, &name, uri))?, args.dry_run)
            }
        };
        Ok((name, target))
    };
    let disks = goals.iter().map(target).collect::<Result<Vec<_>, Failure>>()?;
    let bad_extents = if args.accept_loss.is_some() { BadExtents::AcceptAsZeros } else { BadExtents::Refuse };
    let job = RestoreJob { point: chosen.id, disks, base };
    restore(reader, &job, &RestoreOptions { threads, bad_extents }, progress).map_err(|error| match &error {
        RestoreError::Target { disk, source } => {
            let goal = goals.iter().find(|goal| goal.record.name == *disk);
            target_failure(source, disk, &goal.map_or_else(|| "the target".to_owned(), |goal| goal.place.to_string()))
        }
        RestoreError::BadExtents { .. } => {
            Failure { exit: Exit::Refused, ..Failure::of(&error, error.kind(), &chosen.vm) }
        }
        RestoreError::NoRoom { .. } => {
            Failure::of(&error, error.kind(), place_of(goals)).with_advice("make room, or name another place")
        }
        _ => Failure::of(&error, error.kind(), place_of(goals)),
    })
}

/// A dry run compares, and writes nothing.
fn unwritten_if_dry(target: impl Target + 'static, dry_run: bool) -> Arc<dyn Target> {
    match dry_run {
        true => Arc::new(UnwrittenTarget(target)),
        false => Arc::new(target),
    }
}

fn place_of(goals: &[Goal<'_>]) -> String {
    goals.iter().map(|goal| goal.place.to_string()).collect::<Vec<_>>().join(", ")
}

fn target_failure(error: &engine::TargetError, disk: &str, place: &str) -> Failure {
    use engine::TargetError;
    match error {
        TargetError::Exists { path } => exists(path),
        TargetError::Missing { .. } => {
            Failure::of(error, error.kind(), disk).with_advice("name what is to be changed, or leave --in-place out")
        }
        TargetError::TooSmall { .. } => {
            Failure::of(error, error.kind(), disk).with_advice("name a target of at least the disk's size")
        }
        TargetError::Full { .. } => Failure::of(error, error.kind(), place)
            .with_advice("make room and run the same command again: it continues"),
        _ => Failure::of(error, error.kind(), format!("{disk} -> {place}")),
    }
}

/// The zeros that stand for what could not be read are listed beside the disk, so that nobody takes them for data.
fn list_bad(disk: &engine::RestoredDisk, goal: &Goal<'_>) -> Result<String, Failure> {
    let Some(path) = goal.place.path() else {
        let ranges: Vec<String> = disk.bad.iter().map(|range| format!("{}-{}", range.start, range.end)).collect();
        return Ok(format!("{}: these bytes were never read and are zeros now: {}", disk.name, ranges.join(", ")));
    };
    let mut list = path.to_owned().into_os_string();
    list.push(".bad");
    let list = PathBuf::from(list);
    let lines: String =
        disk.bad.iter().map(|range| format!("{} {}\n", range.start, range.end.saturating_sub(range.start))).collect();
    fs::write(&list, lines).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("the list of bad extents cannot be written: {error}"),
            list.display(),
            "make room and run it again",
        )
    })?;
    Ok(format!(
        "{}: {} stretches were never read and are zeros now; they are listed in {}",
        disk.name,
        disk.bad.len(),
        list.display()
    ))
}

fn lines(report: &RestoreReport, goals: &[Goal<'_>]) -> Vec<RestoreDisk> {
    let line = |(disk, goal): (&engine::RestoredDisk, &Goal<'_>)| RestoreDisk {
        name: disk.name.clone(),
        target: goal.place.to_string(),
        size_bytes: disk.bytes,
        written_bytes: disk.written_bytes,
        skipped_bytes: disk.skipped_bytes,
        hole_bytes: disk.hole_bytes,
        zeroed_bytes: disk.zeroed_bytes,
        shared_bytes: disk.shared_bytes,
        bad: disk.bad.iter().map(range_line).collect(),
        lost: disk.lost.iter().map(range_line).collect(),
        tail_bytes: disk.tail_bytes,
    };
    report.disks.iter().zip(goals).map(line).collect()
}

/// The good ranges are written, the file keeps the name of an unfinished restore.
fn damage(report: &RestoreReport, goals: &[Goal<'_>], args: &RestoreArgs) -> Option<Failure> {
    let hurt: Vec<&str> = report.disks.iter().filter(|disk| !disk.is_whole()).map(|disk| disk.name.as_str()).collect();
    if hurt.is_empty() && report.problems.is_empty() {
        return None;
    }
    let written = match (args.in_place, args.dry_run) {
        (_, true) => "nothing was written",
        (true, false) => "what is good was written in place, the rest is as it was",
        (false, false) => "what is good was written to NAME.part",
    };
    let what = format!("{} could not be restored whole; {written}", hurt.join(", "));
    let advice =
        "strongroom verify --read-data names what is damaged; copy those objects back, or restore another point";
    Some(Failure::new(Exit::Damaged, what, place_of(goals), advice))
}
