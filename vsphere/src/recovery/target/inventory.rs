//! Folders, clusters, pools and datastores of a vCenter: looked at once, for however many VMs.

use std::collections::BTreeMap;

use repo_format::StoragePolicy;

use super::PlaceError;
use crate::{
    inventory::{VmSummary, in_view, list_vms, unescaped},
    key_provider::{KeyProvider, key_providers},
    policy::Policies,
    properties::Properties,
    session::Session,
    soap::{Element, ManagedObject},
};

/// A cluster, or a host that is in none.
#[derive(Clone, Debug)]
pub(super) struct Compute {
    pub object: ManagedObject,
    pub name: String,
    /// Its own pool, above all others.
    pub pool: ManagedObject,
    pub hosts: Vec<ManagedObject>,
    pub datastores: Vec<ManagedObject>,
    pub networks: Vec<ManagedObject>,
    /// It chooses hosts by itself.
    pub places_vms: bool,
}

/// A datastore.
#[derive(Clone, Debug)]
pub(super) struct Datastore {
    pub object: ManagedObject,
    pub name: String,
    pub free_bytes: Option<u64>,
    /// Why it takes no files.
    pub unusable: Option<String>,
}

/// What is asked of a vCenter once.
pub struct TargetInventory {
    names: BTreeMap<ManagedObject, (String, Option<ManagedObject>)>,
    pub(super) vm_folders: Vec<ManagedObject>,
    pub(super) computes: Vec<Compute>,
    pub(super) pools: Vec<(ManagedObject, ManagedObject)>,
    pub(super) datastores: Vec<Datastore>,
    pub(super) vms: Vec<VmSummary>,
    pub(super) policies: Vec<StoragePolicy>,
    providers: std::cell::OnceCell<Vec<KeyProvider>>,
}

impl TargetInventory {
    /// Looks.
    pub fn look(session: &Session) -> Result<Self, PlaceError> {
        let mut looked = Self {
            names: BTreeMap::new(),
            vm_folders: Vec::new(),
            computes: Vec::new(),
            pools: Vec::new(),
            datastores: Vec::new(),
            vms: list_vms(session)?.vms,
            policies: Policies::of(session)?.all()?,
            providers: std::cell::OnceCell::new(),
        };
        for datacenter in in_view(session, "Datacenter", &["name", "parent"])? {
            looked.remember(&datacenter)?;
        }
        for folder in in_view(session, "Folder", &["name", "parent", "childType"])? {
            looked.remember(&folder)?;
            let takes_vms =
                folder.get("childType")?.is_some_and(|kinds| texts(kinds).any(|kind| kind == "VirtualMachine"));
            if takes_vms {
                looked.vm_folders.push(folder.object().clone());
            }
        }
        let paths = ["name", "parent", "resourcePool", "host", "datastore", "network"];
        for compute in in_view(session, "ComputeResource", &paths)? {
            looked.remember(&compute)?;
            looked.computes.extend(compute_of(session, &compute)?);
        }
        for pool in in_view(session, "ResourcePool", &["name", "parent", "owner"])? {
            looked.remember(&pool)?;
            if let Some(owner) = pool.reference("owner")? {
                looked.pools.push((pool.object().clone(), owner));
            }
        }
        let paths = ["name", "summary.freeSpace", "summary.accessible", "summary.maintenanceMode"];
        for datastore in in_view(session, "Datastore", &paths)? {
            looked.datastores.push(datastore_of(&datastore)?);
        }
        Ok(looked)
    }

    fn remember(&mut self, found: &Properties) -> Result<(), PlaceError> {
        let name = unescaped(found.text("name")?.unwrap_or_default());
        self.names.insert(found.object().clone(), (name, found.reference("parent")?));
        Ok(())
    }

    /// Names from the top down to an object, without the root folder.
    pub(super) fn names(&self, object: &ManagedObject) -> Vec<&str> {
        let mut names = Vec::new();
        let mut next = Some(object);
        // As deep as inventories are at most; a ring of parents ends there, too.
        while let Some((name, parent)) = next.and_then(|object| self.names.get(object)).filter(|_| names.len() < 100) {
            names.push(name.as_str());
            next = parent.as_ref();
        }
        names.reverse();
        names
    }

    /// `DC1/vm/web`.
    pub(super) fn path(&self, object: &ManagedObject) -> String {
        self.names(object).join("/")
    }

    /// The datacenter above an object.
    pub(super) fn datacenter(&self, object: &ManagedObject) -> Option<&ManagedObject> {
        let mut next = self.names.get_key_value(object);
        for _ in 0..100 {
            let (current, (_, parent)) = next?;
            if current.kind() == "Datacenter" {
                return Some(current);
            }
            next = self.names.get_key_value(parent.as_ref()?);
        }
        None
    }

    /// Key providers, asked for when somebody wants to know.
    pub(super) fn providers(&self, session: &Session) -> Result<&[KeyProvider], PlaceError> {
        if self.providers.get().is_none() {
            // Set once, here only.
            let _ = self.providers.set(key_providers(session)?);
        }
        Ok(self.providers.get().map(Vec::as_slice).unwrap_or_default())
    }
}

fn texts(list: &Element) -> impl Iterator<Item = &str> {
    list.children().iter().map(Element::text)
}

fn references(found: &Properties, path: &str) -> Result<Vec<ManagedObject>, PlaceError> {
    let list = found.get(path)?.map(|list| list.children().iter().filter_map(ManagedObject::of).collect());
    Ok(list.unwrap_or_default())
}

fn compute_of(session: &Session, found: &Properties) -> Result<Option<Compute>, PlaceError> {
    let Some(pool) = found.reference("resourcePool")? else { return Ok(None) };
    Ok(Some(Compute {
        object: found.object().clone(),
        name: unescaped(found.text("name")?.unwrap_or_default()),
        pool,
        hosts: references(found, "host")?,
        datastores: references(found, "datastore")?,
        networks: references(found, "network")?,
        places_vms: places_vms(session, found.object())?,
    }))
}

/// A cluster with DRS chooses hosts by itself; every other must be told one.
fn places_vms(session: &Session, compute: &ManagedObject) -> Result<bool, PlaceError> {
    if compute.kind() != "ClusterComputeResource" {
        return Ok(false);
    }
    let found = crate::properties::properties_of(session, compute, &["configurationEx"])?;
    let config = found.get("configurationEx").ok().flatten();
    Ok(config.and_then(|config| config.flag_at("drsConfig.enabled")).unwrap_or_default())
}

fn datastore_of(found: &Properties) -> Result<Datastore, PlaceError> {
    let mode = found.text("summary.maintenanceMode")?.unwrap_or("normal");
    let unusable = match (found.text("summary.accessible")?, mode) {
        (Some("false"), _) => Some("it is not accessible".to_owned()),
        (_, "normal") => None,
        (_, mode) => Some(format!("its maintenance mode is {mode}")),
    };
    Ok(Datastore {
        object: found.object().clone(),
        name: unescaped(found.text("name")?.unwrap_or_default()),
        free_bytes: found.text("summary.freeSpace")?.and_then(|text| text.parse().ok()),
        unusable,
    })
}
