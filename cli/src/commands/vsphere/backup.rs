//! `strongroom vsphere backup`: VMs of a vCenter, one after another; each becomes a restore point or says why not.

use std::time::{Duration, Instant};

use engine::{BackupOptions, Kind, OnBad};
use repo_format::Consistency;
use vsphere::{
    CleanupMode, Session, Stop, VmSummary,
    backup::{
        Note, NoteKind, QuiesceWish, Reader, SeenVm, TrackingWish, Unquiet, VmBackupError, VmBackupOptions,
        WatchLimits, back_up_vm,
    },
    clean_up, find_vm, list_vms,
    preflight::{find_proxy, product_uuid},
    transport::{Proxy, Transport, Transports},
    vddk::Launch,
};

use super::connect::{Connected, connect};
use crate::{
    args::{BadChoice, DiskAccessArgs, GlobalArgs, QuiesceChoice, VsphereBackupArgs},
    commands::{Done, backup as plain, warning},
    exit::Exit,
    failure::Failure,
    opening::{self, Opened},
    output::{VsphereBackupResult, VsphereRun, WarningLine},
    progress::{Mode, Progress},
    signals,
};

/// Between two tries to make a guest quiet.
const QUIESCE_PAUSE: Duration = Duration::from_secs(30);

/// Backs up VMs.
pub fn run(global: &GlobalArgs, args: &VsphereBackupArgs) -> Result<Done, Failure> {
    let mut options = options(global, args)?;
    let mut opened = opening::writer(global)?;
    let Connected { session, warnings } = connect(global, &args.vcenter)?;
    opened.warnings.extend(warnings);
    options.proxy = proxy_of(&session, &options.transports);
    let mut result = VsphereBackupResult { runs: Vec::new(), undone: Vec::new() };
    let mut worst = undo_leftovers(&session, &mut opened, args, &mut result)?;
    let vms = chosen(&session, args, &mut opened.warnings)?;
    let progress = Progress::start(Mode::of(global.progress, global.quiet));
    let mut first_failure = None;
    for vm in &vms {
        let (run, about, ending) = one(&mut opened, &session, vm, &options, args.dry_run, &progress);
        opened.warnings.extend(about);
        result.runs.push(run);
        match ending {
            Ok(exit) if worst == Exit::Done => worst = exit,
            Ok(_) => {}
            Err(failure) => {
                let interrupted = matches!(failure.exit, Exit::Interrupted | Exit::Terminated);
                first_failure.get_or_insert(failure);
                if interrupted {
                    break;
                }
            }
        }
    }
    let about_progress = progress.finish();
    let warnings: Vec<WarningLine> = opened.warnings.drain(..).chain(about_progress).collect();
    let done = Done::with(result).in_repository(opened.line()).with_warnings(warnings);
    Ok(match first_failure {
        Some(failure) => done.but(failure),
        None => done.ending(worst),
    })
}

/// How disks are read, checked before anything is opened.
pub(super) fn reader(args: &DiskAccessArgs) -> Result<Reader, Failure> {
    if let Some(line) = &args.reader_command {
        let advice = "quote it as a shell would want it";
        let words = shell_words::split(line)
            .map_err(|error| Failure::invalid(format!("--reader-command {line:?}: {error}"), advice))?;
        if words.is_empty() {
            return Err(Failure::invalid("--reader-command is empty", "name the command that serves a disk over NBD"));
        }
        let libdir = args.vddk_libdir.as_ref().map(|folder| folder.display().to_string()).unwrap_or_default();
        return Ok(Reader::Command { words, libdir });
    }
    if let Some(template) = args.reader.strip_prefix("nbd:") {
        return Ok(Reader::Nbd(template.to_owned()));
    }
    if args.reader != "vddk" {
        return Err(Failure::invalid(format!("--reader {}: no such reader", args.reader), "--reader vddk, or nbd:URI"));
    }
    match &args.vddk_libdir {
        Some(folder) => Ok(Reader::Vddk(Launch::new(folder).stopping(Stop::when(signals::stopped)))),
        None => Err(Failure::invalid(
            "VMware's disk library is not named",
            "--vddk-libdir DIR (its licence forbids to ship it), or --reader nbd:URI",
        )),
    }
}

