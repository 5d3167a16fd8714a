//! Snapshots of ours: made with a tag that says whose they are, found by it, removed one by one. Never anybody else's.

use std::time::Duration;

use engine::Kind;

use crate::{
    calls,
    inventory::{InventoryError, config_of},
    properties::{PropertyError, properties_of},
    session::Session,
    soap::{CallError, Element, Fault, FaultClass, ManagedObject},
    task::{Patience, TaskError, run_task, wait_until_idle},
};

/// How long making one may take.
const CREATE_TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// How long removing one may take: its changes are written back.
const REMOVE_TIME_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// How often the state is looked at after an answer was lost.
const LOOKS: u32 = 5;

/// Whose a snapshot is: written into its description, read back from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotTag {
    /// The repository that is backed up to.
    pub repository: String,
    /// The run.
    pub run: String,
    /// The machine the run is on.
    pub host: String,
}

impl SnapshotTag {
    /// The name of the snapshot: `strongroom <run>`.
    pub fn name(&self) -> String {
        format!("strongroom {}", self.run)
    }

    /// The description of the snapshot: `repo=… run=… host=…`.
    pub fn description(&self) -> String {
        // A space would end a part, so none may be inside.
        let part = |text: &str| text.replace(char::is_whitespace, "_");
        format!("repo={} run={} host={}", part(&self.repository), part(&self.run), part(&self.host))
    }

    /// Reads a description; `None` if it is not one of ours, exactly as [`SnapshotTag::description`] writes it.
    pub fn of_description(description: &str) -> Option<Self> {
        let mut parts = description.split(' ');
        let mut part = |name: &str| {
            let value = parts.next()?.strip_prefix(name)?.strip_prefix('=')?;
            (!value.is_empty()).then(|| value.to_owned())
        };
        let tag = Self { repository: part("repo")?, run: part("run")?, host: part("host")? };
        parts.next().is_none().then_some(tag)
    }
}

/// Whether the guest is brought to a rest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quiesce {
    /// Its file systems are: the tools in the guest see to it.
    FileSystem,
    /// As after a power failure.
    No,
}

/// A snapshot of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurSnapshot {
    /// The snapshot.
    pub snapshot: ManagedObject,
    /// Whose it is.
    pub tag: SnapshotTag,
    /// When it was made, as the server writes it.
    pub created_at: String,
}

/// Why there is no snapshot, or still one.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The guest could not be brought to a rest.
    #[error("file-system quiescing failed ({0})")]
    NotQuiesced(Box<Fault>),
    /// The VM cannot be snapshotted now.
    #[error("a snapshot cannot be made now: {0}")]
    NotPossible(Box<Fault>),
    /// Something else is being done to the VM.
    #[error("the VM is busy: {0}")]
    Busy(Box<Fault>),
    /// It was asked for, the answer was lost, and there is none: it may still come.
    #[error("nobody knows whether the snapshot was made ({0}); if it appears: strongroom vsphere cleanup")]
    Lost(TaskError),
    /// Somebody wanted the run to end before it was asked for.
    #[error("interrupted before a snapshot was made")]
    Interrupted,
    /// It could not be removed.
    #[error("snapshot {snapshot} could not be removed ({source}); strongroom vsphere cleanup")]
    NotRemoved {
        /// The snapshot, with its name.
        snapshot: String,
        /// Why not.
        source: TaskError,
    },
    /// It has no tag of ours, or another than it should have.
    #[error("snapshot {snapshot} is not ours: it has no tag of this repository and run; it was not touched")]
    NotOurs {
        /// The snapshot.
        snapshot: ManagedObject,
    },
    /// Snapshots of the VM cannot be read.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// The server was not asked successfully.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Any other failure.
    #[error(transparent)]
    Task(TaskError),
}

impl SnapshotError {
    fn of_interrupted(error: TaskError) -> Self {
        if error.may_have_happened() { Self::Lost(error) } else { Self::Interrupted }
    }

    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotQuiesced(_) | Self::NotPossible(_) => Kind::Failed,
            Self::Busy(_) => Kind::Busy,
            Self::Interrupted => Kind::Interrupted,
            Self::Lost(error) | Self::Task(error) | Self::NotRemoved { source: error, .. } => error.kind(),
            Self::NotOurs { .. } => Kind::Invalid,
            Self::Property(error) => error.kind(),
            Self::Call(error) => error.kind(),
        }
    }
}

/// Makes a snapshot without memory. If its answer is lost, the VM is looked at, and never a second one asked for.
pub fn create_snapshot(
    session: &Session,
    vm: &ManagedObject,
    tag: &SnapshotTag,
    quiesce: Quiesce,
) -> Result<ManagedObject, SnapshotError> {
    let quiesce = if quiesce == Quiesce::FileSystem { "true" } else { "false" };
    let params = [
        Element::text_of("name", tag.name()),
        Element::text_of("description", tag.description()),
        Element::text_of("memory", "false"),
        Element::text_of("quiesce", quiesce),
    ];
    match run_task(session, calls::CREATE_SNAPSHOT, vm, &params, Patience::begin(CREATE_TIME_MAX)) {
        Ok(result) => match result.as_ref().and_then(ManagedObject::of) {
            Some(made) => Ok(made),
            None => look_for(session, vm, tag, session.incomplete(calls::CREATE_SNAPSHOT, "snapshot").into()),
        },
        // Nobody waits for it any more: whether it comes is for the cleanup to see.
        Err(error) if error.kind() == Kind::Interrupted => Err(SnapshotError::of_interrupted(error)),
        Err(error) if error.may_have_happened() => look_for(session, vm, tag, error),
        Err(error) => Err(match (error.class(), error.fault().cloned().map(Box::new)) {
            (Some(FaultClass::NotQuiesced), Some(fault)) => SnapshotError::NotQuiesced(fault),
            (Some(FaultClass::NotSnapshottable), Some(fault)) => SnapshotError::NotPossible(fault),
            (Some(FaultClass::Busy), Some(fault)) => SnapshotError::Busy(fault),
            _ => SnapshotError::Task(error),
        }),
    }
}

