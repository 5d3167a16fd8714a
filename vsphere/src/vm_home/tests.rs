//! A VM home on its way in and back.

use std::collections::BTreeMap;

use engine::CapturedHome;
use proptest::prelude::*;
use repo_format::{
    ChunkId, Completeness, Consistency, DiskRecord, Encryption, FileName, Nvram, PolicyEncrypts, RestorePoint,
    StoragePolicy, Stream, VmIdentity,
};
use zeroize::Zeroizing;

use super::*;
use crate::soap::Document;

pub(crate) const BUNDLE: &str = "vmware:key/list/(pair/(fqid/canary-of-the-bundle))";
const NVRAM: &[u8] = b"\0NVRAM\xff";

/// An answer as vCenter gives it: the prefixes of `config` are declared far outside of it.
pub(crate) fn answer(config: &str) -> Document {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <soapenv:Body><Response xmlns=\"urn:vim25\"><returnval><propSet><name>config</name>\
         <val xsi:type=\"VirtualMachineConfigInfo\">{config}</val></propSet></returnval></Response></soapenv:Body></soapenv:Envelope>"
    );
    Document::read(text.into_bytes()).unwrap()
}

pub(crate) fn raw(config: &str) -> RawXml {
    let document = answer(config);
    RawXml::of(&document, document.root().at("Body.Response.returnval.propSet.val").unwrap())
}

fn disk_xml(key: i32, controller: i32, unit: i32, more: &str) -> String {
    format!(
        "<device xsi:type=\"VirtualDisk\"><key>{key}</key><deviceInfo><label>Hard disk {key}</label></deviceInfo>\
         <backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds1] web01/web01_{key}.vmdk</fileName>\
         <diskMode>persistent</diskMode><thinProvisioned>true</thinProvisioned><uuid>6000C29{key}</uuid>\
         <changeId>52 3a/7</changeId>{more}</backing><controllerKey>{controller}</controllerKey><unitNumber>{unit}</unitNumber>\
         <capacityInKB>83886080</capacityInKB></device>"
    )
}

fn key_xml(id: &str) -> String {
    format!("<keyId><keyId>{id}</keyId><providerId><id>kms-prod</id></providerId></keyId>")
}

/// Which parts of the sample VM are there.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    pub key: bool,
    pub bundle: bool,
    pub vtpm: bool,
    /// Encrypted disks; there are two, the second first in the answer.
    pub disk_keys: [Option<&'static str>; 2],
}

pub(crate) const WHOLE: Sample = Sample { key: true, bundle: true, vtpm: true, disk_keys: [None, None] };

