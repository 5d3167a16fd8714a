//! `strongroom vsphere doctor`

use engine::Kind;
use vsphere::{
    InventoryError, Session, VmSummary,
    backup::QuiesceWish,
    find_vm, list_vms,
    preflight::{Chosen, Finding, PreflightOptions, PreflightReader, State, preflight, product_uuid, unreadable_vm},
    transport::Transports,
};

use super::{connect::connect, points};
use crate::{
    args::{DiskAccessArgs, DoctorArgs, GlobalArgs, QuiesceChoice},
    commands::Done,
    exit::Exit,
    failure::Failure,
    output::{CheckLine, DoctorResult},
};

/// Runs it.
pub fn run(global: &GlobalArgs, args: &DoctorArgs) -> Result<Done, Failure> {
    if args.points {
        return look_at_points(global, args);
    }
    let reader = reader_of(&args.disks)?;
    let connected = connect(global, &args.vcenter)?;
    let session = &connected.session;
    let place = format!("vcenter {}", session.server());
    let chosen = if args.vms.is_empty() { Chosen::All } else { Chosen::ByName };
    let (vms, mut findings) = chosen_vms(session, &args.vms)?;
    let quiesce = match args.quiesce {
        QuiesceChoice::None => QuiesceWish::No,
        QuiesceChoice::FileSystem => QuiesceWish::FileSystem,
        QuiesceChoice::Application => QuiesceWish::Application,
    };
    let options = PreflightOptions { reader, quiesce, chosen, product_uuid: product_uuid() };
    findings.extend(preflight(session, &vms, &options));
    findings.sort_by_key(|finding| finding.check);

    let worst = worst(&findings);
    let problems = findings.iter().filter(|finding| finding.state.kind().is_some()).count();
    let result = DoctorResult { checks: findings.into_iter().map(line).collect() };
    let done = Done::with(result).with_warnings(connected.warnings);
    Ok(match worst {
        State::Problem(kind) => {
            let what = format!("{problems} checks found what a backup would fail by");
            done.but(Failure::new(Exit::of(kind), what, place, "mend what is marked PROBLEM, then run this again"))
        }
        State::Warning => done.ending(Exit::Attention),
        State::Ok | State::Note => done,
    })
}

/// Every restore point against the keys and policies of today.
fn look_at_points(global: &GlobalArgs, args: &DoctorArgs) -> Result<Done, Failure> {
    let connected = connect(global, &args.vcenter)?;
    let checks = points::check(global, &args.vcenter.vcenter, &connected.session)?;
    let exit = if checks.iter().all(|check| check.ok) { Exit::Done } else { Exit::Attention };
    Ok(Done::with(DoctorResult { checks }).with_warnings(connected.warnings).ending(exit))
}

/// The VMs that were named, or all; of all, those that cannot be read are findings.
pub(super) fn chosen_vms(session: &Session, named: &[String]) -> Result<(Vec<VmSummary>, Vec<Finding>), Failure> {
    let place = format!("vcenter {}", session.server());
    if named.is_empty() {
        let list = list_vms(session).map_err(|error| Failure::of(&error, error.kind(), place))?;
        return Ok((list.vms, list.unreadable.iter().map(unreadable_vm).collect()));
    }
    let mut vms: Vec<VmSummary> = Vec::new();
    for wanted in named {
        let vm = find_vm(session, wanted).map_err(|error| {
            let failure = Failure::of(&error, error.kind(), &place);
            match error {
                InventoryError::NoSuchVm { .. } | InventoryError::Ambiguous { .. } => {
                    failure.with_advice("see what is there: strongroom vsphere inventory")
                }
                _ => failure,
            }
        })?;
        if vms.iter().all(|other| other.vm != vm.vm) {
            vms.push(vm);
        }
    }
    Ok((vms, Vec::new()))
}

fn reader_of(args: &DiskAccessArgs) -> Result<PreflightReader, Failure> {
    let transports: Transports =
        args.transport.parse().map_err(|error| Failure::invalid(error, "--transport nbdssl"))?;
    match args.reader.as_str() {
        _ if args.reader_command.is_some() => Ok(PreflightReader::Outside),
        "vddk" => Ok(PreflightReader::Vddk { libdir: args.vddk_libdir.clone(), transports }),
        reader if reader.starts_with("nbd:") => Ok(PreflightReader::Outside),
        other => Err(Failure::invalid(format!("--reader {other:?}: no such reader"), "--reader vddk or nbd:URI")),
    }
}

/// What the run ends by. Rights and mistakes first: whoever waits for a host to come back waits in vain as long as they stay.
fn worst(findings: &[Finding]) -> State {
    let rank = |state: State| match state {
        State::Ok => 0,
        State::Note => 1,
        State::Warning => 2,
        State::Problem(Kind::Unavailable | Kind::Busy) => 3,
        State::Problem(Kind::Invalid) => 4,
        State::Problem(_) => 5,
    };
    let states = findings.iter().map(|finding| finding.state);
    match states.max_by_key(|state| rank(*state)).unwrap_or(State::Ok) {
        // In vCenter busy means: try later.
        State::Problem(Kind::Unavailable | Kind::Busy) => State::Problem(Kind::Unavailable),
        State::Problem(Kind::Invalid) => State::Problem(Kind::Invalid),
        State::Problem(_) => State::Problem(Kind::Failed),
        other => other,
    }
}

fn line(finding: Finding) -> CheckLine {
    CheckLine {
        id: finding.check.to_string(),
        object: finding.object,
        state: finding.state.word().to_owned(),
        ok: matches!(finding.state, State::Ok | State::Note),
        found: finding.found,
        r#try: finding.hint,
    }
}
