//! What a place is like: everything that a decision asks of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    PlaceError, TargetPlace,
    inventory::TargetInventory,
    networks::{self, FoundNetwork},
    place,
};
use crate::{
    key_provider::{KeyProvider, key_states},
    privilege::{
        Needed, RESTORE_DATASTORE, RESTORE_ENCRYPTED_FOLDER, RESTORE_ENCRYPTED_HOST, RESTORE_FOLDER, RESTORE_NETWORK,
        RESTORE_POLICY_ROOT, RESTORE_POOL, check_privileges,
    },
    properties::properties_of,
    recovery::{
        HostCrypto, NameState, NeededFor, PrivilegeGap, ProviderState, RegisterHost, ServerKind, TargetFacts, Wish,
        guards::new_name, keys_to_ask,
    },
    session::Session,
    soap::ManagedObject,
    vm_home::SavedVm,
};

/// A target: where, and what it is like there.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where.
    pub place: TargetPlace,
    /// What it is like.
    pub facts: TargetFacts,
}

impl Target {
    /// Looks for the place of a VM and asks everything that [`decide`](crate::recovery::decide) wants to know of it.
    pub fn gather(
        session: &Session,
        looked: &TargetInventory,
        saved: &SavedVm,
        wish: &Wish,
    ) -> Result<Self, PlaceError> {
        let place = place::find(session, looked, saved, &wish.map.placement(&saved.name))?;
        let networks = networks::wanted(session, &place.networks, saved, &wish.map)?;
        let name = new_name(saved, wish);
        let taken = looked.vms.iter().any(|vm| vm.name == name && vm.folder.as_ref() == Some(&place.vm.folder));
        let rights = Rights::ask(session, looked, &place, &networks, saved)?;
        // Who brings back a VM that was never encrypted needs no right to ask for keys.
        let providers = if saved.encryption.is_clear() { &[] } else { looked.providers(session)? };
        let keys = keys_to_ask(saved, wish);
        let states = if keys.is_empty() { Vec::new() } else { key_states(session, providers, &keys)? };
        let free = looked.datastores.iter().find(|datastore| datastore.object == place.datastore);
        let facts = TargetFacts {
            place: format!("{} {}", session.server().host(), place.text),
            server: if session.about().is_vcenter() { ServerKind::VCenter } else { ServerKind::BareHost },
            providers: providers.iter().map(|provider| provider.id.clone()).collect::<BTreeSet<_>>(),
            keys: keys.into_iter().zip(states).collect::<BTreeMap<_, _>>(),
            default_provider: default_provider(providers),
            policies: looked.policies.clone(),
            host: place.host_name.clone(),
            host_crypto: host_crypto(session, &place.hosts)?,
            register_host: rights.register_host,
            name: if taken { NameState::Taken } else { NameState::Free },
            networks: networks.into_iter().map(|found| found.network).collect(),
            missing_privileges: rights.missing,
            datastore: place.datastore_name.clone(),
            free_bytes: free.and_then(|datastore| datastore.free_bytes),
        };
        Ok(Self { place, facts })
    }
}

fn default_provider(providers: &[KeyProvider]) -> ProviderState {
    let Some(provider) = providers.iter().find(|provider| provider.is_default) else { return ProviderState::None };
    let id = provider.id.clone();
    match provider.is_active {
        Some(true) => ProviderState::Active { id },
        Some(false) => ProviderState::Down { id },
        None => ProviderState::Unsure { id },
    }
}

/// The best that the hosts can do: a cluster that chooses takes one that is fit.
fn host_crypto(session: &Session, hosts: &[ManagedObject]) -> Result<HostCrypto, PlaceError> {
    let rank = |state: HostCrypto| match state {
        HostCrypto::Safe => 4,
        HostCrypto::Unknown => 3,
        HostCrypto::Prepared => 2,
        HostCrypto::Incapable => 1,
        HostCrypto::PendingIncapable => 0,
    };
    let mut best = None;
    for host in hosts {
        let found = properties_of(session, host, &["runtime.cryptoState"])?;
        let state = match found.text("runtime.cryptoState")? {
            Some("safe") => HostCrypto::Safe,
            Some("prepared") => HostCrypto::Prepared,
            Some("incapable") => HostCrypto::Incapable,
            Some("pendingIncapable") => HostCrypto::PendingIncapable,
            _ => HostCrypto::Unknown,
        };
        best = [best, Some(state)].into_iter().flatten().max_by_key(|state| rank(*state));
    }
    Ok(best.unwrap_or(HostCrypto::Unknown))
}

/// What of the rights is missing.
struct Rights {
    missing: Vec<PrivilegeGap>,
    register_host: RegisterHost,
}

impl Rights {
    fn ask(
        session: &Session,
        looked: &TargetInventory,
        place: &TargetPlace,
        networks: &[FoundNetwork],
        saved: &SavedVm,
    ) -> Result<Self, PlaceError> {
        let root = session.content().root_folder.clone();
        let mut wanted: Vec<(ManagedObject, Needed)> = vec![
            (place.vm.folder.clone(), RESTORE_FOLDER),
            (place.vm.pool.clone(), RESTORE_POOL),
            (place.datastore.clone(), RESTORE_DATASTORE),
            (root.clone(), RESTORE_POLICY_ROOT),
        ];
        wanted.extend(networks.iter().map(|found| (found.object.clone(), RESTORE_NETWORK)));
        if !saved.encryption.is_clear() {
            wanted.push((place.vm.folder.clone(), RESTORE_ENCRYPTED_FOLDER));
            let host = place.vm.host.clone().unwrap_or_else(|| place.vm.pool.clone());
            wanted.push((host, RESTORE_ENCRYPTED_HOST));
        }
        let check = check_privileges(session, &wanted)?;
        let (of_host, missing): (Vec<_>, Vec<_>) =
            check.missing.into_iter().partition(|missing| RESTORE_ENCRYPTED_HOST.ids.contains(&missing.id));
        let named = |object: &ManagedObject| {
            if *object == root {
                return "the vCenter's root folder".to_owned();
            }
            let datastore = looked.datastores.iter().find(|datastore| datastore.object == *object);
            let network = networks.iter().find(|network| network.object == *object);
            match (datastore, network) {
                (Some(datastore), _) => format!("datastore {}", datastore.name),
                (_, Some(found)) => format!("network {}", found.network.name),
                _ => looked.path(object),
            }
        };
        let missing = missing.into_iter().map(|missing| PrivilegeGap {
            id: missing.id.to_owned(),
            object: named(&missing.object),
            needed_for: match RESTORE_ENCRYPTED_FOLDER.ids.contains(&missing.id) {
                true => NeededFor::Encryption,
                false => NeededFor::Restore,
            },
        });
        Ok(Self {
            missing: missing.collect(),
            register_host: if of_host.is_empty() { RegisterHost::Granted } else { RegisterHost::Missing },
        })
    }
}