/// `config` of the sample VM.
pub(crate) fn config(sample: Sample) -> String {
    let part = |there: bool, text: &str| if there { text.to_owned() } else { String::new() };
    let disk_key = |id: Option<&str>| id.map(key_xml).unwrap_or_default();
    let [first, second] = sample.disk_keys.map(disk_key);
    let vtpm = "<device xsi:type=\"VirtualTPM\"><key>11000</key>\
        <endorsementKeyCertificateSigningRequest>Q1NS</endorsementKeyCertificateSigningRequest>\
        <endorsementKeyCertificate>Q0VSVA==</endorsementKeyCertificate></device>";
    let bundle = format!(
        "<extraConfig xsi:type=\"OptionValue\"><key>encryption.bundle</key><value xsi:type=\"xsd:string\">{BUNDLE}</value></extraConfig>"
    );
    let disks = disk_xml(2016, 1001, 0, &second) + &disk_xml(2000, 1000, 0, &first);
    [
        "<name>win11-07 \"&lt;b&gt;\"</name><version>vmx-20</version><uuid>4212f9d3</uuid><instanceUuid>5012f9d3</instanceUuid>",
        "<guestId>windows11_64Guest</guestId><annotation>line 1\nline 2</annotation>",
        "<files><vmPathName>[ds1] web01/web01.vmx</vmPathName></files>",
        "<flags><enableLogging>true</enableLogging><vvtdEnabled>true</vvtdEnabled></flags>",
        "<hardware><numCPU>4</numCPU><numCoresPerSocket>2</numCoresPerSocket><memoryMB>8192</memoryMB>",
        "<device xsi:type=\"VirtualIDEController\"><key>200</key><busNumber>0</busNumber></device>",
        "<device xsi:type=\"VirtualUSBXHCIController\"><key>14000</key><deviceInfo><label>USB xHCI controller</label></deviceInfo><busNumber>0</busNumber></device>",
        "<device xsi:type=\"ParaVirtualSCSIController\"><key>1000</key><busNumber>0</busNumber><sharedBus>noSharing</sharedBus></device>",
        "<device xsi:type=\"VirtualLsiLogicSASController\"><key>1001</key><busNumber>1</busNumber><sharedBus>noSharing</sharedBus></device>",
        &disks,
        "<device xsi:type=\"VirtualVmxnet3\"><key>4000</key><deviceInfo><label>Network adapter 1</label></deviceInfo>\
         <backing xsi:type=\"VirtualEthernetCardNetworkBackingInfo\"><deviceName>VM Network</deviceName></backing>\
         <addressType>assigned</addressType><macAddress>00:50:56:aa:bb:cc</macAddress></device>",
        "<device xsi:type=\"VirtualCdrom\"><key>3000</key><deviceInfo><label>CD/DVD drive 1</label></deviceInfo></device>",
        &part(sample.vtpm, vtpm),
        "</hardware>",
        "<cpuAllocation><reservation>0</reservation><limit>-1</limit><shares><shares>4000</shares><level>normal</level></shares></cpuAllocation>",
        "<memoryAllocation><reservation>512</reservation><limit>-1</limit></memoryAllocation>",
        "<memoryHotAddEnabled>false</memoryHotAddEnabled><cpuHotAddEnabled>true</cpuHotAddEnabled>",
        "<extraConfig xsi:type=\"OptionValue\"><key>nvram</key><value xsi:type=\"xsd:string\">web01.nvram</value></extraConfig>",
        "<extraConfig xsi:type=\"OptionValue\"><key>guestinfo.role</key><value xsi:type=\"xsd:string\">web</value></extraConfig>",
        &part(sample.bundle, &bundle),
        "<extraConfig xsi:type=\"OptionValue\"><key>dataFileKey</key><value xsi:type=\"xsd:string\">never</value></extraConfig>",
        "<bootOptions><bootDelay>0</bootDelay><efiSecureBootEnabled>true</efiSecureBootEnabled></bootOptions>",
        "<changeTrackingEnabled>true</changeTrackingEnabled><firmware>efi</firmware><nestedHVEnabled>false</nestedHVEnabled>",
        &part(sample.key, &key_xml("0b1f6f0ac41b")),
    ]
    .concat()
}

pub(crate) fn policy(id: &str, name: &str, encrypts: PolicyEncrypts) -> StoragePolicy {
    StoragePolicy { id: id.to_owned(), name: name.to_owned(), encrypts }
}

pub(crate) fn identity() -> HomeIdentity {
    HomeIdentity {
        vcenter_uuid: "dbed6e0c".to_owned(),
        moref: "vm-16".to_owned(),
        inventory_path: vec!["DC1".to_owned(), "vm".to_owned(), " a/b ".to_owned(), "win11-07".to_owned()],
        dc_path: "Folder 1/DC1".to_owned(),
        server: "vc1.example.net".to_owned(),
        api_version: "8.0.2.0".to_owned(),
        reader: "vddk 8.0.2".to_owned(),
        captured_at: "2026-11-18T01:30:00Z".parse().unwrap(),
    }
}

