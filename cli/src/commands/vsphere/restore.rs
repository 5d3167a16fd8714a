//! `strongroom vsphere restore`: a VM comes back; plan first, then consent, then the deed.

use std::{io::Write, time::Instant};

use engine::PinnedReader;
use vsphere::{
    CleanupMode, Session,
    backup::Reader,
    clean_up,
    recovery::{
        Decision, Loss, Operator, PolicyWish, PowerOn, Powered, Purpose, Question, Recovery, RestoreVmError,
        RestoreVmJob, RestoreVmOptions, RestoredVm, SavedPoint, Target, TargetInventory, VerifyAfter, Wish, decide,
        question_text, restore_vm,
    },
    transport::Proxy,
};

use super::{
    backup::{proxy_of, reader, transports},
    connect::{Connected, connect},
    in_place,
    wish::{exit_of, no_place, plan_line, plan_text, refusal, unread, wish_for, wish_of},
};
use crate::{
    args::{DiskAccessArgs, GlobalArgs, VsphereRestoreArgs},
    commands::{
        Done,
        points::{Chosen, choose_parsed},
        restore::selector_at,
        warning,
    },
    exit::Exit,
    failure::Failure,
    opening::{self, Opened},
    output::{PlanLine, VsphereRestoreResult, WarningLine},
    progress::{Mode, Progress},
    terminal,
};

/// Brings a VM back.
pub fn run(global: &GlobalArgs, args: &VsphereRestoreArgs) -> Result<Done, Failure> {
    let begun = Instant::now();
    let power_on = if args.power_on { PowerOn::Yes } else { PowerOn::No };
    let wish = wish_of(&args.wish, Purpose::Restore, power_on)?;
    let mut options = options(global, args)?;
    let selector = selector_at(&args.selector, args.at.as_deref())?;
    let opened = opening::writer(global)?;
    let chosen = choose_parsed(&opened.handle, &selector, &opened.place)?;
    let opened = if args.dry_run { opened.without_pin() } else { opened.pinning(chosen.id) };
    if args.in_place {
        return in_place::run(global, args, options, &opened, &chosen);
    }
    let point = SavedPoint::read(&opened.handle, chosen.id).map_err(|error| unread(&error, &chosen))?;
    let mut wish = wish_for(&wish, &args.wish, &point.saved.name);
    if terminal::can_ask() && !args.dry_run {
        wish.operator = Operator::AtTerminal;
    }
    let Connected { session, warnings } = connect(global, &args.vcenter)?;
    let mut warnings: Vec<WarningLine> =
        opened.warnings.iter().cloned().chain(warnings).chain(chosen.warnings.iter().cloned()).collect();
    options.proxy = proxy_of(&session, &options.transports);
    if !args.dry_run {
        undo_leftovers(&session, &opened, &mut warnings)?;
    }
    let looked = TargetInventory::look(&session).map_err(|error| no_place(&error, &args.vcenter.vcenter))?;
    let target =
        Target::gather(&session, &looked, &point.saved, &wish).map_err(|error| no_place(&error, &chosen.vm))?;
    let (decision, wish) = settled(&chosen, &point, &target, wish)?;
    let plan = plan_line(&chosen, &point, &decision, &target);
    say(&plan_text(&chosen, &point, &decision, &target));
    let verdict = plan.verdict.clone();
    let mut result = VsphereRestoreResult {
        plan,
        dry_run: args.dry_run,
        vm: None,
        moref: None,
        verdict,
        written_bytes: 0,
        powered_on: false,
        elapsed_seconds: 0.0,
    };
    let ending = exit_of(decision.ending());
    let recovery = match &decision {
        Decision::Go(recovery) => recovery,
        Decision::Ask(_) | Decision::Refuse(_) => {
            let failure = refusal(&point, &decision).unwrap_or_else(|| unanswered(&result.plan, &chosen));
            return Ok(Done::with(result).in_repository(opened.line()).with_warnings(warnings).but(failure));
        }
    };
    if args.dry_run {
        result.elapsed_seconds = begun.elapsed().as_secs_f64();
        return Ok(Done::with(result).in_repository(opened.line()).with_warnings(warnings).ending(ending));
    }
    if wish.operator == Operator::AtTerminal && wish.consents.losses.is_empty() {
        terminal::consent(global.yes, &format!("make VM \"{}\"?", recovery.name))?;
    }
    let job = RestoreVmJob {
        session: &session,
        reader: &opened.handle,
        point: &point,
        wish: &wish,
        recovery,
        target: &target,
        options: &options,
    };
    let progress = Progress::start(Mode::of(global.progress, global.quiet));
    let outcome = restore_vm(&job, &progress);
    warnings.extend(progress.finish());
    result.elapsed_seconds = begun.elapsed().as_secs_f64();
    let restored = outcome.map_err(|error| failed(&error, &chosen.vm))?;
    let exit = tell(&restored, recovery, &mut result, &mut warnings);
    let exit = if ending == Exit::Done { exit } else { ending };
    Ok(Done::with(result).in_repository(opened.line()).with_warnings(warnings).ending(exit))
}

