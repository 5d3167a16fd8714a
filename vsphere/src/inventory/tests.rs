use super::*;
use crate::{
    soap::test_server::{Reply, Seen},
    test_session::{found, object, property, session},
};

fn vm(moref: &str, name: &str, uuid: &str, parent: &str) -> String {
    let parent = format!("<propSet><name>parent</name><val type=\"Folder\">{parent}</val></propSet>");
    object(
        "VirtualMachine",
        moref,
        &format!(
            "{}{}{}{parent}",
            property("name", name),
            property("config.instanceUuid", uuid),
            property("runtime.powerState", "poweredOn")
        ),
    )
}

fn part(kind: &str, moref: &str, name: &str, parent: Option<(&str, &str)>) -> String {
    let parent = parent.map_or(String::new(), |(kind, moref)| {
        format!("<propSet><name>parent</name><val type=\"{kind}\">{moref}</val></propSet>")
    });
    object(kind, moref, &format!("{}{parent}", property("name", name)))
}

/// Two VMs named web01 in different folders, in a datacenter in a folder.
fn two(call: &str, _: usize, seen: &Seen) -> Reply {
    let up = |vm: &str| {
        [
            part("VirtualMachine", vm, "web01", Some(("Folder", if vm == "vm-16" { "group-v3" } else { "group-v9" }))),
            part("Folder", "group-d1", "Datacenters", None),
            part("Folder", "group-v9", "b%2fc", Some(("Folder", "group-v3"))),
            part("Folder", "group-v3", "vm", Some(("Datacenter", "datacenter-2"))),
            part("Datacenter", "datacenter-2", "DC1", Some(("Folder", "group-d7"))),
            part("Folder", "group-d7", "Folder 1", Some(("Folder", "group-d1"))),
        ]
        .concat()
    };
    match call {
        "CreateContainerView" => {
            Reply::response(call, "<returnval type=\"ContainerView\">session[1]view-1</returnval>")
        }
        "RetrievePropertiesEx" if seen.text().contains("<path>view</path>") => Reply::response(
            call,
            &format!("<returnval><token>t1</token>{}</returnval>", vm("vm-16", "web01", "502A-1", "group-v3")),
        ),
        "ContinueRetrievePropertiesEx" => Reply::response(
            call,
            &format!(
                "<returnval>{}{}</returnval>",
                vm("vm-17", "web01", "502A-2", "group-v9"),
                vm("vm-18", "db%252f", "502A-3", "group-v9")
            ),
        ),
        "RetrievePropertiesEx" => found(&up(if seen.text().contains("vm-17") { "vm-17" } else { "vm-16" })),
        _ => Reply::HangUp,
    }
}

#[test]
fn a_list_goes_on_to_the_last_page_and_leaves_no_view() {
    let (server, session) = session(two);
    let list = list_vms(&session).unwrap();
    let names: Vec<_> = list.vms.iter().map(|vm| (vm.name.as_str(), vm.vm.moref())).collect();
    assert_eq!(names, [("db%2f", "vm-18"), ("web01", "vm-16"), ("web01", "vm-17")]);
    assert_eq!(list.vms[0].power_state, PowerState::On);
    assert_eq!(server.count("DestroyView"), 1);
}

#[test]
fn a_vm_is_found_by_reference_uuid_path_and_name() {
    let (_server, session) = session(two);
    for (wanted, moref) in [
        ("vm-17", "vm-17"),
        ("502a-2", "vm-17"),
        ("Folder 1/DC1/vm/web01", "vm-16"),
        ("/Folder 1/DC1/vm/b/c/web01", "vm-17"),
        ("db%2f", "vm-18"),
    ] {
        assert_eq!(find_vm(&session, wanted).unwrap().vm.moref(), moref, "{wanted}");
    }
}

#[test]
fn a_name_that_several_have_is_refused_with_all_of_them() {
    let (server, session) = session(two);
    assert_eq!(
        find_vm(&session, "web01").unwrap_err().to_string(),
        format!(
            "vcenter {}: \"web01\" names 2 VMs: Folder 1/DC1/vm/web01 (vm-16), Folder 1/DC1/vm/b/c/web01 (vm-17); \
             give the path, the moref or the instance uuid",
            server.endpoint
        )
    );
    assert_eq!(find_vm(&session, "web02").unwrap_err().kind(), Kind::Missing);
}

#[test]
fn the_path_for_files_has_the_datacenters_folders_as_the_server_escapes_them() {
    let (_server, session) = session(two);
    let path = inventory_path(&session, &ManagedObject::new("VirtualMachine", "vm-17")).unwrap();
    assert_eq!(path.text(), "Folder 1/DC1/vm/b/c/web01");
    assert_eq!(path.dc_path().unwrap(), "Folder 1/DC1");
    assert_eq!(path.datacenter().unwrap().moref(), "datacenter-2");
}

#[test]
fn what_may_not_be_read_is_an_error_with_its_fault() {
    let (_server, session) = session(|call, _, _| match call {
        "RetrievePropertiesEx" => found(&object(
            "VirtualMachine",
            "vm-16",
            "<missingSet><path>config</path><fault><fault xsi:type=\"NoPermission\"><object type=\"VirtualMachine\">vm-16\
             </object><privilegeId>System.Read</privilegeId></fault><localizedMessage/></fault></missingSet>",
        )),
        _ => Reply::HangUp,
    });
    let vm = ManagedObject::new("VirtualMachine", "vm-16");
    let properties = capture_properties(&session, &vm).unwrap();
    assert_eq!(
        properties.require("config").unwrap_err().to_string(),
        "VirtualMachine:vm-16: config is not readable (NoPermission (privilege System.Read on VirtualMachine:vm-16))"
    );
    // What lies below it may not be read either; what is merely not set is not set.
    assert!(properties.get("config.keyId").is_err());
    assert_eq!(properties.get("configuration"), Ok(None));
}

#[test]
fn the_configuration_is_there_byte_for_byte() {
    let config = "<val xsi:type=\"VirtualMachineConfigInfo\"><novel>a &amp; b</novel> <x/></val>";
    let (_server, session) = session(move |_, _, _| {
        found(&object("VirtualMachine", "vm-16", &format!("<propSet><name>config</name>{config}</propSet>")))
    });
    let vm = ManagedObject::new("VirtualMachine", "vm-16");
    let properties = capture_properties(&session, &vm).unwrap();
    assert_eq!(properties.raw("config").unwrap(), config.as_bytes());
    assert_eq!(properties.require("config").unwrap().text_at("novel"), Some("a & b"));
}
