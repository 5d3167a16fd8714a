//! The `ConfigSpec` of a decision: what `CreateVM_Task` is given, elements in the order of VMware's WSDL.
//!
//! **Invariant:** key and bundle come out of one value ([`VmEncryption`](crate::vm_home::VmEncryption)), so neither is sent
//! without the other; a key id stands in `keyId` and a provider in `providerId.id`.

mod devices;
#[cfg(test)]
mod tests;

use std::fmt;

use zeroize::Zeroizing;

use super::{facts::TargetFacts, home::HomePlan, plan::Recovery, policy::PolicyChoice, reason::Reason, wish::Wish};
use crate::{
    soap::Element,
    vm_home::{ConfigError, KmsKey, NoConfiguration, SavedVm, VmConfig},
};

/// Why there is no specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// There is nothing to make a VM from.
    #[error("no VM can be made from this point: {0}")]
    NoConfiguration(#[from] NoConfiguration),
    /// The saved configuration cannot be understood.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The plan has a disk that the configuration does not.
    #[error("the saved configuration has no {disk}; this program contradicts itself")]
    NoDisk {
        /// It.
        disk: String,
    },
    /// A network card's network is not here.
    #[error("{nic}: there is no network \"{network}\" here; this program contradicts itself")]
    NoNetwork {
        /// The card.
        nic: String,
        /// The network.
        network: String,
    },
    /// The bundle is no text.
    #[error("encryption.bundle of this point is no text")]
    Bundle,
}

impl SpecError {
    /// How to react.
    pub fn kind(&self) -> engine::Kind {
        match self {
            Self::NoConfiguration(why) => match (Reason::NoConfiguration { why: why.clone() }).ending() {
                super::Ending::Damaged => engine::Kind::Damaged,
                _ => engine::Kind::Invalid,
            },
            Self::Config(error) => error.kind(),
            Self::Bundle => engine::Kind::Damaged,
            Self::NoDisk { .. } | Self::NoNetwork { .. } => engine::Kind::Bug,
        }
    }
}

/// The option in `extraConfig` that tells which run made a VM.
pub const RUN_OPTION: &str = "strongroom.run";

/// A specification. It holds the bundle: it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigSpec(Element);

impl ConfigSpec {
    /// The element, to be sent: it shows the bundle to whoever prints it.
    pub fn element(&self) -> &Element {
        &self.0
    }

    /// With the mark of the run that makes the VM: only a VM that bears it is ever destroyed by a cleanup.
    #[must_use]
    pub fn marked(self, run: &str) -> Self {
        Self(self.0.with_before(&["bootOptions", "changeTrackingEnabled"], option_value(RUN_OPTION, run)))
    }

    /// The element, to be sent.
    pub fn into_element(self) -> Element {
        self.0
    }
}

impl fmt::Debug for ConfigSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigSpec({} elements)", self.0.children().len())
    }
}

/// Builds the specification of `recovery` as element `name`.
pub fn config_spec(
    name: &str,
    saved: &SavedVm,
    recovery: &Recovery,
    wish: &Wish,
    facts: &TargetFacts,
) -> Result<ConfigSpec, SpecError> {
    let document = saved.configuration.as_ref().map_err(Clone::clone)?;
    let raw = document.config.element();
    let config = VmConfig::read(raw)?;
    let keep_uuid = wish.map.placement(&saved.name).keep_uuid == Some(true);
    let kept = |name: &str, path: &str| raw.at(path).map(|element| copied(element).renamed(name));
    let uuid = |path: &str| raw.child(path).filter(|_| keep_uuid).map(copied);
    let spec = Element::new(name)
        .with_text("name", &recovery.name)
        .with_all(kept("version", "version"))
        .with_all(uuid("uuid"))
        .with_all(uuid("instanceUuid"))
        .with_all(kept("guestId", "guestId"))
        .with_all(kept("annotation", "annotation"))
        .with(Element::new("files").with_text("vmPathName", format!("[{}]", facts.datastore)))
        .with_all(kept("flags", "flags"))
        .with_all(kept("numCPUs", "hardware.numCPU"))
        .with_all(kept("numCoresPerSocket", "hardware.numCoresPerSocket"))
        .with_all(kept("memoryMB", "hardware.memoryMB"))
        .with_all(kept("memoryHotAddEnabled", "memoryHotAddEnabled"))
        .with_all(kept("cpuHotAddEnabled", "cpuHotAddEnabled"))
        .with_all(devices::changes(saved, document, &config, recovery, wish, facts)?)
        .with_all(kept("cpuAllocation", "cpuAllocation"))
        .with_all(kept("memoryAllocation", "memoryAllocation"))
        .with_all(extra_config(raw))
        .with_all(bundle(&recovery.home)?)
        .with_all(raw.child("bootOptions").map(boot_options))
        .with_text("changeTrackingEnabled", "false")
        .with_all(kept("firmware", "firmware"))
        .with_all(kept("nestedHVEnabled", "nestedHVEnabled"))
        .with_all(recovery.policy.as_ref().map(|policy| profile("vmProfile", policy)))
        .with_all(home_crypto(&recovery.home));
    Ok(ConfigSpec(spec))
}