/// What this machine is fit for, where that matters.
pub(super) fn proxy_of(session: &Session, transports: &Transports) -> Proxy {
    match transports.list().contains(&Transport::Hotadd) {
        true => find_proxy(session, product_uuid().as_deref()),
        false => Proxy::Elsewhere,
    }
}

/// The ways to disks.
pub(super) fn transports(args: &DiskAccessArgs) -> Result<Transports, Failure> {
    args.transport.parse().map_err(|error| Failure::invalid(format!("--transport: {error}"), "--transport nbdssl"))
}

fn options(global: &GlobalArgs, args: &VsphereBackupArgs) -> Result<VmBackupOptions, Failure> {
    Ok(VmBackupOptions {
        quiesce: match args.quiesce {
            QuiesceChoice::None => QuiesceWish::No,
            QuiesceChoice::FileSystem => QuiesceWish::FileSystem,
            // Of all VMs an encrypted one is no mistake of whoever asked for all.
            QuiesceChoice::Application if args.all => QuiesceWish::ApplicationIfClear,
            QuiesceChoice::Application => QuiesceWish::Application,
        },
        unquiet: if args.require_quiesce { Unquiet::Fail } else { Unquiet::BackUp },
        quiesce_pause: QUIESCE_PAUSE,
        watch: WatchLimits {
            age_max: Duration::from_millis(args.snapshot_age_max),
            free_percent_min: args.datastore_free_min,
            ..WatchLimits::default()
        },
        tracking: if args.no_enable_cbt { TrackingWish::Leave } else { TrackingWish::SwitchOn },
        audit: plain::audit_share(args.read_all, args.audit),
        transports: transports(&args.disks)?,
        proxy: Proxy::Elsewhere,
        reader: reader(&args.disks)?,
        engine: BackupOptions {
            threads: global.thread_count(),
            compression: args.compression,
            on_bad: match args.on_bad {
                BadChoice::Keep => OnBad::Keep,
                BadChoice::Fail => OnBad::Fail,
            },
        },
        tag: args.tag.clone(),
        hold: args.hold.clone(),
    })
}

/// What killed runs have left goes first: an old snapshot grows with every write.
fn undo_leftovers(
    session: &Session,
    opened: &mut Opened<engine::Writer>,
    args: &VsphereBackupArgs,
    result: &mut VsphereBackupResult,
) -> Result<Exit, Failure> {
    if args.dry_run {
        return Ok(Exit::Done);
    }
    let environment = opened.handle.environment();
    let repository = opened.handle.config().repository;
    let cleaned = clean_up(session, &environment.state, &repository, &environment.host, CleanupMode::Undo)
        .map_err(|error| Failure::of(&error, error.kind(), format!("vcenter {}", session.server())))?;
    result.undone = cleaned.undone;
    let exit = if cleaned.left.is_empty() { Exit::Done } else { Exit::Attention };
    opened.warnings.extend(cleaned.left.into_iter().map(|text| warning("leftover", text)));
    Ok(exit)
}