pub(crate) fn facts(sample: Sample) -> HomeFacts {
    HomeFacts {
        identity: identity(),
        config: raw(&config(sample)),
        snapshot_config: None,
        layout: Some(raw("<file><key>1</key><type>nvram</type></file>")),
        policies: Policies {
            home: Some(policy("p-enc", "VM Encryption Policy", PolicyEncrypts::Yes)),
            disks: BTreeMap::from([(2016, policy("p-gold", "Gold", PolicyEncrypts::Unknown))]),
        },
        nvram: SavedFile::Saved {
            file_name: FileName::new("web01.nvram").unwrap(),
            content: Zeroizing::new(NVRAM.to_vec()),
        },
        network_names: BTreeMap::new(),
        transports: BTreeMap::from([(2000, "nbdssl".to_owned())]),
        skipped: BTreeMap::new(),
        quiet: Quiet {
            level: Consistency::Crash,
            lowered_by: Some("FilesystemQuiesceFault: no \t tools\n".to_owned()),
        },
        torn: None,
    }
}

/// The captured home as it looks when it was stored and read again, without a repository.
pub(crate) fn stored(home: &CapturedHome) -> repo_format::VmHome {
    let stream = |bytes: &[u8]| Stream {
        length: bytes.len() as u64,
        digest: repo_format::Digest::of(bytes),
        pieces: Vec::new(),
    };
    let nvram = home.nvram.as_ref();
    repo_format::VmHome {
        document: stream(&home.document),
        nvram: nvram.map(|(name, content)| Nvram { file_name: name.clone(), content: stream(content) }),
        ..home.record.clone()
    }
}

pub(crate) fn point(disks: &[(&str, u64)]) -> RestorePoint {
    let disk = |(name, bytes): &(&str, u64)| DiskRecord {
        name: (*name).to_owned(),
        uuid: None,
        bytes: *bytes,
        data_bytes: Some(1000),
        map_root: ChunkId::from_bytes([0; 32]),
        bad_bytes: 0,
        read_bytes: None,
        novel_bytes: None,
        stored_bytes: None,
        changed_bytes: None,
        change_id: None,
        base: None,
        audit: None,
    };
    RestorePoint {
        vm: VmIdentity::named("web01").unwrap(),
        program_version: None,
        vm_name: "web01".to_owned(),
        tag: None,
        disks: disks.iter().map(disk).collect(),
        host: None,
        vm_home: Some(ChunkId::from_bytes([1; 32])),
        started_ms: 0,
        finished_ms: 0,
        consistency: Consistency::Unknown,
        completeness: Completeness::Whole,
    }
}

pub(crate) const SIZE: u64 = 80 << 30;

/// What recovery sees of the sample VM.
pub(crate) fn saved(sample: Sample) -> SavedVm {
    let captured = capture_home(facts(sample)).unwrap();
    let point = point(&[("disk0", SIZE), ("disk1", SIZE)]);
    SavedVm::read(
        &point,
        &stored(&captured.home),
        &captured.home.document,
        engine::Verdict::Unknown { needs_key: None },
    )
}

#[test]
fn the_record_names_what_a_restore_needs() {
    let home = capture_home(facts(Sample { disk_keys: [Some("77aa"), None], ..WHOLE })).unwrap().home;
    let record = &home.record;
    assert_eq!(record.encryption(), Encryption::Whole);
    assert_eq!(
        (record.kms_key_id.as_deref(), record.kms_provider.as_deref()),
        (Some("0b1f6f0ac41b"), Some("kms-prod"))
    );
    assert_eq!(record.encryption_bundle.as_ref().unwrap().expose(), BUNDLE.as_bytes());
    assert_eq!(record.storage_policy.as_ref().unwrap().name, "VM Encryption Policy");
    assert_eq!((record.firmware.as_deref(), record.secure_boot, record.vtpm), (Some("efi"), Some(true), Some(true)));
    assert_eq!(
        (record.name.as_deref(), record.hardware_version.as_deref()),
        (Some("win11-07 \"<b>\""), Some("vmx-20"))
    );
    assert_eq!((record.instance_uuid.as_deref(), record.bios_uuid.as_deref()), (Some("5012f9d3"), Some("4212f9d3")));
    assert_eq!(record.disks[0].kms_key_id.as_deref(), Some("77aa"));
    assert_eq!(
        (&record.disks[1].kms_key_id, record.disks[1].storage_policy.as_ref().unwrap().id.as_str()),
        (&None, "p-gold")
    );
    assert_eq!(home.nvram.unwrap().1.as_slice(), NVRAM);
}

