//! Specifications against checked-in XML, one for each path.

use super::*;
use crate::{
    recovery::{
        EncryptionWish, KeyState, Loss, MapFile, NetworkBacking, TargetNetwork, decide,
        tests::{HOME_KEY, go, key, renamed, saved_with_disk_policies, target, unbootable, wish, with_home_key},
    },
    vm_home::{
        NoConfiguration, VmEncryption,
        tests::{BUNDLE, Sample, WHOLE},
    },
};

use EncryptionWish::{NewKeys, None as InTheClear, SameKeys};

const CLEAR: Sample = Sample { key: false, bundle: false, vtpm: false, disk_keys: [None, None] };
const TWO_KEYS: Sample = Sample { key: true, bundle: true, vtpm: false, disk_keys: [Some("77aa"), Some("88bb")] };
const VTPM_AND_KEYS: Sample = Sample { vtpm: true, ..TWO_KEYS };

/// Elements of `VirtualMachineConfigSpec` in the order of VMware's WSDL.
const WSDL_ORDER: [&str; 64] = [
    "changeVersion",
    "name",
    "version",
    "createDate",
    "uuid",
    "instanceUuid",
    "npivNodeWorldWideName",
    "npivPortWorldWideName",
    "npivWorldWideNameType",
    "npivDesiredNodeWwns",
    "npivDesiredPortWwns",
    "npivTemporaryDisabled",
    "npivOnNonRdmDisks",
    "npivWorldWideNameOp",
    "locationId",
    "guestId",
    "alternateGuestName",
    "annotation",
    "files",
    "tools",
    "flags",
    "consolePreferences",
    "powerOpInfo",
    "numCPUs",
    "vcpuConfig",
    "numCoresPerSocket",
    "memoryMB",
    "memoryHotAddEnabled",
    "cpuHotAddEnabled",
    "cpuHotRemoveEnabled",
    "virtualICH7MPresent",
    "virtualSMCPresent",
    "deviceChange",
    "cpuAllocation",
    "memoryAllocation",
    "latencySensitivity",
    "cpuAffinity",
    "memoryAffinity",
    "networkShaper",
    "cpuFeatureMask",
    "extraConfig",
    "swapPlacement",
    "bootOptions",
    "vAppConfig",
    "ftInfo",
    "repConfig",
    "vAppConfigRemoved",
    "vAssertsEnabled",
    "changeTrackingEnabled",
    "firmware",
    "maxMksConnections",
    "guestAutoLockEnabled",
    "managedBy",
    "memoryReservationLockedToMax",
    "nestedHVEnabled",
    "vPMCEnabled",
    "scheduledHardwareUpgradeInfo",
    "vmProfile",
    "messageBusTunnelEnabled",
    "crypto",
    "migrateEncryption",
    "sgxInfo",
    "guestMonitoringModeInfo",
    "sevEnabled",
];
const DEVICE_CHANGE_ORDER: [&str; 5] = ["operation", "fileOperation", "device", "profile", "backing"];
const DEVICE_ORDER: [&str; 14] = [
    "key",
    "deviceInfo",
    "backing",
    "connectable",
    "slotInfo",
    "controllerKey",
    "unitNumber",
    "busNumber",
    "sharedBus",
    "capacityInKB",
    "capacityInBytes",
    "addressType",
    "macAddress",
    "endorsementKeyCertificateSigningRequest",
];

fn spec(sample: Sample, wish: &Wish, facts: &TargetFacts) -> Element {
    let saved = saved_with_disk_policies(sample);
    let recovery = go(decide(&saved, wish, facts));
    config_spec("config", &saved, &recovery, wish, facts).unwrap().into_element()
}

/// One element a line.
fn pretty(element: &Element, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    if element.children().is_empty() {
        out.push_str(&format!("{indent}{}\n", element.to_xml()));
        return;
    }
    let empty = element.clone().to_xml();
    let open = &empty[..=empty.find('>').unwrap()];
    out.push_str(&format!("{indent}{open}\n"));
    element.children().iter().for_each(|child| pretty(child, depth + 1, out));
    out.push_str(&format!("{indent}</{}>\n", element.name()));
}

fn compare(name: &str, spec: &Element) {
    let mut found = String::new();
    pretty(spec, 0, &mut found);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/recovery/spec/golden/{name}.xml"));
    if std::env::var_os("WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{name}: WRITE_GOLDEN=1 writes it anew\n{found}");
    check_order(spec);
}

