//! Which VMs there are, where they are, and what is known of one.

use std::collections::BTreeSet;

use engine::Kind;

use crate::{
    calls,
    properties::{Properties, PropertyError, Wanted, properties_of, retrieve},
    session::Session,
    soap::{CallError, Element, ManagedObject},
    vm_home::KmsKey,
};

const LIST_PATHS: [&str; 12] = [
    "name",
    "config.uuid",
    "config.instanceUuid",
    "config.template",
    "config.keyId",
    "config.changeTrackingEnabled",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.consolidationNeeded",
    "runtime.host",
    "snapshot",
    "parent",
];

/// All that a capture of a VM records, in one answer and thereby of one moment.
const CAPTURE_PATHS: [&str; 11] = [
    "name",
    "config",
    "layoutEx",
    "runtime",
    "snapshot",
    "capability",
    "storage",
    "datastore",
    "network",
    "parent",
    "resourcePool",
];

/// Why the inventory does not say what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The server was not asked successfully.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A property may not be read.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// No VM goes by that.
    #[error("vcenter {server}: no VM is named {wanted:?}, has this inventory path, moref or instance uuid")]
    NoSuchVm {
        /// The server.
        server: String,
        /// What was given.
        wanted: String,
    },
    /// Several VMs go by that.
    #[error("vcenter {server}: {wanted:?} names {} VMs: {}; give the path, the moref or the instance uuid", found.len(), found.join(", "))]
    Ambiguous {
        /// The server.
        server: String,
        /// What was given.
        wanted: String,
        /// Path and moref of each.
        found: Vec<String>,
    },
    /// An object that is in no datacenter.
    #[error("{object}: no datacenter is above it; nothing of it can be addressed on a datastore")]
    NoDatacenter {
        /// The object.
        object: ManagedObject,
    },
}

impl InventoryError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Call(error) => error.kind(),
            Self::Property(error) => error.kind(),
            Self::NoSuchVm { .. } => Kind::Missing,
            Self::Ambiguous { .. } | Self::NoDatacenter { .. } => Kind::Invalid,
        }
    }
}

/// Whether a VM runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PowerState {
    /// It runs.
    On,
    /// It does not.
    Off,
    /// It sleeps.
    Suspended,
    /// The server says something else.
    Other(String),
}

/// A VM, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSummary {
    /// The VM.
    pub vm: ManagedObject,
    /// Its name; others may have the same.
    pub name: String,
    /// Its BIOS uuid, if its configuration can be read.
    pub bios_uuid: Option<String>,
    /// Its identity in this vCenter, if its configuration can be read.
    pub instance_uuid: Option<String>,
    /// Whether it is a template.
    pub is_template: bool,
    /// The key of its home, if that is encrypted.
    pub kms_key: Option<KmsKey>,
    /// Whether changes of its disks are tracked.
    pub tracks_changes: bool,
    /// Whether it runs.
    pub power_state: PowerState,
    /// `connected`, or why the host cannot say anything of it: `disconnected`, `inaccessible`, `orphaned`, `invalid`.
    pub connection_state: String,
    /// Whether disks of snapshots that are gone still wait to be joined.
    pub needs_consolidation: bool,
    /// Where it runs.
    pub host: Option<ManagedObject>,
    /// Whether it has snapshots.
    pub has_snapshots: bool,
    /// Its folder; a VM of a vApp has none.
    pub folder: Option<ManagedObject>,
}

impl VmSummary {
    fn of(properties: &Properties) -> Result<Self, PropertyError> {
        let text = |path: &str| properties.text(path).map(|text| text.map(str::to_owned));
        let power_state = match properties.text("runtime.powerState")?.unwrap_or_default() {
            "poweredOn" => PowerState::On,
            "poweredOff" => PowerState::Off,
            "suspended" => PowerState::Suspended,
            other => PowerState::Other(other.to_owned()),
        };
        Ok(Self {
            vm: properties.object().clone(),
            name: unescaped(properties.require("name")?.text()),
            bios_uuid: text("config.uuid")?,
            instance_uuid: text("config.instanceUuid")?,
            is_template: properties.flag("config.template")?,
            kms_key: properties.get("config.keyId")?.and_then(KmsKey::of),
            tracks_changes: properties.flag("config.changeTrackingEnabled")?,
            power_state,
            connection_state: text("runtime.connectionState")?.unwrap_or_default(),
            needs_consolidation: properties.flag("runtime.consolidationNeeded")?,
            host: properties.reference("runtime.host")?,
            has_snapshots: properties.get("snapshot")?.is_some_and(|tree| tree.child("rootSnapshotList").is_some()),
            folder: properties.reference("parent")?,
        })
    }
}

