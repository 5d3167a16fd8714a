//! What a vCenter says of a VM, and what the process with VMware's library says, as bytes that somebody else made up.

use vsphere::{
    soap::Document,
    vddk::control::{CallFailure, ControlError, Reply, Request},
    vm_home::VmConfig,
};

use crate::Outcome;

/// `config` of a VM: what is read of it keeps the rules that a capture rests on.
pub fn vm_home_from_config(bytes: &[u8]) -> Outcome {
    let document = match Document::read(bytes.to_vec()) {
        Ok(document) => document,
        Err(error) => return Outcome::Refused(digitless(&error.to_string())),
    };
    match VmConfig::read(document.root()) {
        Ok(config) => {
            assert!(config.has_the_keys_of(&config), "a configuration has its own keys");
            let mut names: Vec<&str> = config.disks.iter().map(|disk| disk.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), config.disks.len(), "two disks of one name");
            let has_part = config.kms_key.is_some()
                || config.bundle.is_some()
                || config.vtpm.is_some()
                || config.disks.iter().any(|disk| disk.kms_key.is_some());
            assert_eq!(config.is_encrypted(), has_part);
            if let Some(bundle) = &config.bundle {
                let text = String::from_utf8_lossy(bundle.expose()).into_owned();
                assert!(text.len() < 8 || !format!("{config:?}").contains(&text), "the bundle is shown");
            }
            Outcome::Accepted
        }
        Err(error) => Outcome::Refused(digitless(&error.to_string())),
    }
}

/// Messages of the control socket, of either side, by the first byte: what is read is written as it was.
pub fn helper_control(bytes: &[u8]) -> Outcome {
    let (side, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let read = match side % 2 {
        0 => Request::decode(bytes).map(|request| request.encode()),
        _ => Reply::decode(bytes).map(|reply| reply.encode()),
    };
    match read {
        Ok(again) => {
            assert_eq!(again.as_slice(), bytes);
            Outcome::Accepted
        }
        Err(ControlError::Malformed { what }) => Outcome::Refused(what.to_owned()),
        Err(error) => Outcome::Refused(digitless(&error.to_string())),
    }
}

/// Messages as they come.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    let failure = CallFailure {
        function: "Read".to_owned(),
        code: 16,
        text: "The file read failed".to_owned(),
        lines: vec!["a line".to_owned(); 3],
    };
    let requests = [
        Request::Init { libdir: "/opt/vddk".to_owned() },
        Request::Connect { write: false, snapshot: Some("snapshot-9".to_owned()), modes: "nbdssl:hotadd".to_owned() },
        Request::Open {
            connection: 0,
            export: "disk0".to_owned(),
            path: "[ds] web01/web01.vmdk".to_owned(),
            allowed: vec!["nbdssl".to_owned()],
        },
        Request::Disconnect { connection: 7 },
    ];
    let replies = [
        Reply::Ready { major: 8, modes: "nbdssl:nbd".to_owned(), block_query: true, prepare: false },
        Reply::Opened { sectors: 1 << 40, transport: "san".to_owned(), sector_bytes: (512, 4096), uuid: String::new() },
        Reply::NoLibrary { said: vec!["no".to_owned()] },
        Reply::Trouble { export: "disk0".to_owned(), start: 1 << 33, end: u64::MAX, failure },
    ];
    let requests = requests.iter().map(|request| [&[0][..], &request.encode()].concat());
    requests.chain(replies.iter().map(|reply| [&[1][..], &reply.encode()].concat())).collect()
}

/// A configuration as it comes: encrypted, with a vTPM and two disks on two controllers.
pub(crate) fn config() -> Vec<u8> {
    let key = |id: &str| format!("<keyId><keyId>{id}</keyId><providerId><id>kms-prod</id></providerId></keyId>");
    let disk = |at: u32, controller: u32| {
        format!(
            "<device xsi:type=\"VirtualDisk\"><key>{at}</key><backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\">\
             <fileName>[ds1] web01/{at}.vmdk</fileName><diskMode>persistent</diskMode><thinProvisioned>true</thinProvisioned>\
             <uuid>6000C29{at}</uuid><changeId>52 3a/7</changeId>{}<sharing>sharingNone</sharing></backing>\
             <controllerKey>{controller}</controllerKey><unitNumber>0</unitNumber><capacityInKB>1024</capacityInKB>\
             <capacityInBytes>1048576</capacityInBytes></device>",
            key("77aa")
        )
    };
    let controller = |key: u32, bus: u32| {
        format!("<device xsi:type=\"ParaVirtualSCSIController\"><key>{key}</key><busNumber>{bus}</busNumber></device>")
    };
    [
        "<config xmlns:xsi=\"x\"><name>web01</name><version>vmx-20</version><uuid>42</uuid><instanceUuid>50</instanceUuid><hardware>",
        &controller(1000, 0),
        &controller(1001, 1),
        &disk(2000, 1000),
        &disk(2016, 1001),
        "<device xsi:type=\"VirtualVmxnet3\"><key>4000</key><backing><deviceName>VM Network</deviceName></backing></device>",
        "<device xsi:type=\"VirtualTPM\"><key>11000</key></device></hardware><extraConfig><key>encryption.bundle</key>",
        "<value>c2VjcmV0IGJ1bmRsZQ==</value></extraConfig><bootOptions><efiSecureBootEnabled>true</efiSecureBootEnabled></bootOptions>",
        "<firmware>efi</firmware>",
        &key("0b1f"),
        "</config>",
    ]
    .concat()
    .into_bytes()
}

fn digitless(text: &str) -> String {
    text.chars().filter(|digit| !digit.is_ascii_digit()).take(60).collect()
}