#[test]
fn disks_are_numbered_by_controller_bus_and_unit() {
    let disks = capture_home(facts(WHOLE)).unwrap().disks;
    let names: Vec<_> = disks.iter().map(|disk| (disk.name.as_str(), disk.key, disk.controller.bus)).collect();
    assert_eq!(names, [("disk0", 2000, 0), ("disk1", 2016, 1)]);
}

#[test]
fn the_document_gives_everything_back() {
    let mut facts = facts(Sample { disk_keys: [Some("77aa"), None], ..WHOLE });
    facts.skipped.insert(2016, "independent_persistent".to_owned());
    let (config_bytes, layout) = (facts.config.clone(), facts.layout.clone());
    let home = capture_home(facts).unwrap().home;
    let document = VmHomeDocument::read(&home.document).unwrap();
    assert_eq!((&document.identity, &document.state), (&identity(), &HomeState::Whole));
    assert_eq!(document.quiet.lowered_by.as_deref(), Some("FilesystemQuiesceFault: no \t tools\n"));
    assert_eq!(document.nvram, NvramState::Saved { file_name: "web01.nvram".to_owned(), bytes: NVRAM.len() as u64 });
    let [first, second] = document.disks.as_slice() else { panic!() };
    assert_eq!(
        (first.name.as_str(), first.device_key, first.controller, first.bus),
        ("disk0", 2000, ControllerKind::Scsi, 0)
    );
    assert_eq!((first.controller_key, first.unit, first.capacity_bytes, first.thin), (1000, 0, SIZE, Some(true)));
    assert_eq!((first.uuid.as_deref(), first.change_id.as_deref()), (Some("6000C292000"), Some("52 3a/7")));
    assert_eq!((first.file_name.as_str(), first.mode.as_deref()), ("[ds1] web01/web01_2000.vmdk", Some("persistent")));
    assert_eq!(
        (first.kms_key.clone(), first.transport.as_deref()),
        (Some(KmsKey::new("77aa", Some("kms-prod"))), Some("nbdssl"))
    );
    assert_eq!(second.fate, DiskFate::Skipped { why: "independent_persistent".to_owned() });
    assert_eq!(document.nics[0].network, "VM Network");
    assert_eq!((document.config, document.layout), (config_bytes, layout));
}

#[test]
fn raw_parts_are_kept_byte_for_byte_with_the_name_spaces_they_need() {
    let home = capture_home(facts(WHOLE)).unwrap().home;
    let document = VmHomeDocument::read(&home.document).unwrap();
    let wanted = format!("<val xsi:type=\"VirtualMachineConfigInfo\">{}</val>", config(WHOLE));
    assert_eq!(document.config.source(), wanted.as_bytes());
    assert_eq!(document.config.namespaces()[""], "urn:vim25");
    assert_eq!(document.config.namespaces()["xsi"], "http://www.w3.org/2001/XMLSchema-instance");
    assert_eq!(document.config.namespaces()["xsd"], "http://www.w3.org/2001/XMLSchema");
}