fn check_order(spec: &Element) {
    let in_order = |element: &Element, order: &[&str]| {
        let place = |name: &str| order.iter().position(|known| *known == name);
        let places: Vec<_> = element.children().iter().map(|child| place(child.name())).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}", element.to_xml());
    };
    in_order(spec, &WSDL_ORDER);
    for change in spec.all("deviceChange") {
        in_order(change, &DEVICE_CHANGE_ORDER);
        let mut order = DEVICE_ORDER.to_vec();
        order.push("endorsementKeyCertificate");
        in_order(change.child("device").unwrap(), &order);
    }
}

#[test]
fn golden_clear() {
    compare("clear", &spec(CLEAR, &wish(SameKeys, &[]), &target()));
}

#[test]
fn golden_same_keys_two_disks_with_keys_of_their_own() {
    compare("same-keys-two-disks", &spec(TWO_KEYS, &wish(SameKeys, &[]), &target()));
}

#[test]
fn golden_same_keys_vtpm_with_clear_disks() {
    compare("same-keys-vtpm-clear-disks", &spec(WHOLE, &wish(SameKeys, &[]), &target()));
}

#[test]
fn golden_new_keys() {
    let spec = spec(VTPM_AND_KEYS, &wish(NewKeys, &[Loss::Nvram, Loss::Vtpm]), &target());
    assert!(!spec.to_xml().contains("Crypto") && !spec.to_xml().contains("encryption.bundle"));
    compare("new-keys", &spec);
}

#[test]
fn golden_none() {
    let spec = spec(VTPM_AND_KEYS, &wish(InTheClear, &[Loss::Nvram, Loss::Vtpm, Loss::Encryption]), &target());
    let text = spec.to_xml();
    assert!(!["Crypto", "encryption.bundle", "VirtualTPM", "p-enc"].iter().any(|word| text.contains(word)));
    compare("none", &spec);
}

#[test]
fn golden_a_lost_disk_key_is_left_to_the_policy() {
    let mut facts = target();
    facts.keys.insert(key("88bb"), KeyState::Lost);
    compare("same-keys-one-disk-key-lost", &spec(TWO_KEYS, &wish(SameKeys, &[]), &facts));
}

#[test]
fn the_key_id_goes_to_key_id_and_the_provider_to_provider_id() {
    let spec = spec(TWO_KEYS, &wish(SameKeys, &[]), &target());
    assert_eq!(spec.text_at("crypto.cryptoKeyId.keyId"), Some(HOME_KEY));
    assert_eq!(spec.text_at("crypto.cryptoKeyId.providerId.id"), Some("kms-prod"));
    let disks = spec.all("deviceChange").filter(|change| change.text_at("fileOperation") == Some("create"));
    let keys = disks.map(|disk| {
        let id = disk.at("backing.crypto.cryptoKeyId").unwrap();
        (id.text_at("keyId").unwrap().to_owned(), id.text_at("providerId.id").unwrap().to_owned())
    });
    let provider = || "kms-prod".to_owned();
    assert_eq!(keys.collect::<Vec<_>>(), [("77aa".to_owned(), provider()), ("88bb".to_owned(), provider())]);
}

#[test]
fn a_bundle_is_never_sent_without_a_key_nor_a_key_without_its_bundle() {
    let renamed_facts = {
        let mut facts = with_home_key(KeyState::Stranger);
        facts.keys.insert(KmsKey::new(HOME_KEY, Some("kms-dr")), KeyState::Usable);
        facts
    };
    let both = [Loss::Nvram, Loss::Vtpm];
    let all = [Loss::Nvram, Loss::Vtpm, Loss::Encryption];
    let paths = [
        (CLEAR, wish(SameKeys, &[]), target(), false),
        (WHOLE, wish(SameKeys, &[]), target(), true),
        (WHOLE, wish(SameKeys, &[]), with_home_key(KeyState::Unsure), true),
        (WHOLE, unbootable(wish(SameKeys, &[])), with_home_key(KeyState::Down), true),
        (WHOLE, renamed("kms-prod", "kms-dr", wish(SameKeys, &both)), renamed_facts, true),
        (WHOLE, wish(NewKeys, &both), target(), false),
        (Sample { bundle: false, ..WHOLE }, wish(NewKeys, &both), target(), false),
        (Sample { key: false, ..WHOLE }, wish(NewKeys, &both), target(), false),
        (WHOLE, wish(InTheClear, &all), target(), false),
    ];
    for (sample, wish, facts, wanted) in paths {
        let spec = spec(sample, &wish, &facts);
        let bundle = spec.all("extraConfig").find(|entry| entry.text_at("key") == Some("encryption.bundle"));
        assert_eq!((bundle.is_some(), spec.child("crypto").is_some()), (wanted, wanted));
        assert!(bundle.is_none_or(|entry| entry.text_at("value") == Some(BUNDLE)));
    }
}

