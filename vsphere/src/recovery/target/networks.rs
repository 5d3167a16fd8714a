//! Networks of a target, as far as the VM has cards for them.

use super::PlaceError;
use crate::{
    inventory::unescaped,
    properties::properties_of,
    recovery::{MapFile, NetworkBacking, TargetNetwork},
    session::Session,
    soap::ManagedObject,
    vm_home::SavedVm,
};

/// A network, and what calls know it by.
pub(super) struct FoundNetwork {
    pub object: ManagedObject,
    pub network: TargetNetwork,
}

/// Those of `reachable` that the VM's cards want.
pub(super) fn wanted(
    session: &Session,
    reachable: &[ManagedObject],
    saved: &SavedVm,
    map: &MapFile,
) -> Result<Vec<FoundNetwork>, PlaceError> {
    let cards = saved.configuration.iter().flat_map(|document| &document.nics);
    let names: Vec<&str> = cards.map(|nic| map.network(&nic.network)).collect();
    let mut found = Vec::new();
    if names.is_empty() {
        return Ok(found);
    }
    for object in reachable {
        let properties = properties_of(session, object, &["name"])?;
        let name = unescaped(properties.text("name")?.unwrap_or_default());
        if names.contains(&name.as_str()) && !found.iter().any(|found: &FoundNetwork| found.network.name == name) {
            let backing = backing(session, object)?;
            found.push(FoundNetwork { object: object.clone(), network: TargetNetwork { name, backing } });
        }
    }
    Ok(found)
}

fn backing(session: &Session, network: &ManagedObject) -> Result<NetworkBacking, PlaceError> {
    match network.kind() {
        "DistributedVirtualPortgroup" => {
            let group = properties_of(session, network, &["key", "config.distributedVirtualSwitch"])?;
            let not_set = || group.senseless("config.distributedVirtualSwitch", "");
            let switch = group.reference("config.distributedVirtualSwitch")?.ok_or_else(not_set)?;
            let switch = properties_of(session, &switch, &["uuid"])?;
            Ok(NetworkBacking::Distributed {
                switch_uuid: switch.require("uuid")?.text().to_owned(),
                portgroup_key: group.require("key")?.text().to_owned(),
            })
        }
        "OpaqueNetwork" => {
            let found = properties_of(session, network, &["summary"])?;
            let summary = found.require("summary")?;
            let text = |path: &str| summary.text_at(path).unwrap_or_default().to_owned();
            Ok(NetworkBacking::Opaque { id: text("opaqueNetworkId"), network_type: text("opaqueNetworkType") })
        }
        _ => Ok(NetworkBacking::Standard),
    }
}
