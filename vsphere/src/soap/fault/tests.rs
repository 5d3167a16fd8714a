use super::*;
use crate::soap::Document;

fn answered(detail: &str, message: &str) -> Fault {
    let text = format!(
        "<Fault><faultcode>ServerFaultCode</faultcode><faultstring>{message}</faultstring><detail>{detail}</detail></Fault>"
    );
    Fault::of_answer(Document::read(text.into_bytes()).unwrap().root())
}

fn of_task(fault_type: &str, keys: &[&str], message: &str) -> Fault {
    let keys: String =
        keys.iter().map(|key| format!("<faultMessage><key>{key}</key><message>m</message></faultMessage>")).collect();
    let text = format!(
        "<error><fault xsi:type=\"vim25:{fault_type}\">{keys}</fault><localizedMessage>{message}</localizedMessage></error>"
    );
    Fault::of_localized(Document::read(text.into_bytes()).unwrap().root())
}

#[test]
fn a_fault_names_its_type_even_without_xsi_type() {
    let fault = answered("<InvalidLoginFault xsi:type=\"InvalidLogin\"/>", "no");
    assert_eq!((fault.fault_type(), fault.message()), ("InvalidLogin", "no"));
    assert_eq!(answered("<InvalidLoginFault/>", "no").fault_type(), "InvalidLogin");
    assert_eq!(answered("", "no").fault_type(), "ServerFaultCode");
}

#[test]
fn a_missing_right_names_right_and_object() {
    let fault = answered(
        "<NoPermissionFault xsi:type=\"NoPermission\"><object type=\"VirtualMachine\">vm-16</object>\
         <privilegeId>Cryptographer.Access</privilegeId></NoPermissionFault>",
        "Permission denied.",
    );
    assert_eq!(
        fault.to_string(),
        "NoPermission: Permission denied. (privilege Cryptographer.Access on VirtualMachine:vm-16)"
    );
}

#[test]
fn keys_that_cannot_be_had_are_told_by_message_key_and_by_text() {
    let key = FaultClass::KeyUnavailable { key_ids: vec![] };
    assert_eq!(of_task("GenericVmConfigFault", &["msg.vigor.enc.keyNotFound"], "").class(), key);
    assert_eq!(of_task("GenericVmConfigFault", &["msg.keysafe.locator"], "").class(), key);
    assert_eq!(of_task("SystemError", &[], "Error creating disk Key locator").class(), key);
    assert_eq!(of_task("GenericVmConfigFault", &["msg.other"], "").class(), FaultClass::Other);
    let text = "<error><fault xsi:type=\"EncryptionKeyRequired\"><requiredKey><keyId>0b1f</keyId>\
                <providerId><id>kms-prod</id></providerId></requiredKey></fault></error>";
    let fault = Fault::of_localized(Document::read(text.as_bytes().to_vec()).unwrap().root());
    assert_eq!(fault.class(), FaultClass::KeyUnavailable { key_ids: vec!["kms-prod/0b1f".to_owned()] });
}

#[test]
fn what_we_must_never_send_is_our_mistake() {
    for fault in [
        of_task("GenericVmConfigFault", &["msg.vtpm.add.notEncrypted"], ""),
        of_task("SystemError", &[], "Key required for encryption.bundle."),
        of_task("InvalidArgument", &[], "config.extraConfig[\"dataFileKey\"]"),
    ] {
        assert_eq!(fault.class(), FaultClass::OurMistake, "{fault}");
        assert_eq!(fault.kind(), Kind::Bug);
    }
}

#[test]
fn device_faults_are_told_by_message_key() {
    let class = |fault_type, key| of_task(fault_type, &[key], "").class();
    assert_eq!(class("InvalidDeviceSpec", "msg.hostd.deviceSpec.enc.badPolicy"), FaultClass::WrongPolicy);
    assert_eq!(class("NotSupported", "msg.disk.policyChangeFailure"), FaultClass::WrongPolicy);
    assert_eq!(class("InvalidDeviceSpec", "msg.hostd.deviceSpec.enc.notFile"), FaultClass::DiskNotEncryptable);
    assert_eq!(class("InvalidDeviceSpec", "msg.hostd.configSpec.enc.mismatch"), FaultClass::HomeNotEncrypted);
    assert_eq!(class("InvalidVmConfig", "msg.hostd.configSpec.enc.snapshots"), FaultClass::StateDiffers);
    assert_eq!(class("InvalidDeviceOperation", "msg.hostd.deviceSpec.enc.diskChain"), FaultClass::StateDiffers);
}

#[test]
fn each_type_of_the_table_has_its_class() {
    for (fault_type, class, kind) in [
        ("NotAuthenticated", FaultClass::NotAuthenticated, Kind::Failed),
        ("InvalidLogin", FaultClass::LoginRefused, Kind::Failed),
        ("ManagedObjectNotFound", FaultClass::Gone, Kind::Missing),
        ("TaskInProgress", FaultClass::Busy, Kind::Busy),
        ("FileLocked", FaultClass::Busy, Kind::Busy),
        ("HostCommunication", FaultClass::HostUnreachable, Kind::Unavailable),
        ("FilesystemQuiesceFault", FaultClass::NotQuiesced, Kind::Failed),
        ("TooManySnapshotLevels", FaultClass::NotSnapshottable, Kind::Failed),
        ("FileFault", FaultClass::File, Kind::Failed),
        ("NoDiskSpace", FaultClass::NoSpace, Kind::Unavailable),
        ("DuplicateName", FaultClass::BadName, Kind::Invalid),
        ("InvalidPowerState", FaultClass::PowerState, Kind::Invalid),
        ("MethodNotFound", FaultClass::UnknownMethod, Kind::Unsupported),
    ] {
        let fault = of_task(fault_type, &[], "");
        assert_eq!((fault.class(), fault.kind()), (class, kind), "{fault_type}");
    }
    let unknown = of_task("SomethingNew", &["msg.new"], "what it says");
    assert_eq!(
        (unknown.class(), unknown.to_string().as_str()),
        (FaultClass::Other, "SomethingNew: what it says [msg.new]")
    );
}
