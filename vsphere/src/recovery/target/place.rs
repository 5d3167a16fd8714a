//! Where a VM goes: as was asked for, else where it was, else the only place there is, else a question.

use super::{
    PlaceError, TargetPlace,
    inventory::{Compute, Datastore, TargetInventory},
};
use crate::{
    datastore_file::DatastorePath,
    inventory::datacenter_of,
    properties::properties_of,
    recovery::Placement,
    session::Session,
    soap::ManagedObject,
    vm_change::VmPlace,
    vm_home::{SavedVm, VmHomeDocument},
};

/// As many names as a person reads in a message.
const LISTED_MAX: usize = 12;

/// Finds the place of a VM.
pub(super) fn find(
    session: &Session,
    looked: &TargetInventory,
    saved: &SavedVm,
    wanted: &Placement,
) -> Result<TargetPlace, PlaceError> {
    let document = saved.configuration.as_deref().ok();
    let folder = folder(looked, document, wanted)?;
    let datacenter = looked.datacenter(&folder).cloned();
    let (compute, pool) = pool(looked, datacenter.as_ref(), wanted)?;
    let datastore = datastore(looked, compute, document, wanted)?;
    let fit = fit_hosts(session, compute)?;
    let chosen = fit.first().filter(|_| !compute.places_vms).cloned();
    let hosts = match &chosen {
        Some((_, host)) => vec![host.clone()],
        None => fit.into_iter().map(|(_, host)| host).collect(),
    };
    let (host_name, host) = chosen.unzip();
    let (_, dc_path) = datacenter_of(session, &folder)?;
    let above = datacenter.as_ref().and_then(|datacenter| looked.names(datacenter).last().copied()).unwrap_or_default();
    Ok(TargetPlace {
        text: format!("{above}/{}/{}", compute.name, datastore.name),
        vm: VmPlace { folder, pool, host },
        datastore: datastore.object.clone(),
        datastore_name: datastore.name.clone(),
        dc_path,
        host_name,
        hosts,
        networks: compute.networks.clone(),
    })
}

fn folder(
    looked: &TargetInventory,
    document: Option<&VmHomeDocument>,
    wanted: &Placement,
) -> Result<ManagedObject, PlaceError> {
    let of_path = |path: &str| looked.vm_folders.iter().find(|folder| looked.path(folder) == path).cloned();
    if let Some(wanted) = &wanted.folder {
        return of_path(wanted.trim_matches('/')).ok_or_else(|| PlaceError::NoSuch {
            what: "folder",
            wanted: wanted.clone(),
            there: shortened(looked.vm_folders.iter().map(|folder| looked.path(folder))),
        });
    }
    let was =
        document.and_then(|document| document.identity.inventory_path.split_last()).map(|(_, above)| above.join("/"));
    if let Some(folder) = was.and_then(|path| of_path(&path)) {
        return Ok(folder);
    }
    // The top folder of a datacenter is where a VM goes that has no other.
    let is_top = |folder: &&ManagedObject| looked.names(folder).last() == Some(&"vm");
    only("folder", looked.vm_folders.iter().filter(is_top), |folder| looked.path(folder)).cloned()
}

fn pool<'l>(
    looked: &'l TargetInventory,
    datacenter: Option<&ManagedObject>,
    wanted: &Placement,
) -> Result<(&'l Compute, ManagedObject), PlaceError> {
    let here: Vec<&Compute> = {
        let in_it = |compute: &&Compute| datacenter.is_none() || looked.datacenter(&compute.object) == datacenter;
        looked.computes.iter().filter(in_it).collect()
    };
    let of_text = |compute: &&&Compute, text: &str| compute.name == text || looked.path(&compute.object) == text;
    let no_such = |wanted: &str, what| PlaceError::NoSuch {
        what,
        wanted: wanted.to_owned(),
        there: shortened(here.iter().map(|compute| looked.path(&compute.object))),
    };
    if let Some(wanted) = &wanted.pool {
        let text = wanted.trim_matches('/');
        if let Some(compute) = here.iter().find(|compute| of_text(compute, text)) {
            return Ok((compute, compute.pool.clone()));
        }
        let found = looked.pools.iter().find(|(pool, _)| looked.path(pool) == text);
        let found = found.and_then(|(pool, owner)| {
            here.iter().find(|compute| compute.object == *owner).map(|compute| (*compute, pool.clone()))
        });
        return found.ok_or_else(|| no_such(wanted, "resource pool or cluster"));
    }
    if let Some(wanted) = &wanted.cluster {
        let compute = here.iter().find(|compute| of_text(compute, wanted.trim_matches('/')));
        return compute.map(|compute| (*compute, compute.pool.clone())).ok_or_else(|| no_such(wanted, "cluster"));
    }
    let compute = only("resource pool or cluster", here.iter(), |compute| looked.path(&compute.object))?;
    Ok((compute, compute.pool.clone()))
}

fn datastore<'l>(
    looked: &'l TargetInventory,
    compute: &Compute,
    document: Option<&VmHomeDocument>,
    wanted: &Placement,
) -> Result<&'l Datastore, PlaceError> {
    let here: Vec<&Datastore> =
        looked.datastores.iter().filter(|datastore| compute.datastores.contains(&datastore.object)).collect();
    let of_name = |name: &str| here.iter().copied().find(|datastore| datastore.name == name);
    let usable = |datastore: &'l Datastore| match &datastore.unusable {
        Some(why) => Err(PlaceError::Unusable { name: datastore.name.clone(), why: why.clone() }),
        None => Ok(datastore),
    };
    if let Some(wanted) = &wanted.datastore {
        let there = || shortened(here.iter().map(|datastore| datastore.name.clone()));
        let found = of_name(wanted);
        return usable(found.ok_or_else(|| PlaceError::NoSuch {
            what: "datastore",
            wanted: wanted.clone(),
            there: there(),
        })?);
    }
    let vmx = document.and_then(|document| document.config.element().text_at("files.vmPathName"));
    let was = vmx.and_then(|path| path.parse::<DatastorePath>().ok());
    if let Some(datastore) = was.and_then(|path| of_name(path.datastore())) {
        return usable(datastore);
    }
    let usable = here.iter().filter(|datastore| datastore.unusable.is_none());
    only("datastore", usable, |datastore| datastore.name.clone()).copied()
}

/// Hosts that are connected and not in maintenance, those in encryption mode first, with their names.
fn fit_hosts(session: &Session, compute: &Compute) -> Result<Vec<(String, ManagedObject)>, PlaceError> {
    let paths = ["name", "runtime.connectionState", "runtime.inMaintenanceMode", "runtime.cryptoState"];
    let mut fit = Vec::new();
    for host in &compute.hosts {
        let found = properties_of(session, host, &paths)?;
        let is_fit =
            found.text("runtime.connectionState")? == Some("connected") && !found.flag("runtime.inMaintenanceMode")?;
        if is_fit {
            let is_safe = found.text("runtime.cryptoState")? == Some("safe");
            fit.push((!is_safe, found.text("name")?.unwrap_or_default().to_owned(), host.clone()));
        }
    }
    fit.sort();
    Ok(fit.into_iter().map(|(_, name, host)| (name, host)).collect())
}

/// The only one there is.
fn only<T>(
    what: &'static str,
    mut found: impl Iterator<Item = T> + Clone,
    name: impl Fn(&T) -> String,
) -> Result<T, PlaceError> {
    let all = found.clone();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(PlaceError::Choose { what, there: shortened(all.map(|one| name(&one))) }),
    }
}

fn shortened(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    let more = names.len().saturating_sub(LISTED_MAX);
    names.truncate(LISTED_MAX);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names
}