/// The same element without what stands only in its source.
fn copied(element: &Element) -> Element {
    let mut copy = Element::text_of(element.name(), element.text());
    if let Some(kind) = element.xsi_type() {
        copy = copy.with_xsi_type(kind);
    }
    if let Some(kind) = element.attribute("type") {
        copy = copy.with_attribute("type", kind);
    }
    copy.with_all(element.children().iter().map(copied))
}

/// Settings that guests need. What tells of files, keys or the place where the VM was is left out.
fn extra_config(raw: &Element) -> impl Iterator<Item = Element> {
    const WHOLE: [&str; 2] = ["disk.EnableUUID", "hpet0.present"];
    const BEGINNINGS: [&str; 3] = ["pciBridge", "svga.", "guestinfo."];
    let wanted = |key: &str| WHOLE.contains(&key) || BEGINNINGS.iter().any(|beginning| key.starts_with(beginning));
    raw.all("extraConfig").filter_map(move |entry| {
        let key = entry.text_at("key").filter(|key| wanted(key))?;
        Some(option_value(key, entry.text_at("value")?))
    })
}

fn option_value(key: &str, value: &str) -> Element {
    let value = Element::text_of("value", value).with_xsi_type("xsd:string");
    Element::new("extraConfig").with_xsi_type("OptionValue").with_text("key", key).with(value)
}

fn bundle(home: &HomePlan) -> Result<Option<Element>, SpecError> {
    match home {
        HomePlan::SameKeys { encryption, .. } => {
            let text = Zeroizing::new(encryption.bundle().expose().to_vec());
            let text = std::str::from_utf8(&text).map_err(|_| SpecError::Bundle)?;
            Ok(Some(option_value("encryption.bundle", text)))
        }
        HomePlan::Clear | HomePlan::NewKeys { .. } | HomePlan::InTheClear { .. } => Ok(None),
    }
}

fn home_crypto(home: &HomePlan) -> Option<Element> {
    match home {
        HomePlan::SameKeys { encryption, .. } => Some(crypto(encryption.key())),
        HomePlan::Clear | HomePlan::NewKeys { .. } | HomePlan::InTheClear { .. } => None,
    }
}

/// `CryptoSpecEncrypt` with a key.
fn crypto(key: &KmsKey) -> Element {
    let provider = key.provider.as_ref().map(|id| Element::new("providerId").with_text("id", id));
    let id = Element::new("cryptoKeyId").with_text("keyId", &key.id).with_all(provider);
    Element::new("crypto").with_xsi_type("CryptoSpecEncrypt").with(id)
}

fn profile(name: &str, choice: &PolicyChoice) -> Element {
    Element::new(name).with_xsi_type("VirtualMachineDefinedProfileSpec").with_text("profileId", &choice.policy.id)
}

/// All but the boot order: that names devices by keys they no longer have.
fn boot_options(saved: &Element) -> Element {
    let kept = saved.children().iter().filter(|child| child.name() != "bootOrder");
    Element::new("bootOptions").with_all(kept.map(copied))
}