/// A list of VMs, and what could not be read of others.
#[derive(Debug, Default)]
pub struct VmList {
    /// The VMs, by name and reference.
    pub vms: Vec<VmSummary>,
    /// VMs of which something may not be read.
    pub unreadable: Vec<PropertyError>,
}

/// All VMs that the user may see, templates included.
pub fn list_vms(session: &Session) -> Result<VmList, CallError> {
    let mut list = VmList::default();
    for properties in in_view(session, "VirtualMachine", &LIST_PATHS)? {
        match VmSummary::of(&properties) {
            Ok(vm) => list.vms.push(vm),
            Err(error) => list.unreadable.push(error),
        }
    }
    list.vms.sort_by(|one, other| (&one.name, &one.vm).cmp(&(&other.name, &other.vm)));
    Ok(list)
}

/// One VM, as a list shows it.
pub fn vm_summary(session: &Session, vm: &ManagedObject) -> Result<VmSummary, InventoryError> {
    Ok(VmSummary::of(&properties_of(session, vm, &LIST_PATHS)?)?)
}

/// Properties of all objects of a kind below the root folder.
pub(crate) fn in_view(session: &Session, kind: &str, paths: &[&str]) -> Result<Vec<Properties>, CallError> {
    let content = session.content();
    let params = [
        content.root_folder.element("container"),
        Element::text_of("type", kind),
        Element::text_of("recursive", "true"),
    ];
    let view = session.call_for(calls::CREATE_CONTAINER_VIEW, &content.view_manager, &params, "view")?;
    let view = ManagedObject::of(&view).ok_or_else(|| session.incomplete(calls::CREATE_CONTAINER_VIEW, "view"))?;
    let objects = Element::new("objectSet").with(view.element("obj")).with_text("skip", "true").with(
        Element::new("selectSet")
            .with_xsi_type("TraversalSpec")
            .with_text("name", "view")
            .with_text("type", "ContainerView")
            .with_text("path", "view")
            .with_text("skip", "false"),
    );
    let found = retrieve(session, &[Wanted { kind, paths }], objects);
    // A view that stays behind ends with the session.
    let _ = session.call(calls::DESTROY_VIEW, &view, &[]);
    found
}

/// The one VM that goes by `wanted`: a moref, an instance uuid, an inventory path (`DC1/vm/web/web01`), or a name.
pub fn find_vm(session: &Session, wanted: &str) -> Result<VmSummary, InventoryError> {
    let list = list_vms(session)?;
    let by_reference = |vm: &&VmSummary| {
        vm.vm.moref() == wanted || vm.instance_uuid.as_deref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(wanted))
    };
    let mut found: Vec<&VmSummary> = list.vms.iter().filter(by_reference).collect();
    let mut paths = Vec::new();
    if found.is_empty() {
        found = list.vms.iter().filter(|vm| vm.name == wanted).collect();
    }
    if found.is_empty() && wanted.contains('/') {
        let path = wanted.trim_matches('/');
        // A name may have a slash of its own, so the last part of the path is only the end of it.
        for vm in list.vms.iter().filter(|vm| path.ends_with(vm.name.as_str())) {
            if inventory_path(session, &vm.vm)?.text() == path {
                found.push(vm);
            }
        }
    }
    if let [vm] = found.as_slice() {
        return Ok((*vm).clone());
    }
    let (server, wanted) = (session.server().to_string(), wanted.to_owned());
    if found.is_empty() {
        // A VM of that name may be there and not be readable: then that is the answer.
        return match list.unreadable.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Err(InventoryError::NoSuchVm { server, wanted }),
        };
    }
    for vm in found {
        let path = inventory_path(session, &vm.vm)?;
        paths.push(format!("{} ({})", path.text(), vm.vm.moref()));
    }
    Err(InventoryError::Ambiguous { server, wanted, found: paths })
}

/// The VM with a BIOS uuid, as the machine itself knows it: a proxy finds itself so.
pub fn find_by_bios_uuid(session: &Session, uuid: &str) -> Result<Option<ManagedObject>, CallError> {
    let params = [
        Element::text_of("uuid", uuid),
        Element::text_of("vmSearch", "true"),
        Element::text_of("instanceUuid", "false"),
    ];
    let answer = session.call(calls::FIND_BY_UUID, &session.content().search_index, &params)?;
    Ok(answer.value().and_then(ManagedObject::of))
}