#[test]
fn only_settings_that_guests_need_are_given_again() {
    let spec = spec(WHOLE, &wish(SameKeys, &[]), &target());
    let keys: Vec<_> = spec.all("extraConfig").filter_map(|entry| entry.text_at("key")).collect();
    assert_eq!(keys, ["guestinfo.role", "encryption.bundle"]);
}

#[test]
fn uuids_are_kept_only_where_the_map_says_that_the_original_is_gone() {
    assert!(spec(CLEAR, &wish(SameKeys, &[]), &target()).child("uuid").is_none());
    let mut keep = wish(SameKeys, &[]);
    keep.map = MapFile::read("keep-uuid = true").unwrap();
    let spec = spec(CLEAR, &keep, &target());
    assert_eq!((spec.text_at("uuid"), spec.text_at("instanceUuid")), (Some("4212f9d3"), Some("5012f9d3")));
    check_order(&spec);
}

#[test]
fn a_card_is_tied_to_a_distributed_port_group_where_the_map_leads_there() {
    let mut mapped = wish(SameKeys, &[]);
    mapped.map.networks.insert("VM Network".to_owned(), "DR".to_owned());
    let backing =
        NetworkBacking::Distributed { switch_uuid: "50 2c".to_owned(), portgroup_key: "dvportgroup-7".to_owned() };
    let facts = TargetFacts { networks: vec![TargetNetwork { name: "DR".to_owned(), backing }], ..target() };
    let spec = spec(CLEAR, &mapped, &facts);
    let is_card = |change: &&Element| change.at("device").and_then(Element::xsi_type) == Some("VirtualVmxnet3");
    let card = spec.all("deviceChange").find(is_card).unwrap();
    assert_eq!(card.text_at("device.backing.port.portgroupKey"), Some("dvportgroup-7"));
    assert_eq!(card.text_at("device.macAddress"), None, "the old VM may still be there");
}

#[test]
fn without_a_configuration_there_is_no_specification() {
    let mut saved = saved_with_disk_policies(WHOLE);
    let wish = wish(SameKeys, &[]);
    let recovery = go(decide(&saved, &wish, &target()));
    saved.configuration = Err(NoConfiguration::GivenAsFile);
    let error = config_spec("config", &saved, &recovery, &wish, &target()).unwrap_err();
    assert_eq!(
        (error.clone(), error.kind()),
        (SpecError::NoConfiguration(NoConfiguration::GivenAsFile), engine::Kind::Invalid)
    );
}

#[test]
fn the_bundle_of_a_specification_is_not_shown() {
    let saved = saved_with_disk_policies(WHOLE);
    let wish = wish(SameKeys, &[]);
    let recovery = go(decide(&saved, &wish, &target()));
    let spec = config_spec("config", &saved, &recovery, &wish, &target()).unwrap();
    let encryption = VmEncryption::new(key(HOME_KEY), repo_format::SecretBytes::new(BUNDLE.as_bytes().to_vec()));
    assert!(!format!("{spec:?} {recovery:?} {encryption:?}").contains("canary"));
}

#[test]
fn the_mark_of_a_run_stands_among_the_options() {
    let spec = ConfigSpec(spec(WHOLE, &wish(SameKeys, &[]), &target())).marked("7f3c").into_element();
    let names: Vec<&str> = spec.children().iter().map(Element::name).collect();
    let place = |name: &str| names.iter().rposition(|found| *found == name);
    assert!(place("extraConfig") < place("changeTrackingEnabled"));
    let mark = spec.all("extraConfig").find(|entry| entry.text_at("key") == Some(RUN_OPTION)).unwrap();
    assert_eq!(mark.text_at("value"), Some("7f3c"));
}
