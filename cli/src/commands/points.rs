//! From what a person typed to points of an open repository.

use engine::{PointState, Reader};
use repo_format::{ChunkId, Completeness};

use super::warning;
use crate::{
    exit::Exit,
    failure::Failure,
    output::{PolicyLine, VerdictLine, WarningLine},
    selector::{Candidate, ResolveError, Selector, resolve},
};

/// A point that a selector chose.
pub struct Chosen {
    /// Its id.
    pub id: ChunkId,
    /// Its VM's name.
    pub vm: String,
    /// Time of its log entry.
    pub time_ms: u64,
    /// Only this disk.
    pub disk: Option<String>,
    /// What was passed over.
    pub warnings: Vec<WarningLine>,
}

/// What a point's VM is called.
pub fn vm_name(point: &PointState) -> String {
    point.vm_name.clone()
}

/// All live points, as selectors see them, and their ids.
pub fn candidates(reader: &Reader) -> (Vec<Candidate>, Vec<ChunkId>) {
    let live = reader.state().points().iter().filter(|point| point.is_live());
    let candidate = |point: &PointState| Candidate {
        id: point.id.to_string(),
        vm: vm_name(point),
        time_ms: point.time_ms,
        passed_over: (point.completeness == Completeness::Incomplete).then(|| "incomplete".to_owned()),
    };
    live.map(|point| (candidate(point), point.id)).unzip()
}

/// Reads a selector in this machine's time zone.
pub fn parse(text: &str) -> Result<Selector, Failure> {
    Selector::parse(text, &jiff::tz::TimeZone::system()).map_err(|error| {
        Failure::invalid(error, "write web01, web01@latest~1, web01@2026-11-20T02:00 or the beginning of an id")
    })
}

/// The point that `text` names.
pub fn choose(reader: &Reader, text: &str, place: &str) -> Result<Chosen, Failure> {
    choose_parsed(reader, &parse(text)?, place)
}

/// The point that a selector names.
pub fn choose_parsed(reader: &Reader, selector: &Selector, place: &str) -> Result<Chosen, Failure> {
    let (candidates, ids) = candidates(reader);
    let picked = resolve(selector, &candidates).map_err(|error| unresolved(&error, place))?;
    let id =
        candidates.iter().zip(&ids).find(|(candidate, _)| std::ptr::eq(*candidate, picked.point)).map(|(_, id)| *id);
    let Some(id) = id else {
        return Err(Failure::new(Exit::Bug, "a point was chosen that is not there", place, "please report this"));
    };
    let warnings = picked.skipped.iter().map(|skipped| warning("skipped", skipped.message())).collect();
    let point = picked.point;
    Ok(Chosen { id, vm: point.vm.clone(), time_ms: point.time_ms, disk: selector.disk.clone(), warnings })
}

/// The failure for a selector that names no point, or more than one.
pub fn unresolved(error: &ResolveError, place: &str) -> Failure {
    match error {
        ResolveError::UnknownVm { nearest, .. } => {
            let advice = match nearest.as_slice() {
                [] => "strongroom list".to_owned(),
                names => format!("did you mean {}? All are shown by: strongroom list", names.join(", ")),
            };
            Failure::new(Exit::Missing, error, place, advice)
        }
        ResolveError::NoneFits { vm, skipped, .. } => {
            let list = format!("strongroom list {}", crate::selector::escape(vm));
            let mut advice: Vec<String> = skipped.iter().map(crate::selector::Skipped::message).collect();
            advice.push(list);
            Failure::new(Exit::Missing, error, place, advice.join("; "))
        }
        ResolveError::UnknownId { .. } => Failure::new(Exit::Missing, error, place, "strongroom list"),
        ResolveError::Ambiguous { .. } => {
            Failure::new(Exit::Invalid, error, place, "use more of the id, or write vm:NAME or id:HEX")
        }
    }
}

/// What a point is worth, in both forms.
pub fn verdict_line(verdict: &engine::Verdict) -> VerdictLine {
    VerdictLine { verdict: verdict.word().to_owned(), sentence: verdict.to_string() }
}

/// A storage policy as documents name it.
pub fn policy_line(policy: &repo_format::StoragePolicy) -> PolicyLine {
    use repo_format::PolicyEncrypts;
    let encrypts = match policy.encrypts {
        PolicyEncrypts::Yes => Some(true),
        PolicyEncrypts::No => Some(false),
        PolicyEncrypts::Unknown => None,
    };
    PolicyLine { id: policy.id.clone(), name: policy.name.clone(), encrypts }
}