#[test]
fn disks_come_from_the_snapshot_and_keys_from_the_vm() {
    let mut facts = facts(Sample { disk_keys: [Some("new"), None], ..WHOLE });
    let of_snapshot = Sample { key: false, bundle: false, vtpm: true, disk_keys: [Some("77aa"), None] };
    facts.snapshot_config = Some(raw(&config(of_snapshot)));
    let home = capture_home(facts).unwrap().home;
    assert_eq!(home.record.disks[0].kms_key_id.as_deref(), Some("77aa"));
    assert_eq!(home.record.encryption(), Encryption::Whole);
    assert!(VmHomeDocument::read(&home.document).unwrap().snapshot_config.is_some());
}

#[test]
fn a_missing_half_makes_the_home_incomplete_and_says_which() {
    let rows = [
        (
            Sample { bundle: false, ..WHOLE },
            "encrypted (keyId 0b1f6f0ac41b), but encryption.bundle is not in config.extraConfig; NVRAM of this point is unusable",
        ),
        (
            Sample { key: false, ..WHOLE },
            "encrypted (encryption.bundle), but config has no keyId; NVRAM of this point is unusable",
        ),
        (
            Sample { key: false, bundle: false, vtpm: true, disk_keys: [None, None] },
            "the vTPM is encrypted, but config has neither keyId nor encryption.bundle; NVRAM of this point is unusable",
        ),
        (
            Sample { key: false, bundle: false, vtpm: true, disk_keys: [None, Some("77aa")] },
            "disk1 is encrypted, but config has neither keyId nor encryption.bundle; NVRAM of this point is unusable",
        ),
    ];
    for (sample, text) in rows {
        let captured = capture_home(facts(sample)).unwrap();
        assert_eq!(captured.findings.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
        let document = VmHomeDocument::read(&captured.home.document).unwrap();
        assert_eq!(document.state, HomeState::Incomplete { why: text.to_owned() });
    }
    assert!(capture_home(facts(WHOLE)).unwrap().findings.is_empty());
    let clear = capture_home(facts(Sample::default())).unwrap();
    assert!(clear.findings.is_empty() && !clear.home.is_incomplete());
}

#[test]
fn secrets_that_are_not_of_one_moment_are_incomplete_and_never_used_as_the_same_keys() {
    let mut torn = facts(WHOLE);
    torn.torn = Some("keyId changed 3 times".to_owned());
    let captured = capture_home(torn).unwrap();
    assert!(captured.home.is_incomplete() && captured.findings[0].to_string().contains("not of one moment"));
    let point = point(&[("disk0", SIZE), ("disk1", SIZE)]);
    let verdict = engine::Verdict::Unknown { needs_key: None };
    let saved = SavedVm::read(&point, &stored(&captured.home), &captured.home.document, verdict);
    assert!(matches!(saved.encryption, SavedEncryption::KeyOnly(_)));
}

#[test]
fn an_encrypted_vm_without_nvram_is_said_and_a_never_started_one_is_not() {
    let mut without = facts(WHOLE);
    without.nvram = SavedFile::Absent { why: "403 Forbidden".to_owned() };
    let captured = capture_home(without).unwrap();
    assert_eq!(
        captured.findings[0].to_string(),
        "encrypted, but NVRAM was not saved (403 Forbidden); a restore gets a generic one"
    );
    assert!(!captured.findings[0].makes_incomplete());
    let mut never = facts(WHOLE);
    never.nvram = SavedFile::NeverStarted;
    assert!(capture_home(never).unwrap().findings.is_empty());
}

#[test]
fn a_changed_key_or_bundle_is_noticed_between_two_readings() {
    let read = |text: &str| VmConfig::read(raw(text).element()).unwrap();
    let before = config(WHOLE);
    assert!(read(&before).has_the_keys_of(&read(&before)));
    assert!(!read(&before).has_the_keys_of(&read(&before.replace("0b1f6f0ac41b", "0b1f6f0ac41c"))));
    assert!(!read(&before).has_the_keys_of(&read(&before.replace("canary", "Canary"))));
}

#[test]
fn a_config_whose_disks_cannot_be_told_apart_is_refused() {
    let whole = config(WHOLE);
    let rows = [
        (
            whole.replace("hardware>", "software>"),
            "the VM's config has no hardware; its disks cannot be told apart without it",
        ),
        (
            whole.replace("<capacityInKB>83886080</capacityInKB>", ""),
            "the VM's config has no capacityInKB of disk 2016",
        ),
        (whole.replace("<unitNumber>0</unitNumber>", ""), "the VM's config has no unitNumber of disk 2016"),
        (whole.replace("<key>1001</key>", "<key>1002</key>"), "disk 2016 of the VM's config names controller 1001"),
    ];
    for (config, text) in rows {
        let error = VmConfig::read(raw(&config).element()).unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
    }
}

#[test]
fn capacity_in_bytes_wins_and_kib_stand_in_for_it() {
    let with_bytes =
        config(WHOLE).replace("</capacityInKB>", "</capacityInKB><capacityInBytes>85899345921</capacityInBytes>");
    assert_eq!(VmConfig::read(raw(&with_bytes).element()).unwrap().disks[0].capacity_bytes, 85_899_345_921);
    assert_eq!(VmConfig::read(raw(&config(WHOLE)).element()).unwrap().disks[0].capacity_bytes, SIZE);
}

#[test]
fn the_bundle_is_in_no_debug_text() {
    let mut facts = facts(WHOLE);
    facts.snapshot_config = Some(raw(&config(WHOLE)));
    let captured = capture_home(facts).unwrap();
    let document = VmHomeDocument::read(&captured.home.document).unwrap();
    let config = VmConfig::read(document.config.element()).unwrap();
    let shown =
        format!("{document:?} {config:?} {:?} {:?} {:?}", saved(WHOLE), captured.home.record, captured.findings);
    assert!(!shown.contains("canary") && !shown.contains("99, 97, 110, 97, 114, 121"));
}

#[test]
fn what_was_saved_is_what_recovery_sees() {
    let saved = saved(Sample { disk_keys: [Some("77aa"), None], ..WHOLE });
    assert_eq!((saved.name.as_str(), &saved.firmware), ("win11-07 \"<b>\"", &Firmware::Efi));
    assert!(matches!(&saved.encryption, SavedEncryption::Whole(encryption) if encryption.key().id == "0b1f6f0ac41b"));
    assert_eq!(saved.vtpm.as_ref().unwrap().certificates, ["Q0VSVA=="]);
    assert_eq!((saved.nvram.clone(), saved.binding.clone()), (SavedNvram::Saved { bytes: 7 }, Binding::Holds));
    let keys: Vec<_> = saved.keys().into_iter().map(|key| key.id.as_str()).collect();
    assert_eq!(keys, ["0b1f6f0ac41b", "77aa"]);
    assert_eq!((saved.disks[0].capacity_bytes, saved.disks[0].data_bytes), (SIZE, Some(1000)));
    assert!(saved.configuration.is_ok());
}

#[test]
fn every_state_of_the_secrets_has_its_name() {
    let state = |key, bundle, vtpm, disk: Option<&'static str>| match saved(Sample {
        key,
        bundle,
        vtpm,
        disk_keys: [disk, None],
    })
    .encryption
    {
        SavedEncryption::Clear => "clear",
        SavedEncryption::Whole(_) => "whole",
        SavedEncryption::KeyOnly(_) => "key only",
        SavedEncryption::BundleOnly => "bundle only",
        SavedEncryption::Bare => "bare",
    };
    assert_eq!(state(false, false, false, None), "clear");
    assert_eq!(state(true, true, false, None), "whole");
    assert_eq!(state(true, false, true, None), "key only");
    assert_eq!(state(false, true, false, Some("77aa")), "bundle only");
    assert_eq!(state(false, false, true, None), "bare");
    assert_eq!(state(false, false, false, Some("77aa")), "bare");
}

