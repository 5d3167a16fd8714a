//! Changes of VMs besides snapshots: each is one task, made once.

use std::time::Duration;

use crate::{
    calls,
    session::Session,
    soap::{Element, ManagedObject},
    task::{Patience, TaskError, run_task, wait_until_idle},
};

/// How long any of them may take.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// Has changes of the disks of a VM tracked. Takes effect when the VM next pauses, as for a snapshot.
pub fn enable_change_tracking(session: &Session, vm: &ManagedObject) -> Result<(), TaskError> {
    let spec = Element::new("spec").with_text("changeTrackingEnabled", "true");
    reconfigure_vm(session, vm, spec)
}

/// Has changes not tracked any more: what was known of them is gone, and begins anew when it is switched on again.
pub fn disable_change_tracking(session: &Session, vm: &ManagedObject) -> Result<(), TaskError> {
    let spec = Element::new("spec").with_text("changeTrackingEnabled", "false");
    reconfigure_vm(session, vm, spec)
}

/// Reconfigures a VM by `spec`, a `VirtualMachineConfigSpec` whose elements are in the order of the API.
pub fn reconfigure_vm(session: &Session, vm: &ManagedObject, spec: Element) -> Result<(), TaskError> {
    run_task(session, calls::RECONFIG_VM, vm, &[spec.renamed("spec")], Patience::finish(CHANGE_TIME_MAX)).map(|_| ())
}

/// Where a new VM goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmPlace {
    /// Its folder.
    pub folder: ManagedObject,
    /// Its resource pool.
    pub pool: ManagedObject,
    /// Its host; `None` leaves it to the cluster.
    pub host: Option<ManagedObject>,
}

/// Creates a VM by `config`, a `VirtualMachineConfigSpec` whose elements are in the order of the API.
///
/// After an error that [`TaskError::may_have_happened`] the folder is to be looked at before it is tried again.
pub fn create_vm(session: &Session, place: &VmPlace, config: Element) -> Result<ManagedObject, TaskError> {
    let mut params = vec![config.renamed("config"), place.pool.element("pool")];
    params.extend(place.host.iter().map(|host| host.element("host")));
    let result = run_task(session, calls::CREATE_VM, &place.folder, &params, Patience::begin(CHANGE_TIME_MAX))?;
    let vm = result.as_ref().and_then(ManagedObject::of);
    Ok(vm.ok_or_else(|| session.incomplete(calls::CREATE_VM, "VM"))?)
}

/// Waits until vCenter makes no VM in a folder: one that a killed run has asked for may still come.
pub(crate) fn wait_for_vms(session: &Session, folder: &ManagedObject) -> Result<(), TaskError> {
    wait_until_idle(session, calls::CREATE_VM, folder, Patience::finish(CHANGE_TIME_MAX))
}

/// Waits until a VM is not being reconfigured.
pub(crate) fn wait_for_settings(session: &Session, vm: &ManagedObject) -> Result<(), TaskError> {
    wait_until_idle(session, calls::RECONFIG_VM, vm, Patience::finish(CHANGE_TIME_MAX))
}

/// Powers a VM on.
pub fn power_on_vm(session: &Session, vm: &ManagedObject) -> Result<(), TaskError> {
    run_task(session, calls::POWER_ON_VM, vm, &[], Patience::begin(CHANGE_TIME_MAX)).map(|_| ())
}

/// Destroys a VM and its files. Only ever one that the calling run has created.
pub fn destroy_vm(session: &Session, vm: &ManagedObject) -> Result<(), TaskError> {
    run_task(session, calls::DESTROY, vm, &[], Patience::finish(CHANGE_TIME_MAX)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use engine::Kind;

    use super::*;
    use crate::{
        soap::{FaultClass, test_server::Reply},
        test_session::{begun, session, task, vm},
    };

    #[test]
    fn a_task_is_begun_once_and_looked_at_until_it_ends() {
        let (server, session) = session(|call, number, _| match (call, number) {
            ("ReconfigVM_Task", _) => begun(call),
            (_, 0) => task("queued", ""),
            (_, 1 | 2) => task("running", ""),
            (_, 3) => Reply::HangUp,
            _ => task("success", ""),
        });
        enable_change_tracking(&session, &vm()).unwrap();
        assert_eq!((server.count("ReconfigVM_Task"), server.count("RetrievePropertiesEx")), (1, 5));
    }

    #[test]
    fn the_reference_of_a_new_vm_is_read_whatever_else_its_type_says() {
        let (server, session) = session(|call, _, _| match call {
            "CreateVM_Task" => begun(call),
            _ => task(
                "success",
                "<propSet><name>info.result</name><val type=\"VirtualMachine\" xsi:type=\"ManagedObjectReference\">vm-99</val></propSet>",
            ),
        });
        let object = |kind: &str, moref: &str| ManagedObject::new(kind, moref);
        let (folder, pool) = (object("Folder", "group-v3"), object("ResourcePool", "resgroup-8"));
        let place = VmPlace { folder, pool, host: Some(object("HostSystem", "host-9")) };
        let made = create_vm(&session, &place, Element::new("x").with_text("name", "n")).unwrap();
        assert_eq!(made, object("VirtualMachine", "vm-99"));
        let sent = "<config><name>n</name></config><pool type=\"ResourcePool\">resgroup-8</pool><host type=\"HostSystem\">host-9</host>";
        assert!(server.seen().iter().any(|seen| seen.text().contains(sent)));
    }

    #[test]
    fn a_failed_task_says_why() {
        let (_server, session) = session(|call, _, _| match call {
            "PowerOnVM_Task" => begun(call),
            _ => task(
                "error",
                "<propSet><name>info.error</name><val><fault xsi:type=\"EncryptionKeyRequired\"><requiredKey><keyId>0b1f</keyId>\
                 </requiredKey></fault><localizedMessage>A key is required.</localizedMessage></val></propSet>",
            ),
        });
        let error = power_on_vm(&session, &vm()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "PowerOnVM_Task on VirtualMachine:vm-16: EncryptionKeyRequired: A key is required. (key 0b1f)"
        );
        assert_eq!(error.class(), Some(FaultClass::KeyUnavailable { key_ids: vec!["0b1f".to_owned()] }));
    }

    #[test]
    fn a_busy_vm_is_waited_for_and_then_told_of() {
        let (server, session) = session(|call, number, _| match (call, number) {
            ("Destroy_Task", 0 | 1) => Reply::fault("TaskInProgress", "busy"),
            ("PowerOnVM_Task", _) => Reply::fault("TaskInProgress", "busy"),
            ("Destroy_Task", _) => begun(call),
            _ => task("success", ""),
        });
        destroy_vm(&session, &vm()).unwrap();
        assert_eq!(server.count("Destroy_Task"), 3);
        assert_eq!(power_on_vm(&session, &vm()).unwrap_err().kind(), Kind::Busy);
    }
}
