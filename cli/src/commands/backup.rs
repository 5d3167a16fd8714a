//! `strongroom backup`: all disks of a VM become one restore point, or none.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use engine::{
    AuditReport, AuditShare, BackupJob, BackupOptions, BackupReport, ChangedAreas, Changes, DiskReport, HomeSource,
    HowRead, JobDisk, OnBad, backup, rehearse_backup,
};
use repo_format::{Completeness, Consistency, VmIdentity};

use super::{
    Done,
    points::{self, verdict_line},
    warning,
};
use crate::{
    args::{AuditChoice, BackupArgs, BadChoice, GlobalArgs},
    changed_areas::{self, AreaLists},
    exit::Exit,
    failure::Failure,
    opening,
    opening::Opened,
    output::{AuditLine, BackupDisk, BackupResult, HeadLine, RangeLine, RepositoryLine, WarningLine},
    progress::{Mode, Progress},
    sources::{self, NamedSource},
    vm_home_file,
};

/// Backs up one VM.
pub fn run(global: &GlobalArgs, args: &BackupArgs) -> Result<Done, Failure> {
    let begun = Instant::now();
    let (vm, named) = sources::name_sources(args.vm.as_deref(), &args.sources, &args.disks)?;
    let identity = VmIdentity::named(&vm).map_err(|error| Failure::invalid(error, "--vm NAME"))?;
    let raw_for_certain = args.format.is_some();
    let open = |source: &NamedSource| sources::open(source, raw_for_certain).map(|open| (source.name.clone(), open));
    let disks = named.iter().map(open).collect::<Result<Vec<_>, Failure>>()?;
    let home = match &args.vm_home {
        Some(document) => Some(vm_home_file::capture(document, args.nvram.as_deref())?),
        None => None,
    };
    let disk = |(name, source)| JobDisk { name, uuid: None, change_id: None, read_whole: None, source };
    let disks: Vec<JobDisk<'_>> = disks.into_iter().map(disk).collect();
    let sizes: Vec<(&str, u64)> = disks.iter().map(|disk| (disk.name.as_str(), disk.source.bytes())).collect();
    let mut lists = AreaLists::default();
    let files = changed_areas::ask_for_bitmaps(&args.changed_areas, &disks, &mut lists)?;
    changed_areas::read_into(&files, &sizes, &mut lists)?;
    let mut job = BackupJob {
        identity,
        vm_name: vm.clone(),
        disks,
        changes: None,
        home: home.map(|home| Box::new(home) as Box<dyn HomeSource>),
        tag: args.tag.clone(),
        hold: args.hold.clone(),
        consistency: Consistency::Unknown,
        recorded: None,
    };
    let on_bad = match args.on_bad {
        BadChoice::Keep => OnBad::Keep,
        BadChoice::Fail => OnBad::Fail,
    };
    let options = BackupOptions { threads: global.thread_count(), compression: args.compression, on_bad };
    let mut opened = opening::writer(global)?;
    if let Some(parent) = &args.parent {
        let AreaLists { areas, warnings } = lists;
        opened.warnings.extend(warnings);
        job.changes = Some(changes(&mut opened, args, parent, areas)?);
    }
    let progress = Progress::start(Mode::of(global.progress, global.quiet));
    let repository = opened.handle.config().repository.to_string();
    let report = match args.dry_run {
        true => rehearse_backup(opened.handle, &job, &options, &progress),
        false => backup(&mut opened.handle, &job, &options, &progress),
    };
    let warnings = progress.finish();
    let report =
        report.map_err(|error| Failure::of(&error, error.kind(), format!("{vm}, repository {}", opened.place)))?;

    let mut done_warnings = opened.warnings.split_off(0);
    done_warnings.extend(warnings);
    let (about, exit) = warnings_of(&vm, &report);
    done_warnings.extend(about);
    let line = RepositoryLine { id: repository, head: HeadLine::of(report.head) };
    let result = BackupResult { dry_run: args.dry_run, ..result_of(&report, begun.elapsed()) };
    let result = if args.dry_run { BackupResult { point: None, ..result } } else { result };
    Ok(Done::with(result).in_repository(line).with_warnings(done_warnings).ending(exit))
}

/// A backup as it is told.
pub(super) fn result_of(report: &BackupReport, elapsed: Duration) -> BackupResult {
    BackupResult {
        point: Some(report.point.to_string()),
        number: Some(report.number),
        vm: report.vm_name.clone(),
        dry_run: false,
        disks: report.disks.iter().map(disk_line).collect(),
        verdict: Some(verdict_line(&report.verdict)),
        head: HeadLine::of(report.head),
        stored_bytes: report.stored_bytes,
        adopted_packs: report.adopted_packs,
        elapsed_seconds: elapsed.as_secs_f64(),
    }
}