fn options(global: &GlobalArgs, args: &VsphereRestoreArgs) -> Result<RestoreVmOptions, Failure> {
    Ok(RestoreVmOptions {
        reader: writer_of(&args.disks)?,
        transports: transports(&args.disks)?,
        proxy: Proxy::Elsewhere,
        threads: global.thread_count(),
        verify_after: if args.verify_after { VerifyAfter::Yes } else { VerifyAfter::No },
    })
}

/// What killed runs have left goes first: a half-made VM holds the name that is wanted.
pub(super) fn undo_leftovers(
    session: &Session,
    opened: &Opened<PinnedReader>,
    warnings: &mut Vec<WarningLine>,
) -> Result<(), Failure> {
    let environment = opened.handle.environment();
    let repository = opened.handle.config().repository;
    let cleaned = clean_up(session, &environment.state, &repository, &environment.host, CleanupMode::Undo)
        .map_err(|error| Failure::of(&error, error.kind(), format!("vcenter {}", session.server())))?;
    warnings.extend(cleaned.undone.into_iter().map(|text| warning("undone", format!("undone: {text}"))));
    warnings.extend(cleaned.left.into_iter().map(|text| warning("leftover", text)));
    Ok(())
}

/// Decides, and asks at the terminal what only a person can settle.
fn settled(chosen: &Chosen, point: &SavedPoint, target: &Target, mut wish: Wish) -> Result<(Decision, Wish), Failure> {
    loop {
        let decision = decide(&point.saved, &wish, &target.facts);
        let Decision::Ask(asked) = &decision else { return Ok((decision, wish)) };
        say(&plan_text(chosen, point, &decision, target));
        for question in &asked.questions {
            let answer = terminal::ask_line(&format!("{}:", question_text(question)))?;
            answered(question, &answer, &mut wish)?;
        }
    }
}

fn answered(question: &Question, answer: &str, wish: &mut Wish) -> Result<(), Failure> {
    let not_confirmed = || {
        Failure::new(
            Exit::Invalid,
            "not confirmed; nothing was changed",
            "the terminal",
            "type what the question names",
        )
    };
    match question {
        Question::Policy { choices, .. } => {
            let by_number = answer.parse::<usize>().ok().and_then(|number| choices.get(number.checked_sub(1)?));
            let choice = by_number.or_else(|| choices.iter().find(|choice| *choice == answer));
            wish.policy = PolicyWish::Named(choice.ok_or_else(not_confirmed)?.clone());
        }
        Question::Losses { given_up } => {
            let typed = answer.split([',', ' ']).filter(|word| !word.is_empty()).map(str::parse::<Loss>);
            let typed = typed.collect::<Result<_, _>>().map_err(|_| not_confirmed())?;
            if typed != *given_up {
                return Err(not_confirmed());
            }
            wish.consents.losses = typed;
        }
    }
    Ok(())
}

/// Nobody was there to be asked.
fn unanswered(plan: &PlanLine, chosen: &Chosen) -> Failure {
    Failure::new(Exit::Invalid, plan.questions.join("; "), &chosen.vm, "run it on a terminal, or give the option")
}

/// A plan is for people: on standard error, before anything is written.
pub(super) fn say(lines: &[String]) {
    let mut out = std::io::stderr().lock();
    for line in lines {
        // Nobody listens: the plan is in the result, too.
        let _ = writeln!(out, "{line}");
    }
}

fn failed(error: &RestoreVmError, vm: &str) -> Failure {
    let failure = Failure::of(error, error.kind(), vm);
    let failure = match error.hint() {
        Some(hint) => failure.with_advice(hint),
        None => failure,
    };
    if error.is_refusal() { Failure { exit: Exit::Refused, ..failure } } else { failure }
}

/// What came out, beside the plan.
fn tell(
    restored: &RestoredVm,
    recovery: &Recovery,
    result: &mut VsphereRestoreResult,
    warnings: &mut Vec<WarningLine>,
) -> Exit {
    result.vm = Some(recovery.name.clone());
    result.moref = Some(restored.vm.moref().to_owned());
    result.written_bytes = restored.disks.disks.iter().map(|disk| disk.written_bytes).sum();
    result.powered_on = restored.powered == Powered::On;
    warnings.extend(restored.notes.iter().map(|text| warning("library", text.clone())));
    for disk in restored.disks.disks.iter().filter(|disk| !disk.bad.is_empty()) {
        let text = format!("{}: {} stretches were never read and are zeros now", disk.name, disk.bad.len());
        warnings.push(warning("bad_extents", text));
    }
    let Powered::Refused { why, no_key } = &restored.powered else { return Exit::Done };
    let text = format!("{} is whole, but vCenter does not power it on: {why}", recovery.name);
    warnings.push(warning("not_powered_on", text));
    if *no_key {
        "not_bootable".clone_into(&mut result.verdict);
    }
    Exit::Attention
}

/// Who writes the disks: a command that serves them for reading cannot.
fn writer_of(args: &DiskAccessArgs) -> Result<Reader, Failure> {
    if args.reader_command.is_some() {
        return Err(Failure::invalid("a reader command only reads", "--vddk-libdir DIR, or --reader nbd:URI"));
    }
    reader(args)
}
