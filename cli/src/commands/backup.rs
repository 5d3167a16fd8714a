//! `strongroom backup`: all disks of a VM become one restore point, or none.

use std::time::Instant;

use engine::{BackupJob, BackupOptions, DiskReport, JobDisk, OnBad, backup, rehearse_backup};
use repo_format::{Completeness, Consistency, VmIdentity};

use super::{Done, points::verdict_line, warning};
use crate::{
    args::{BackupArgs, BadChoice, GlobalArgs},
    exit::Exit,
    failure::Failure,
    opening,
    output::{BackupDisk, BackupResult, HeadLine, RepositoryLine},
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
    let disk = |(name, source)| JobDisk { name, uuid: None, source };
    let job = BackupJob {
        identity,
        vm_name: vm.clone(),
        disks: disks.into_iter().map(disk).collect(),
        home,
        tag: args.tag.clone(),
        consistency: Consistency::Unknown,
    };
    let on_bad = match args.on_bad {
        BadChoice::Keep => OnBad::Keep,
        BadChoice::Fail => OnBad::Fail,
    };
    let options = BackupOptions { threads: global.thread_count(), compression: args.compression, on_bad };
    let mut opened = opening::writer(global)?;
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
    for bad in report.disks.iter().filter(|disk| disk.bad_bytes > 0) {
        let text =
            format!("{vm} {}: {} bytes could not be read and are recorded as bad extents", bad.name, bad.bad_bytes);
        done_warnings.push(warning("bad_extents", text));
    }
    let incomplete = report.completeness == Completeness::Incomplete;
    if incomplete {
        let text = format!("point {} is incomplete: it restores {}", report.point, report.verdict);
        done_warnings.push(warning("incomplete", text));
    }
    let head = HeadLine::of(report.head);
    let line = RepositoryLine { id: repository, head: head.clone() };
    let result = BackupResult {
        point: (!args.dry_run).then(|| report.point.to_string()),
        number: Some(report.number),
        vm,
        dry_run: args.dry_run,
        disks: report.disks.iter().map(disk_line).collect(),
        verdict: Some(verdict_line(&report.verdict)),
        head,
        stored_bytes: report.stored_bytes,
        adopted_packs: report.adopted_packs,
        elapsed_seconds: begun.elapsed().as_secs_f64(),
    };
    let exit = if incomplete { Exit::Attention } else { Exit::Done };
    Ok(Done::with(result).in_repository(line).with_warnings(done_warnings).ending(exit))
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
    }
}