/// What a person should know about the disks of a backup, and whether somebody has to look at it.
pub(super) fn warnings_of(vm: &str, report: &BackupReport) -> (Vec<WarningLine>, Exit) {
    let mut warnings = Vec::new();
    for bad in report.disks.iter().filter(|disk| disk.bad_bytes > 0) {
        let text =
            format!("{vm} {}: {} bytes could not be read and are recorded as bad extents", bad.name, bad.bad_bytes);
        warnings.push(warning("bad_extents", text));
    }
    let mut audit_missed = false;
    for disk in &report.disks {
        warnings.extend(how_warning(vm, disk));
        audit_missed |= disk.audit.as_ref().is_some_and(|audit| audit.missed_segments > 0);
    }
    let incomplete = report.completeness == Completeness::Incomplete;
    if incomplete {
        let text = format!("point {} is incomplete: it restores {}", report.point, report.verdict);
        warnings.push(warning("incomplete", text));
    }
    (warnings, if incomplete || audit_missed { Exit::Attention } else { Exit::Done })
}

/// The share of the audit.
pub(super) fn audit_share(read_all: bool, choice: Option<AuditChoice>) -> AuditShare {
    match (read_all, choice) {
        (true, _) => AuditShare::ALL,
        (false, None) => AuditShare::default(),
        (false, Some(AuditChoice(percent))) => match NonZeroU64::new(u64::from(percent)) {
            None => AuditShare::Off,
            // At least so many percent.
            Some(percent) => AuditShare::OneIn(NonZeroU64::new(100 / percent).unwrap_or(NonZeroU64::MIN)),
        },
    }
}

fn disk_line(disk: &DiskReport) -> BackupDisk {
    BackupDisk {
        name: disk.name.clone(),
        size_bytes: disk.bytes,
        data_bytes: disk.data_bytes,
        hole_bytes: disk.hole_bytes,
        bad_bytes: disk.bad_bytes,
        read_bytes: disk.read_bytes,
        changed_bytes: disk.changed_bytes,
        new_bytes: disk.novel_bytes,
        stored_bytes: disk.stored_bytes,
        map_root: Some(disk.map_root.to_string()),
        read: how_word(&disk.how).to_owned(),
        full_read_reason: full_read_reason(&disk.how),
        parent: match &disk.how {
            HowRead::ChangedAreas { parent, .. } => Some(parent.to_string()),
            HowRead::Whole { .. } => None,
        },
        changed_areas: match &disk.how {
            HowRead::ChangedAreas { areas, .. } => Some(*areas),
            HowRead::Whole { .. } => None,
        },
        changed_area_bytes: match &disk.how {
            HowRead::ChangedAreas { area_bytes, .. } => Some(*area_bytes),
            HowRead::Whole { .. } => None,
        },
        audit: disk.audit.as_ref().map(audit_line),
    }
}

fn how_word(how: &HowRead) -> &'static str {
    match how {
        HowRead::Whole { .. } => "whole",
        HowRead::ChangedAreas { .. } => "changed_areas",
    }
}

fn full_read_reason(how: &HowRead) -> Option<String> {
    match how {
        HowRead::Whole { reason } => reason.as_ref().map(ToString::to_string),
        HowRead::ChangedAreas { .. } => None,
    }
}

fn audit_line(audit: &AuditReport) -> AuditLine {
    let line = |range: &std::ops::Range<u64>| RangeLine {
        start_bytes: range.start,
        length_bytes: range.end.saturating_sub(range.start),
    };
    AuditLine {
        one_in: audit.one_in,
        bound_points: audit.one_in,
        sampled_segments: audit.segments,
        sampled_bytes: audit.read_bytes,
        missed_segments: audit.missed_segments,
        misses: audit.misses.iter().map(line).collect(),
    }
}

/// What a person should know about how a disk was read.
fn how_warning(vm: &str, disk: &DiskReport) -> Option<WarningLine> {
    let reason = full_read_reason(&disk.how)?;
    let name = &disk.name;
    let misses = disk.audit.as_ref().map(|audit| audit.misses.as_slice()).unwrap_or_default();
    match misses.first() {
        None => Some(warning("full_read", format!("{vm} {name}: read whole: {reason}"))),
        Some(first) => {
            let text = format!(
                "{vm} {name}: read whole: {reason}, the first at byte {}; do not trust this change tracking until it was \
                 reset",
                first.start
            );
            Some(warning("audit_miss", text))
        }
    }
}

/// Finds the parent. One that cannot be found is a wrong command line: a guessed parent would be silent corruption.
fn changes(
    opened: &mut Opened<engine::Writer>,
    args: &BackupArgs,
    parent: &str,
    areas: Vec<(String, ChangedAreas)>,
) -> Result<Changes, Failure> {
    let chosen = points::choose(&opened.handle, parent, &opened.place).map_err(|failure| Failure {
        exit: Exit::Invalid,
        what: format!("--parent: {}", failure.what),
        ..failure
    })?;
    if chosen.disk.is_some() {
        return Err(Failure::invalid("--parent names a disk", "name a restore point: its disks go by their names"));
    }
    opened.warnings.extend(chosen.warnings);
    let audit = audit_share(args.read_all, args.audit);
    Ok(Changes { parent: chosen.id, areas, audit })
}
