//! What the command line wishes of a recovery, and what people read of a decision; the same for the plan and the deed.

use std::{collections::BTreeSet, fs};

use vsphere::recovery::{
    Consents, Decision, EncryptionWish, Ending, HomeRow, Loss, MapFile, Operator, PlaceError, PolicyWish, PowerOn,
    Purpose, SavedPoint, SavedPointError, Target, Unbootable, Wish, decision_lines, plan_lines, question_text,
    reason_texts,
};

use crate::{
    args::{EncryptionChoice, WishArgs},
    commands::points::Chosen,
    exit::Exit,
    failure::Failure,
    output::PlanLine,
    units,
};

/// The word for a storage policy that every vCenter has.
const SAMPLE: &str = "sample";

/// The wish of the options, for any VM.
pub fn wish_of(args: &WishArgs, purpose: Purpose, power_on: PowerOn) -> Result<Wish, Failure> {
    let mut map = match &args.map {
        Some(path) => {
            let failed = |what: String| {
                Failure::new(Exit::Invalid, what, path.display(), "correct the file; nothing was changed")
            };
            let text = fs::read_to_string(path).map_err(|error| failed(format!("--map: {error}")))?;
            MapFile::read(&text).map_err(|error| failed(error.to_string()))?
        }
        None => MapFile::default(),
    };
    map.key_providers.extend(renamings("--key-provider", &args.key_provider, "kms-prod=kms-dr")?);
    map.networks.extend(renamings("--network", &args.network, "\"VM Network\"=\"DR Network\"")?);
    let loss = |word: &String| {
        word.parse::<Loss>()
            .map_err(|error| Failure::invalid(format!("--accept-loss: {error}"), "--accept-loss nvram,vtpm"))
    };
    let losses = args.accept_loss.iter().map(loss).collect::<Result<BTreeSet<Loss>, Failure>>()?;
    Ok(Wish {
        encryption: match args.vm_encryption {
            EncryptionChoice::SameKeys => EncryptionWish::SameKeys,
            EncryptionChoice::NewKeys => EncryptionWish::NewKeys,
            EncryptionChoice::None => EncryptionWish::None,
        },
        consents: Consents {
            losses,
            unbootable: if args.allow_unbootable { Unbootable::Allowed } else { Unbootable::Refused },
        },
        policy: match args.storage_policy.as_deref() {
            None => PolicyWish::AsSaved,
            Some(SAMPLE) => PolicyWish::Sample,
            Some(name) => PolicyWish::Named(name.to_owned()),
        },
        map,
        power_on,
        operator: Operator::Away,
        purpose,
    })
}

/// Options of the form `OLD=NEW`.
fn renamings(option: &str, given: &[String], example: &str) -> Result<Vec<(String, String)>, Failure> {
    let read = |text: &String| match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err(Failure::invalid(format!("{option} {text}: no OLD=NEW"), format!("{option} {example}"))),
    };
    given.iter().map(read).collect()
}

/// The same for one VM: where the command line says it goes wins over the map.
pub fn wish_for(wish: &Wish, args: &WishArgs, vm: &str) -> Wish {
    let mut wish = wish.clone();
    let mut place = wish.map.placement(vm);
    let given = |option: &Option<String>, place: &mut Option<String>| {
        if option.is_some() {
            place.clone_from(option);
        }
    };
    given(&args.name, &mut place.name);
    given(&args.datastore, &mut place.datastore);
    given(&args.folder, &mut place.folder);
    if args.pool.is_some() {
        place.cluster = None;
    }
    given(&args.pool, &mut place.pool);
    wish.map.vms.insert(vm.to_owned(), place);
    wish
}

/// How a run ends by a decision.
pub fn exit_of(ending: Ending) -> Exit {
    match ending {
        Ending::Done => Exit::Done,
        Ending::Failed => Exit::Failed,
        Ending::Invalid => Exit::Invalid,
        Ending::Attention => Exit::Attention,
        Ending::Damaged => Exit::Damaged,
        Ending::Refused => Exit::Refused,
        Ending::Unavailable => Exit::Unavailable,
    }
}

/// A decision as documents have it.
pub fn plan_line(chosen: &Chosen, point: &SavedPoint, decision: &Decision, target: &Target) -> PlanLine {
    let time = units::utc(chosen.time_ms);
    let plan = decision.plan();
    let verdict = match decision {
        Decision::Refuse(_) => plan.map_or(without_plan(decision.row()), |plan| plan.lasting_verdict().word()),
        _ => plan.map_or("unknown", |plan| plan.lasting_verdict().word()),
    };
    let refused = match decision {
        Decision::Refuse(refused) => {
            let texts = reason_texts(&point.saved, &refused.reasons);
            texts.into_iter().map(|text| format!("{} (try: {})", text.error, text.advice)).collect()
        }
        Decision::Go(_) | Decision::Ask(_) => Vec::new(),
    };
    let questions = match decision {
        Decision::Ask(asked) => asked.questions.iter().map(question_text).collect(),
        Decision::Go(_) | Decision::Refuse(_) => Vec::new(),
    };
    let mut text = decision_lines(&point.saved, decision, &target.facts, &time);
    if plan.is_none() {
        // What is refused has a heading as well: of many VMs one must see whose reasons these are.
        text.insert(0, format!("plan: {} @ {time} -> {}", point.saved.name, target.facts.place));
    }
    PlanLine {
        point: chosen.id.to_string(),
        vm: chosen.vm.clone(),
        verdict: verdict.to_owned(),
        row: Some(decision.row().to_string()),
        losses: plan.map(|plan| plan.losses.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        refused,
        questions,
        text,
        time,
    }
}

/// What would come out where a reason keeps the plan from being complete.
fn without_plan(row: HomeRow) -> &'static str {
    match row {
        HomeRow::D6 | HomeRow::D7 => "not_bootable",
        _ => "impossible",
    }
}

/// The lines of a plan alone: a refusal is said once, as the failure.
pub fn plan_text(chosen: &Chosen, point: &SavedPoint, decision: &Decision, target: &Target) -> Vec<String> {
    let time = units::utc(chosen.time_ms);
    decision.plan().map(|plan| plan_lines(&point.saved, plan, &target.facts, &time)).unwrap_or_default()
}

/// A refusal as a failure: the first reason in its words, others behind it.
pub fn refusal(point: &SavedPoint, decision: &Decision) -> Option<Failure> {
    let Decision::Refuse(refused) = decision else { return None };
    let exit = exit_of(decision.ending());
    let mut texts = reason_texts(&point.saved, &refused.reasons).into_iter();
    let first = texts.next()?;
    let others = texts.map(|text| format!("{} (try: {})", text.error, text.advice));
    Some(Failure { causes: others.collect(), ..Failure::new(exit, first.error, first.place, first.advice) })
}

/// There is no place for a VM.
pub fn no_place(error: &PlaceError, vm: &str) -> Failure {
    let failure = Failure::of(error, error.kind(), vm);
    match error.hint() {
        Some(hint) => failure.with_advice(hint),
        None => failure,
    }
}

/// A point cannot be read.
pub fn unread(error: &SavedPointError, chosen: &Chosen) -> Failure {
    Failure::of(error, error.kind(), format!("point {} of {}", chosen.id, chosen.vm))
}
