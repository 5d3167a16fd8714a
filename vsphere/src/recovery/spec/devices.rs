//! Devices of a specification: controllers, disks, network cards, vTPM. Keys are negative, as for what is not there yet.

use super::{SpecError, crypto, profile};
use crate::{
    recovery::{
        disks::{DiskKeys, DiskPlan},
        facts::{NetworkBacking, TargetFacts},
        home::HomePlan,
        plan::{Recovery, VtpmRow},
        wish::Wish,
    },
    soap::Element,
    vm_home::{
        ConfigController, ConfigVtpm, ControllerKind, DocumentDisk, DocumentNic, SavedVm, VmConfig, VmHomeDocument,
    },
};

const CONTROLLERS: i32 = -101;
const NICS: i32 = -201;
const VTPM: i32 = -301;
const DISKS: i32 = -1001;
/// Key of the first of the two IDE controllers that vCenter gives to every VM.
const FIRST_IDE: i32 = 200;

/// Every `deviceChange`.
pub(super) fn changes(
    saved: &SavedVm,
    document: &VmHomeDocument,
    config: &VmConfig,
    recovery: &Recovery,
    wish: &Wish,
    facts: &TargetFacts,
) -> Result<Vec<Element>, SpecError> {
    // Disks hang on controllers of the configuration that they were read with.
    let of_snapshot = document.snapshot_config.as_ref().map(|raw| VmConfig::read(raw.element())).transpose()?;
    let controllers = renumbered(&of_snapshot.as_ref().unwrap_or(config).controllers);
    let mut changes: Vec<Element> = controllers.iter().map(|(new, saved)| added(controller(*new, saved))).collect();
    for (plan, key) in recovery.disks.iter().zip(counting_down(DISKS)) {
        let saved = document.disks.iter().find(|disk| disk.name == plan.name);
        let saved = saved.ok_or_else(|| SpecError::NoDisk { disk: plan.name.clone() })?;
        changes.push(disk(key, plan, saved, &controllers));
    }
    for (card, key) in document.nics.iter().zip(counting_down(NICS)) {
        changes.push(added(nic(key, card, wish, facts)?));
    }
    if let (Some(vtpm), Some(row)) = (&saved.vtpm, recovery.vtpm) {
        changes.extend(vtpm_device(vtpm, row, &recovery.home).map(added));
    }
    Ok(changes)
}

fn counting_down(first: i32) -> impl Iterator<Item = i32> {
    (i32::MIN..=first).rev()
}

fn renumbered(controllers: &[ConfigController]) -> Vec<(i32, &ConfigController)> {
    let made = |kind| matches!(kind, ControllerKind::Scsi | ControllerKind::Sata | ControllerKind::Nvme);
    let mut made: Vec<&ConfigController> = controllers.iter().filter(|controller| made(controller.kind)).collect();
    made.sort_by_key(|controller| (controller.kind, controller.bus, controller.key));
    counting_down(CONTROLLERS).zip(made).collect()
}

fn change() -> Element {
    Element::new("deviceChange").with_xsi_type("VirtualDeviceConfigSpec").with_text("operation", "add")
}

fn added(device: Element) -> Element {
    change().with(device)
}

fn device(kind: &str, key: i32) -> Element {
    Element::new("device").with_xsi_type(kind).with_text("key", key.to_string())
}

fn controller(key: i32, saved: &ConfigController) -> Element {
    let shared = saved.shared_bus.as_deref().or((saved.kind == ControllerKind::Scsi).then_some("noSharing"));
    device(&saved.device_type, key)
        .with_text("busNumber", saved.bus.to_string())
        .with_all(shared.map(|shared| Element::text_of("sharedBus", shared)))
}

fn disk(key: i32, plan: &DiskPlan, saved: &DocumentDisk, controllers: &[(i32, &ConfigController)]) -> Element {
    let new = controllers.iter().find(|(_, controller)| controller.key == saved.controller_key).map(|(new, _)| *new);
    // An IDE controller is not made: the VM gets the same two as every other.
    let controller = new.unwrap_or_else(|| FIRST_IDE.saturating_add(saved.bus));
    let thin = saved.thin.map(|thin| Element::text_of("thinProvisioned", thin.to_string()));
    let backing = Element::new("backing")
        .with_xsi_type("VirtualDiskFlatVer2BackingInfo")
        .with_text("fileName", "")
        .with_text("diskMode", saved.mode.as_deref().unwrap_or("persistent"))
        .with_all(thin);
    let device = device("VirtualDisk", key)
        .with(backing)
        .with_text("controllerKey", controller.to_string())
        .with_text("unitNumber", saved.unit.to_string())
        .with_text("capacityInKB", plan.capacity_bytes.div_ceil(1024).to_string())
        .with_text("capacityInBytes", plan.capacity_bytes.to_string());
    let key = match &plan.keys {
        DiskKeys::Own(key) => Some(Element::new("backing").with(crypto(key))),
        DiskKeys::Clear | DiskKeys::New => None,
    };
    change()
        .with_text("fileOperation", "create")
        .with(device)
        .with_all(plan.policy.as_ref().map(|policy| profile("profile", policy)))
        .with_all(key)
}

/// A hardware address is kept where a person chose it; every other is made anew, as the old VM may still be there.
fn nic(key: i32, saved: &DocumentNic, wish: &Wish, facts: &TargetFacts) -> Result<Element, SpecError> {
    let name = wish.map.network(&saved.network);
    let missing = || SpecError::NoNetwork { nic: saved.label.clone(), network: name.to_owned() };
    let network = facts.network(name).ok_or_else(missing)?;
    let backing = match &network.backing {
        NetworkBacking::Standard => Element::new("backing")
            .with_xsi_type("VirtualEthernetCardNetworkBackingInfo")
            .with_text("deviceName", &network.name),
        NetworkBacking::Distributed { switch_uuid, portgroup_key } => {
            let port =
                Element::new("port").with_text("switchUuid", switch_uuid).with_text("portgroupKey", portgroup_key);
            Element::new("backing").with_xsi_type("VirtualEthernetCardDistributedVirtualPortBackingInfo").with(port)
        }
        NetworkBacking::Opaque { id, network_type } => Element::new("backing")
            .with_xsi_type("VirtualEthernetCardOpaqueNetworkBackingInfo")
            .with_text("opaqueNetworkId", id)
            .with_text("opaqueNetworkType", network_type),
    };
    let chosen = saved.address_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("manual"));
    let mac = saved.mac.as_ref().filter(|_| chosen);
    let address_type = if mac.is_some() { "manual" } else { "generated" };
    Ok(device(&saved.device_type, key)
        .with(backing)
        .with_text("addressType", address_type)
        .with_all(mac.map(|mac| Element::text_of("macAddress", mac))))
}

/// The vTPM as it was where its content comes back with NVRAM and bundle; an empty one where new keys are made.
fn vtpm_device(saved: &ConfigVtpm, row: VtpmRow, home: &HomePlan) -> Option<Element> {
    if !home.encrypts() {
        return None;
    }
    let empty = device("VirtualTPM", VTPM);
    match row {
        VtpmRow::T1 | VtpmRow::T2 => {
            let all = |name: &'static str, texts: &[String]| {
                texts.iter().map(|text| Element::text_of(name, text)).collect::<Vec<_>>()
            };
            let requests = all("endorsementKeyCertificateSigningRequest", &saved.signing_requests);
            Some(empty.with_all(requests).with_all(all("endorsementKeyCertificate", &saved.certificates)))
        }
        VtpmRow::T3 => Some(empty),
        VtpmRow::T4 => None,
    }
}