#[test]
fn a_record_whose_key_is_not_that_of_its_configuration_does_not_bind() {
    let captured = capture_home(facts(WHOLE)).unwrap();
    let mut home = stored(&captured.home);
    home.kms_key_id = Some("of another night".to_owned());
    let point = point(&[("disk0", SIZE), ("disk1", SIZE)]);
    let saved = SavedVm::read(&point, &home, &captured.home.document, engine::Verdict::Unknown { needs_key: None });
    assert_eq!(
        saved.binding,
        Binding::Broken { what: "the key of its record is not that of its configuration".to_owned() }
    );
}

#[test]
fn a_home_given_as_a_file_is_known_by_its_record_alone() {
    let captured = capture_home(facts(Sample { disk_keys: [Some("77aa"), None], ..WHOLE })).unwrap();
    let json = br#"{"schema": "strongroom.vm-home/1"}"#;
    let saved = SavedVm::read(&point(&[("disk0", SIZE)]), &stored(&captured.home), json, engine::Verdict::Unchanged);
    assert_eq!(saved.configuration, Err(NoConfiguration::GivenAsFile));
    assert!(matches!(saved.encryption, SavedEncryption::Whole(_)) && saved.vtpm.is_some());
    assert_eq!(saved.disks[0].kms_key, Some(KmsKey::new("77aa", Some("kms-prod"))));
}

