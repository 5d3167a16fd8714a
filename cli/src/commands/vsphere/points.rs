//! `vsphere doctor --points`: could every restore point come back today, with its own keys and policies?

use vsphere::{
    Session,
    recovery::{
        Decision, PlanVerdict, PowerOn, Purpose, SavedPoint, Target, TargetInventory, Wish, decide, reason_texts,
    },
};

use super::wish::{no_place, unread};
use crate::{
    args::GlobalArgs,
    commands::points::{Chosen, candidates},
    failure::Failure,
    opening,
    output::CheckLine,
    units,
};

/// Checks every live point against the vCenter of `session`; `vcenter` is what the command line calls it.
pub fn check(global: &GlobalArgs, vcenter: &str, session: &Session) -> Result<Vec<CheckLine>, Failure> {
    let opened = opening::reader(global)?;
    let looked = TargetInventory::look(session).map_err(|error| no_place(&error, vcenter))?;
    let (candidates, ids) = candidates(&opened.handle);
    let points = candidates.into_iter().zip(ids).map(|(candidate, id)| Chosen {
        id,
        vm: candidate.vm,
        time_ms: candidate.time_ms,
        disk: None,
        warnings: Vec::new(),
    });
    let wish = Wish { purpose: Purpose::Plan, power_on: PowerOn::No, ..Wish::default() };
    let line = |chosen: Chosen| {
        let judged = judge(&opened.handle, session, &looked, &wish, &chosen);
        let (state, found, advice) = match judged {
            Ok(judged) => judged,
            Err(failure) => ("warning", failure.what, Some(failure.advice)),
        };
        CheckLine {
            id: "point".to_owned(),
            object: format!("{} @ {} ({})", chosen.vm, units::utc(chosen.time_ms), chosen.id),
            state: state.to_owned(),
            ok: state == "ok" || state == "note",
            found,
            r#try: advice,
        }
    };
    Ok(points.map(line).collect())
}

type Judged = (&'static str, String, Option<String>);

fn judge(
    reader: &engine::Reader,
    session: &Session,
    looked: &TargetInventory,
    wish: &Wish,
    chosen: &Chosen,
) -> Result<Judged, Failure> {
    let point = SavedPoint::read(reader, chosen.id).map_err(|error| unread(&error, chosen))?;
    let target = Target::gather(session, looked, &point.saved, wish).map_err(|error| no_place(&error, &chosen.vm))?;
    let decision = decide(&point.saved, wish, &target.facts);
    let reasons = match &decision {
        Decision::Refuse(refused) => reason_texts(&point.saved, &refused.reasons),
        Decision::Go(_) | Decision::Ask(_) => Vec::new(),
    };
    if let Some(first) = reasons.first() {
        let all: Vec<&str> = reasons.iter().map(|reason| reason.error.as_str()).collect();
        return Ok(("problem", all.join("; "), Some(first.advice.clone())));
    }
    let Some(plan) = decision.plan() else {
        return Ok(("warning", "nothing could be planned".to_owned(), Some("strongroom vsphere plan".to_owned())));
    };
    let state = match plan.verdict {
        PlanVerdict::Unchanged | PlanVerdict::UnchangedNeedsKey { .. } => "ok",
        PlanVerdict::Unknown { .. } | PlanVerdict::WithLosses { .. } | PlanVerdict::Incomplete { .. } => "warning",
        PlanVerdict::NotBootable { .. } | PlanVerdict::Damaged { .. } | PlanVerdict::Impossible => "problem",
    };
    let advice = (state != "ok").then(|| format!("strongroom vsphere plan {}", chosen.id));
    Ok((state, format!("restores: {}", plan.lasting_verdict()), advice))
}