/// Where an object is: those above it, from the datacenter's folders down to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryPath {
    /// Every object and its name as the server escapes it (`%2f` for a slash), topmost first, without the root folder.
    parts: Vec<(ManagedObject, String)>,
}

impl InventoryPath {
    /// Names from the top to the object: `Folder 1/DC1/vm/web01`.
    pub fn text(&self) -> String {
        self.names().join("/")
    }

    /// Each name from the top to the object.
    pub fn names(&self) -> Vec<String> {
        self.parts.iter().map(|(_, name)| unescaped(name)).collect()
    }

    /// The datacenter it is in.
    pub fn datacenter(&self) -> Option<&ManagedObject> {
        self.parts.iter().map(|(object, _)| object).find(|object| object.kind() == "Datacenter")
    }

    /// What `/folder` wants as `dcPath`: folders and name of the datacenter, as the server escapes them.
    pub fn dc_path(&self) -> Option<String> {
        let end = self.parts.iter().position(|(object, _)| object.kind() == "Datacenter")?;
        let names: Vec<&str> = self.parts.iter().take(end + 1).map(|(_, name)| name.as_str()).collect();
        Some(names.join("/"))
    }
}

/// Where `object` is, in one call.
pub fn inventory_path(session: &Session, object: &ManagedObject) -> Result<InventoryPath, InventoryError> {
    let up = |name: &str, kind: &str, path: &str| {
        Element::new("selectSet")
            .with_xsi_type("TraversalSpec")
            .with_text("name", name)
            .with_text("type", kind)
            .with_text("path", path)
            .with_text("skip", "false")
    };
    let again = |name: &str| Element::new("selectSet").with_text("name", name);
    let steps = [
        up("parent", "ManagedEntity", "parent").with(again("parent")).with(again("vapp")),
        // A VM in a vApp has no folder: the way up leads through the vApp.
        up("vapp", "VirtualMachine", "parentVApp").with(again("parent")),
    ];
    let objects = Element::new("objectSet").with(object.element("obj")).with_text("skip", "false").with_all(steps);
    let wanted = [
        Wanted { kind: "ManagedEntity", paths: &["name", "parent"] },
        Wanted { kind: "VirtualMachine", paths: &["parentVApp"] },
    ];
    let found = retrieve(session, &wanted, objects)?;
    let mut parts = Vec::new();
    let mut passed = BTreeSet::new();
    let mut next = Some(object.clone());
    while let Some(current) = next {
        // Objects of several answers of one kind may come in several parts.
        let of_it: Vec<&Properties> = found.iter().filter(|found| *found.object() == current).collect();
        let get = |path: &str| -> Result<Option<&Element>, PropertyError> {
            of_it.iter().try_fold(None, |found, part| Ok(found.or(part.get(path)?)))
        };
        if !passed.insert(current.clone()) || current == session.content().root_folder {
            break;
        }
        let Some(name) = get("name")? else { break };
        let parent = get("parent")?.and_then(ManagedObject::of);
        next = match parent {
            Some(parent) => Some(parent),
            None => get("parentVApp")?.and_then(ManagedObject::of),
        };
        parts.push((current, name.text().to_owned()));
    }
    parts.reverse();
    Ok(InventoryPath { parts })
}

/// The datacenter that an object is in, and its path for `/folder`.
pub fn datacenter_of(session: &Session, object: &ManagedObject) -> Result<(ManagedObject, String), InventoryError> {
    let path = inventory_path(session, object)?;
    match (path.datacenter(), path.dc_path()) {
        (Some(datacenter), Some(dc_path)) => Ok((datacenter.clone(), dc_path)),
        _ => Err(InventoryError::NoDatacenter { object: object.clone() }),
    }
}

/// All that a capture of a VM records, of one moment, raw XML included.
pub fn capture_properties(session: &Session, vm: &ManagedObject) -> Result<Properties, CallError> {
    properties_of(session, vm, &CAPTURE_PATHS)
}

/// The configuration that a VM or a snapshot has now.
pub fn config_of(session: &Session, of: &ManagedObject) -> Result<Element, InventoryError> {
    Ok(properties_of(session, of, &["config"])?.require("config")?.clone())
}

/// Names come with `%`, `/` and `\` escaped.
pub(crate) fn unescaped(name: &str) -> String {
    let mut out = name.to_owned();
    for (escaped, plain) in [("%2f", "/"), ("%2F", "/"), ("%5c", "\\"), ("%5C", "\\"), ("%25", "%")] {
        out = out.replace(escaped, plain);
    }
    out
}

#[cfg(test)]
mod tests;
