//! Takes points off the list, by rules or by name; holds and releases them. Their space comes back by `prune`.

use std::collections::{BTreeMap, HashSet};

use jiff::tz::TimeZone;
use repo_format::{ChunkId, Completeness};

use crate::{
    error::Kind,
    log::{LogError, LogHead, PointState, decide_forget, decide_hold, decide_release},
    repository::{Reader, Writer},
    retention::{Candidate, Reason, Rules, retain},
};

/// What becomes of one point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The point.
    pub point: PointState,
    /// Why it stays; none: it goes.
    pub reasons: Vec<Reason>,
}

/// What becomes of one VM's points, in log order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmFates {
    /// The VM's name today.
    pub vm_name: String,
    /// Its live points.
    pub fates: Vec<Fate>,
}

impl VmFates {
    fn going(&self) -> impl Iterator<Item = &Fate> {
        self.fates.iter().filter(|fate| fate.reasons.is_empty())
    }
}

/// Why nothing was forgotten, held or released.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// So much at once is a mistake more often than not.
    #[error(
        "{vm}: {count} of its {of} restore points would be forgotten, {}; if that is what you want, say how many \
         points of all VMs go: --allow-mass-forget {total}",
        if *.last_whole { "the last whole one among them" } else { "more than half" }
    )]
    Mass {
        /// The VM.
        vm: String,
        /// How many of it would go.
        count: u64,
        /// How many it has.
        of: u64,
        /// Its last whole point is among them.
        last_whole: bool,
        /// How many would go in all.
        total: u64,
    },
    /// A point named is held.
    #[error("restore point {point} of {vm} is held ({reason}): release it first")]
    Held {
        /// The point.
        point: ChunkId,
        /// Its VM.
        vm: String,
        /// Why.
        reason: String,
    },
    /// The log could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ForgetError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Mass { .. } | Self::Held { .. } => Kind::Invalid,
            Self::Log(error) => error.kind(),
        }
    }
}

/// What `rules` make of the VMs that `wanted` names (by identity), each for itself.
pub fn apply_rules(
    reader: &Reader,
    rules: &Rules,
    zone: &TimeZone,
    wanted: &dyn Fn(&PointState) -> bool,
) -> Vec<VmFates> {
    let now_ms = reader.environment().clock.now_ms();
    let each = by_vm(reader).into_iter().filter(|points| points.last().is_some_and(wanted));
    let fates = each.map(|points| {
        let candidates: Vec<Candidate> = points.iter().map(candidate).collect();
        let reasons = retain(&candidates, rules, now_ms, zone);
        vm_fates(points.into_iter().zip(reasons).map(|(point, reasons)| Fate { point, reasons }).collect())
    });
    fates.collect()
}

/// The fates when just `named` go.
pub fn named_fates(reader: &Reader, named: &HashSet<ChunkId>) -> Result<Vec<VmFates>, ForgetError> {
    let touched = by_vm(reader).into_iter().filter(|points| points.iter().any(|point| named.contains(&point.id)));
    let each = touched.map(|points| {
        let fate = |point: PointState| match (named.contains(&point.id), point.held.clone()) {
            (true, Some(reason)) => Err(ForgetError::Held { point: point.id, vm: point.vm_name.clone(), reason }),
            (true, None) => Ok(Fate { point, reasons: Vec::new() }),
            (false, _) => Ok(Fate { point, reasons: vec![Reason::NotNamed] }),
        };
        points.into_iter().map(fate).collect::<Result<_, _>>().map(vm_fates)
    });
    each.collect()
}

/// Refuses to take more than half of a VM's points, or its last whole one, unless `allowed` says exactly how many go in all.
pub fn check_mass(fates: &[VmFates], allowed: Option<u64>) -> Result<(), ForgetError> {
    let total = fates.iter().map(|vm| vm.going().count() as u64).sum();
    if allowed == Some(total) {
        return Ok(());
    }
    let is_whole = |fate: &&Fate| fate.point.completeness == Completeness::Whole;
    for vm in fates {
        let (count, of) = (vm.going().count() as u64, vm.fates.len() as u64);
        let wholes = vm.fates.iter().filter(is_whole).count();
        let last_whole = wholes > 0 && vm.going().filter(is_whole).count() == wholes;
        if count > 0 && (last_whole || count * 2 > of) {
            return Err(ForgetError::Mass { vm: vm.vm_name.clone(), count, of, last_whole, total });
        }
    }
    Ok(())
}

/// Forgets the points that have no reason to stay. Gives the head and how many went.
pub fn forget(writer: &mut Writer, fates: &[VmFates], reason: Option<&str>) -> Result<(LogHead, u64), ForgetError> {
    let points: Vec<ChunkId> = fates.iter().flat_map(VmFates::going).map(|fate| fate.point.id).collect();
    let appended = writer.append(&mut |state| decide_forget(state, &points, reason))?;
    writer.remember_head();
    let forgotten = appended.records.iter().map(|record| match record {
        repo_format::Record::Forget(forget) => forget.points.len() as u64,
        _ => 0,
    });
    Ok((appended.head, forgotten.sum()))
}

/// Holds `points`: nobody forgets them until they are released.
pub fn hold(
    writer: &mut Writer,
    points: &[ChunkId],
    reason: &str,
    until_ms: Option<u64>,
) -> Result<LogHead, ForgetError> {
    let appended = writer.append(&mut |state| decide_hold(state, points, reason, until_ms))?;
    writer.remember_head();
    Ok(appended.head)
}

/// Releases `points`. Gives the head and which of them were held.
pub fn release(writer: &mut Writer, points: &[ChunkId]) -> Result<(LogHead, Vec<ChunkId>), ForgetError> {
    let environment = writer.environment().clone();
    let appended = writer
        .0
        .log
        .append(environment.clock.as_ref(), environment.entropy.as_ref(), &mut |state| decide_release(state, points))?;
    let _ = environment.state.remember_head(&writer.config().repository, appended.head);
    let released = appended.records.iter().filter_map(|record| match record {
        repo_format::Record::Release { point } => Some(*point),
        _ => None,
    });
    Ok((appended.head, released.collect()))
}

/// Live points by VM, each VM's in log order.
fn by_vm(reader: &Reader) -> Vec<Vec<PointState>> {
    let mut places = BTreeMap::new();
    let mut vms: Vec<Vec<PointState>> = Vec::new();
    for point in reader.state().points().iter().filter(|point| point.is_live()) {
        let place = *places.entry(point.identity.clone()).or_insert(vms.len());
        if place == vms.len() {
            vms.push(Vec::new());
        }
        if let Some(points) = vms.get_mut(place) {
            points.push(point.clone());
        }
    }
    vms
}

fn candidate(point: &PointState) -> Candidate {
    Candidate { id: point.id, time_ms: point.time_ms, held: point.held.clone(), completeness: point.completeness }
}

fn vm_fates(fates: Vec<Fate>) -> VmFates {
    VmFates { vm_name: fates.last().map(|fate| fate.point.vm_name.clone()).unwrap_or_default(), fates }
}