/// After a lost answer: waits for what the VM is doing, then looks for the snapshot by its tag.
fn look_for(
    session: &Session,
    vm: &ManagedObject,
    tag: &SnapshotTag,
    lost: TaskError,
) -> Result<ManagedObject, SnapshotError> {
    let wanted = SnapshotTag::of_description(&tag.description());
    for _ in 0..LOOKS {
        // A server that does not answer now has not said that there is none.
        if wait_until_idle(session, calls::CREATE_SNAPSHOT, vm, Patience::begin(CREATE_TIME_MAX)).is_err() {
            break;
        }
        match our_snapshots(session, vm).map(|ours| ours.into_iter().find(|ours| Some(&ours.tag) == wanted.as_ref())) {
            Ok(Some(found)) => return Ok(found.snapshot),
            Ok(None) => {}
            Err(error) if error.kind() == Kind::Unavailable => {}
            Err(_) => break,
        }
        if session.stop().is_asked() {
            break;
        }
        session.stop().rest(session.pace().task_look_max);
    }
    Err(SnapshotError::Lost(lost))
}

/// Waits until vCenter makes no snapshot of a VM: one that a killed run has asked for may still come.
pub(crate) fn wait_for_snapshots(session: &Session, vm: &ManagedObject) -> Result<(), TaskError> {
    wait_until_idle(session, calls::CREATE_SNAPSHOT, vm, Patience::finish(CREATE_TIME_MAX))
}

/// The configuration that a snapshot has kept: file names, change ids and keys of disks come from here, never from the VM.
pub fn snapshot_config(session: &Session, snapshot: &ManagedObject) -> Result<Element, InventoryError> {
    config_of(session, snapshot)
}

/// Snapshots of a VM that have a tag of ours, of any repository, oldest first.
pub fn our_snapshots(session: &Session, vm: &ManagedObject) -> Result<Vec<OurSnapshot>, SnapshotError> {
    let properties = properties_of(session, vm, &["snapshot"])?;
    let mut found = Vec::new();
    let mut open: Vec<&Element> = Vec::new();
    open.extend(properties.get("snapshot")?.into_iter().flat_map(|tree| tree.all("rootSnapshotList")));
    while let Some(node) = open.pop() {
        open.extend(node.all("childSnapshotList"));
        let snapshot = node.child("snapshot").and_then(ManagedObject::of);
        let tag = node.text_at("description").and_then(SnapshotTag::of_description);
        if let (Some(snapshot), Some(tag)) = (snapshot, tag) {
            let created_at = node.text_at("createTime").unwrap_or_default().to_owned();
            found.push(OurSnapshot { snapshot, tag, created_at });
        }
    }
    found.sort_by(|one, other| one.created_at.cmp(&other.created_at));
    Ok(found)
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was there and is gone.
    Now,
    /// It was gone already.
    Before,
}

/// Removes one snapshot of ours, and no other: its tag must say this repository and this run.
pub fn remove_snapshot(
    session: &Session,
    vm: &ManagedObject,
    snapshot: &ManagedObject,
    tag: &SnapshotTag,
) -> Result<Removed, SnapshotError> {
    match whose(session, vm, snapshot)? {
        None => return Ok(Removed::Before),
        Some(found) if found.is_some() && found == SnapshotTag::of_description(&tag.description()) => {}
        Some(_) => return Err(SnapshotError::NotOurs { snapshot: snapshot.clone() }),
    }
    let params = [Element::text_of("removeChildren", "false"), Element::text_of("consolidate", "true")];
    match run_task(session, calls::REMOVE_SNAPSHOT, snapshot, &params, Patience::finish(REMOVE_TIME_MAX)) {
        Ok(_) => Ok(Removed::Now),
        Err(error) if error.class() == Some(FaultClass::Gone) => Ok(Removed::Before),
        Err(source) => {
            // The answer alone may have been lost.
            if source.may_have_happened() && whose(session, vm, snapshot).is_ok_and(|found| found.is_none()) {
                return Ok(Removed::Now);
            }
            let snapshot = format!("\"{}\" ({})", tag.name(), snapshot.moref());
            Err(SnapshotError::NotRemoved { snapshot, source })
        }
    }
}

/// The tag of a snapshot of this VM, if it has one; `None` if the VM has no such snapshot.
fn whose(
    session: &Session,
    vm: &ManagedObject,
    snapshot: &ManagedObject,
) -> Result<Option<Option<SnapshotTag>>, SnapshotError> {
    let properties = properties_of(session, vm, &["snapshot"])?;
    let mut open: Vec<&Element> = Vec::new();
    open.extend(properties.get("snapshot")?.into_iter().flat_map(|tree| tree.all("rootSnapshotList")));
    while let Some(node) = open.pop() {
        open.extend(node.all("childSnapshotList"));
        if node.child("snapshot").and_then(ManagedObject::of).as_ref() == Some(snapshot) {
            return Ok(Some(node.text_at("description").and_then(SnapshotTag::of_description)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