/// The VMs that are meant, each once.
fn chosen(
    session: &Session,
    args: &VsphereBackupArgs,
    warnings: &mut Vec<WarningLine>,
) -> Result<Vec<VmSummary>, Failure> {
    let place = format!("vcenter {}", session.server());
    if !args.all {
        let mut vms: Vec<VmSummary> = Vec::new();
        for wanted in &args.vms {
            let vm = find_vm(session, wanted).map_err(|error| Failure::of(&error, error.kind(), &place))?;
            if !vms.iter().any(|there| there.vm == vm.vm) {
                vms.push(vm);
            }
        }
        return Ok(vms);
    }
    let list = list_vms(session).map_err(|error| Failure::of(&error, error.kind(), &place))?;
    warnings.extend(list.unreadable.iter().map(|error| warning("vm_unreadable", error.to_string())));
    let mut vms: Vec<VmSummary> = list.vms.into_iter().filter(|vm| !vm.is_template).collect();
    vms.retain(|vm| !args.exclude.iter().any(|pattern| matches(pattern, &vm.name)));
    vms.sort_by(|one, other| one.name.cmp(&other.name));
    if vms.is_empty() {
        return Err(Failure::new(
            Exit::Missing,
            "no VM is left to back up",
            place,
            "check --exclude and the user's rights",
        ));
    }
    Ok(vms)
}

/// A pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

type OneRun = (VsphereRun, Vec<WarningLine>, Result<Exit, Failure>);

/// One VM.
fn one(
    opened: &mut Opened<engine::Writer>,
    session: &Session,
    vm: &VmSummary,
    options: &VmBackupOptions,
    dry_run: bool,
    progress: &Progress,
) -> OneRun {
    let begun = Instant::now();
    let mut run = VsphereRun {
        vm: vm.name.clone(),
        outcome: "planned".to_owned(),
        backup: None,
        encryption: None,
        consistency: None,
        error: None,
        r#try: None,
    };
    if dry_run {
        return match SeenVm::look(session, vm).and_then(|seen| Ok((seen.check(options)?, seen.encryption_word()))) {
            Ok((notes, encryption)) => {
                run.encryption = Some(encryption.to_owned());
                let exit = exit_of(&notes);
                (run, lines(&notes), Ok(exit))
            }
            Err(error) => failed(run, &error, Vec::new()),
        };
    }
    let mut notes = Vec::new();
    match back_up_vm(&mut opened.handle, session, vm, options, progress, &mut notes) {
        Ok(done) => {
            let (mut about, exit) = plain::warnings_of(&vm.name, &done.backup);
            about.extend(lines(&notes));
            let exit = if exit == Exit::Done { exit_of(&notes) } else { exit };
            run.outcome = if exit == Exit::Done { "done" } else { "attention" }.to_owned();
            run.encryption = Some(done.encryption.to_owned());
            run.consistency = Some(consistency_word(done.consistency).to_owned());
            run.backup = Some(plain::result_of(&done.backup, begun.elapsed()));
            (run, about, Ok(exit))
        }
        Err(error) => failed(run, &error, lines(&notes)),
    }
}

fn failed(mut run: VsphereRun, error: &VmBackupError, about: Vec<WarningLine>) -> OneRun {
    let failure = Failure::of(error, error.kind(), &run.vm);
    let failure = match error.hint() {
        Some(hint) => failure.with_advice(hint),
        None if error.kind() == Kind::Failed => failure.with_advice("see what is missing: strongroom vsphere doctor"),
        None => failure,
    };
    run.outcome = "failed".to_owned();
    run.error = Some(failure.what.clone());
    run.r#try = Some(failure.advice.clone());
    (run, about, Err(failure))
}

fn lines(notes: &[Note]) -> Vec<WarningLine> {
    notes.iter().map(|note| warning(note.code, note.text.clone())).collect()
}

fn exit_of(notes: &[Note]) -> Exit {
    match notes.iter().any(|note| note.kind == NoteKind::Attention) {
        true => Exit::Attention,
        false => Exit::Done,
    }
}

fn consistency_word(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Unknown => "unknown",
        Consistency::Crash => "crash",
        Consistency::FileSystem => "file_system",
        Consistency::Application => "application",
        Consistency::PoweredOff => "powered_off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, fits) in [
            ("web01", "web01", true),
            ("web01", "web011", false),
            ("test-*", "test-7", true),
            ("test-*", "a-test-7", false),
            ("*-old", "web-old", true),
            ("*a*b*", "xxaxxbxx", true),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