#[test]
fn a_document_that_is_not_ours_or_damaged_is_told_from_ours() {
    let home = capture_home(facts(WHOLE)).unwrap().home;
    let text = String::from_utf8(home.document.to_vec()).unwrap();
    let read = |text: &str| VmHomeDocument::read(text.as_bytes()).unwrap_err();
    for other in ["", "{}", "<vmHome schema=\"1\"/>", "<a/>"] {
        let error = read(other);
        assert!(matches!(error, DocumentError::NotOurs), "{other}: {error}");
    }
    assert!(matches!(read(&text[..text.len() - 9]), DocumentError::Xml(_)));
    let newer = read(&text.replace("schema=\"1\"", "schema=\"2\""));
    assert_eq!(newer.to_string(), "VM home document: schema \"2\", this program reads \"1\"; use a newer one");
    let error = read(&text.replace(" moref=\"vm-16\"", ""));
    assert_eq!(error.to_string(), "VM home document: <identity> has no usable moref");
    assert!(matches!(
        read(&text.replace("capacityBytes=\"85899345920\"", "capacityBytes=\"-1\"")),
        DocumentError::Field { .. }
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_panic(
        at in 0_usize..20_000,
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        cut in 0_usize..64,
    ) {
        let mut document = capture_home(facts(WHOLE)).unwrap().home.document.to_vec();
        let at = at % document.len();
        let end = (at + cut).min(document.len());
        document.splice(at..end, bytes.iter().copied());
        if let Ok(read) = VmHomeDocument::read(&document) {
            let _ = VmConfig::read(read.config.element());
            let captured = capture_home(facts(WHOLE)).unwrap();
            let _ = SavedVm::read(&point(&[]), &stored(&captured.home), &document, engine::Verdict::Unchanged);
        }
        let _ = VmHomeDocument::read(&bytes);
    }

    #[test]
    fn texts_of_any_kind_come_back(text in "[ -~\t\n\r\u{a0}-\u{d7ff}]{0,40}", why in "\\PC{0,40}") {
        let mut facts = facts(WHOLE);
        facts.identity.server = text.clone();
        facts.skipped.insert(2000, why.clone());
        facts.policies.home = Some(policy(&why, &text, PolicyEncrypts::No));
        // `capture_home` reads back what it wrote and refuses what differs.
        let home = capture_home(facts).unwrap().home;
        let document = VmHomeDocument::read(&home.document).unwrap();
        prop_assert_eq!(document.identity.server, text);
        prop_assert_eq!(&document.disks[0].fate, &DiskFate::Skipped { why });
    }
}
