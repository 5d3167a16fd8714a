//! Changed-block tracking: what has changed on a disk since a base, or why nobody can say. Any doubt is a full read.

mod rules;

use engine::ChangedAreas;

use crate::{
    calls,
    session::Session,
    soap::{CallError, Element, ManagedObject},
    vm_home::ConfigDisk,
};

pub use rules::{AreaCollector, AreasAnswer, ChangeBase, ChangeId, ChangeIdError, DiskNow, FullReadReason, base_for};

/// What is to be read of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToRead {
    /// Only this has changed since the base.
    Changed(ChangedAreas),
    /// Everything.
    All(FullReadReason),
}

/// What has changed on a disk since `base`: a disk as the configuration of `snapshot` has it, of a VM with this instance uuid.
///
/// Only a server that cannot be asked at all is an error; every other doubt is a full read with its reason. That the VM was
/// reverted to an older snapshot shows only where the sequence of changes goes back or its uuid differs; beyond that the audit of
/// unchanged areas finds it.
pub fn changed_since(
    session: &Session,
    vm: &ManagedObject,
    instance_uuid: Option<&str>,
    snapshot: &ManagedObject,
    disk: &ConfigDisk,
    base: Option<&ChangeBase>,
) -> Result<ToRead, CallError> {
    let now = DiskNow {
        change_id: disk.change_id.as_deref(),
        capacity_bytes: disk.capacity_bytes,
        disk_uuid: disk.uuid.as_deref(),
        instance_uuid,
    };
    match base_for(base, &now) {
        Ok(since) => query(session, vm, snapshot, disk, &since.to_string()),
        Err(reason) => Ok(ToRead::All(reason)),
    }
}

fn query(
    session: &Session,
    vm: &ManagedObject,
    snapshot: &ManagedObject,
    disk: &ConfigDisk,
    since: &str,
) -> Result<ToRead, CallError> {
    let mut areas = AreaCollector::new(disk.capacity_bytes);
    while let Some(start) = areas.next_start() {
        let params = [
            snapshot.element("snapshot"),
            Element::text_of("deviceKey", disk.key.to_string()),
            Element::text_of("startOffset", start.to_string()),
            Element::text_of("changeId", since),
        ];
        let answer = match session.call(calls::QUERY_CHANGED_DISK_AREAS, vm, &params) {
            Ok(answer) => answer,
            Err(CallError::Fault { fault, .. }) => return Ok(ToRead::All(FullReadReason::Fault(fault))),
            Err(error) => return Err(error),
        };
        if let Err(reason) = AreasAnswer::of(answer.value()).and_then(|answer| areas.add(&answer)) {
            return Ok(ToRead::All(reason));
        }
    }
    Ok(match areas.finish() {
        Ok(areas) => ToRead::Changed(areas),
        Err(reason) => ToRead::All(reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        soap::test_server::Reply,
        test_session::{session, vm},
    };

    fn disk() -> ConfigDisk {
        let config = "<config xmlns:xsi=\"x\"><hardware><device xsi:type=\"ParaVirtualSCSIController\"><key>1000</key>\
                      </device><device xsi:type=\"VirtualDisk\"><key>2000</key><backing \
                      xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds] a/a.vmdk</fileName><uuid>6000C29b</uuid>\
                      <changeId>52 3a/9</changeId></backing><controllerKey>1000</controllerKey><unitNumber>0</unitNumber>\
                      <capacityInBytes>1000</capacityInBytes></device></hardware></config>";
        let config = crate::soap::Document::read(config.as_bytes().to_vec()).unwrap();
        crate::vm_home::VmConfig::read(config.root()).unwrap().disks.remove(0)
    }

    fn base() -> ChangeBase {
        ChangeBase {
            change_id: "52 3a/7".to_owned(),
            capacity_bytes: 1000,
            disk_uuid: Some("6000C29b".to_owned()),
            instance_uuid: Some("502a".to_owned()),
        }
    }

    fn read(answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> (Vec<String>, Result<ToRead, CallError>) {
        let (server, session) = session(move |call, number, _| answer(call, number));
        let snapshot = ManagedObject::new("VirtualMachineSnapshot", "snapshot-5");
        let result = changed_since(&session, &vm(), Some("502a"), &snapshot, &disk(), Some(&base()));
        let asked = server.seen().into_iter().filter(|seen| seen.call() == "QueryChangedDiskAreas");
        (asked.map(|seen| seen.text().to_owned()).collect(), result)
    }

    #[test]
    fn the_server_is_asked_on_until_the_end_of_the_disk() {
        let (asked, result) = read(|call, number| {
            Reply::response(
                call,
                match number {
                    0 => {
                        "<returnval><startOffset>0</startOffset><length>600</length><changedArea><start>0</start><length>64</length>\
                          </changedArea><changedArea><start>500</start><length>100</length></changedArea></returnval>"
                    }
                    _ => "<returnval><startOffset>600</startOffset><length>400</length></returnval>",
                },
            )
        });
        assert_eq!(result.unwrap(), ToRead::Changed(ChangedAreas::of(1000, [0..64, 500..600]).unwrap()));
        assert_eq!(asked.len(), 2);
        let params = "<deviceKey>2000</deviceKey><startOffset>600</startOffset><changeId>52 3a/7</changeId>";
        assert!(asked[1].contains(params), "{}", asked[1]);
    }

    #[test]
    fn a_fault_is_a_full_read_that_says_why() {
        let (_, result) = read(|_, _| Reply::fault("FileFault", "Error caused by file /vmfs/a-ctk.vmdk"));
        let Ok(ToRead::All(reason)) = result else { panic!("{result:?}") };
        assert_eq!(
            reason.to_string(),
            "the server cannot say what has changed (FileFault: Error caused by file /vmfs/a-ctk.vmdk)"
        );
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_a_full_read() {
        let (asked, result) = read(|call, _| Reply::response(call, ""));
        assert!(matches!(result, Ok(ToRead::All(FullReadReason::WrongAnswer(_)))), "{result:?}");
        assert_eq!(asked.len(), 1);
    }
}
