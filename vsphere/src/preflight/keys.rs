//! P9: whether each key could be had today.

use std::collections::BTreeMap;

use super::{
    finding::{CheckId, Finding, State},
    looked_vm::LookedVm,
};
use crate::{
    key_provider::{KeyProvider, key_providers, key_state, key_status},
    recovery::KeyState,
    session::Session,
    vm_home::{KmsKey, VmConfig},
};

/// What a key is used for.
#[derive(Default)]
struct Use {
    homes: Vec<String>,
    disks: Vec<String>,
}

impl Use {
    fn text(&self) -> String {
        let part = |word: &str, of: &[String]| match of {
            [] => None,
            [one] => Some(format!("{word}{one}")),
            [first, rest @ ..] => Some(format!("{word}{first} and {} more", rest.len())),
        };
        let parts = [part("home of ", &self.homes), part("", &self.disks)];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// What a key that is not to be had costs. Disks are stored decrypted: a disk's key alone loses nothing.
    fn cost(&self) -> &'static str {
        if self.homes.is_empty() {
            "a restore today would give its disks a new key"
        } else {
            "a same-keys restore would fail today"
        }
    }
}

/// P9.
pub(super) fn check(session: &Session, vms: &[LookedVm<'_>]) -> Vec<Finding> {
    let keys = uses(vms.iter().map(|vm| (vm.name(), &vm.config)));
    if keys.is_empty() {
        return vec![Finding::ok(CheckId::Keys, "keys", "nothing is encrypted: no key is needed")];
    }
    let providers = match providers(session) {
        Ok(providers) => providers,
        Err(finding) => return vec![finding],
    };
    let mut findings: Vec<Finding> =
        providers.iter().filter(|of| of.is_active == Some(false)).map(unreachable).collect();
    findings.extend(keys.iter().map(|(key, used)| check_key(session, &providers, key, used)));
    findings
}

/// P9 of one VM, as far as it is about its keys.
pub(crate) fn check_keys_of(session: &Session, vm: &str, config: &VmConfig) -> Vec<Finding> {
    let keys = uses([(vm, config)].into_iter());
    if keys.is_empty() {
        return Vec::new();
    }
    match providers(session) {
        Ok(providers) => keys.iter().map(|(key, used)| check_key(session, &providers, key, used)).collect(),
        // Whether keys can be had is the doctor's question: no night is worth less without its answer.
        Err(finding) => vec![Finding { state: State::Note, ..finding }],
    }
}

fn uses<'c>(vms: impl Iterator<Item = (&'c str, &'c VmConfig)>) -> BTreeMap<&'c KmsKey, Use> {
    let mut keys: BTreeMap<&KmsKey, Use> = BTreeMap::new();
    for (name, config) in vms {
        if let Some(key) = &config.kms_key {
            keys.entry(key).or_default().homes.push(name.to_owned());
        }
        for disk in &config.disks {
            if let Some(key) = &disk.kms_key {
                keys.entry(key).or_default().disks.push(format!("{name} {}", disk.name));
            }
        }
    }
    keys
}

fn providers(session: &Session) -> Result<Vec<KeyProvider>, Finding> {
    key_providers(session).map_err(|error| {
        let text = format!("key providers could not be asked, so nobody knows whether keys can be had: {error}");
        Finding::warning(CheckId::Keys, "key providers", text)
            .hint(format!("grant Cryptographer.ReadKeyServersInfo to {}", session.credentials().user))
    })
}

fn unreachable(provider: &KeyProvider) -> Finding {
    let text = "the vCenter does not reach this key provider";
    let object = format!("key provider {}", provider.id);
    Finding::warning(CheckId::Keys, object, text).hint("make its key servers reachable from the vCenter")
}

fn check_key(session: &Session, providers: &[KeyProvider], key: &KmsKey, used: &Use) -> Finding {
    let status = match key_status(session, key) {
        Ok(status) => status,
        Err(error) => return Finding::warning(CheckId::Keys, key, format!("{error} ({})", used.text())),
    };
    let provider = key.provider_name();
    let reason = status.as_ref().and_then(|status| status.reason.as_deref());
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let (what, hint) = match key_state(providers, key, status.as_ref()) {
        KeyState::Usable => return Finding::ok(CheckId::Keys, key, format!("can be had now: {}", used.text())),
        KeyState::Unsure => {
            let text = format!("the server cannot say whether it can be had{reason}: {}", used.text());
            return Finding::note(CheckId::Keys, key, text);
        }
        KeyState::Lost => (
            format!("key provider {provider} does not have it any more{reason}"),
            "bring the key back from the key server's own backup, or move the VM to another key in vSphere".to_owned(),
        ),
        KeyState::Down => (
            format!("key provider {provider} is not reachable{reason}"),
            format!("make key provider {provider} reachable from the vCenter"),
        ),
        KeyState::Stranger => (
            format!("key provider {provider} is not known to this vCenter{reason}"),
            format!("set the provider up in this vCenter under the same name, {provider}"),
        ),
        KeyState::None => (
            "this vCenter has no key provider".to_owned(),
            format!("set the provider up in this vCenter under the same name, {provider}"),
        ),
    };
    Finding::warning(CheckId::Keys, key, format!("{what}: {} ({})", used.cost(), used.text())).hint(hint)
}
