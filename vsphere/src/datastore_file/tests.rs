use super::*;
use crate::{
    soap::test_server::Reply,
    test_session::{begun, found, object, property, session, task, vm},
};

fn place(text: &str) -> DatastorePath {
    text.parse().unwrap()
}

#[test]
fn a_place_is_encoded_part_by_part_and_the_datacenter_with_its_folders() {
    assert_eq!(
        place("[ds 1] web 01/a+b.nvram").url("Folder 1/DC1"),
        "/folder/web%2001/a%2Bb.nvram?dcPath=Folder%201%2FDC1&dsName=ds%201"
    );
    assert_eq!(place("[ds] a/b/c.vmx").folder().to_string(), "[ds] a/b");
    for wrong in ["", "ds a", "[] a", "[ds", "[ds] ../a"] {
        assert!(wrong.parse::<DatastorePath>().is_err(), "{wrong}");
    }
}

/// A VM whose layout names this file, and whose extraConfig this one.
fn captured(layout: &str, extra: &str) -> String {
    let config = format!(
        "<files><vmPathName>[ds] web01/web01.vmx</vmPathName></files>\
         <extraConfig><key>nvram</key><value>{extra}</value></extraConfig>"
    );
    let layout = format!("<file><name>{layout}</name><type>nvram</type></file>");
    let datastores = "<ManagedObjectReference type=\"Datastore\">datastore-1</ManagedObjectReference>";
    let parts = [property("config", &config), property("layoutEx", &layout), property("datastore", datastores)];
    object("VirtualMachine", "vm-16", &parts.concat())
}

fn answer(call: &str, text: &str, files: &str) -> Reply {
    match call {
        "SearchDatastore_Task" => begun(call),
        "RetrievePropertiesEx" if text.contains(">task-7<") => {
            task("success", &property("info.result", &format!("<folderPath>[ds] web01</folderPath>{files}")))
        }
        "RetrievePropertiesEx" if text.contains(">datastore-1<") => {
            let browser = "<propSet><name>browser</name><val type=\"HostDatastoreBrowser\">browser-1</val></propSet>";
            found(&object("Datastore", "datastore-1", &format!("{}{browser}", property("name", "ds"))))
        }
        _ => Reply::http(404, ""),
    }
}

#[test]
fn the_nvram_is_where_the_layout_says_even_without_its_folder() {
    let (_server, session) = session(|call, _, seen| match call {
        "GET /folder/web01/web01.nvram?dcPath=DC1&dsName=ds" => Reply::http(200, "sealed"),
        "RetrievePropertiesEx" if seen.text().contains(">vm-16<") => found(&captured("[ds] web01.nvram", "")),
        _ => answer(call, seen.text(), ""),
    });
    let properties = properties_of(&session, &vm(), &["config", "layoutEx", "datastore"]).unwrap();
    let (path, content) = read_nvram(&session, "DC1", &properties).unwrap().unwrap();
    assert_eq!((path.to_string().as_str(), content.as_slice()), ("[ds] web01/web01.nvram", b"sealed".as_slice()));
}

#[test]
fn a_named_place_that_is_empty_leads_to_the_next_and_at_last_to_a_search() {
    let (server, session) = session(|call, _, seen| match call {
        "GET /folder/web01/other.nvram?dcPath=DC1&dsName=ds" => Reply::http(200, "sealed"),
        "RetrievePropertiesEx" if seen.text().contains(">vm-16<") => {
            found(&captured("[ds] old/web01.nvram", "web01.nvram"))
        }
        _ => answer(call, seen.text(), "<file><path>other.nvram</path></file>"),
    });
    let properties = properties_of(&session, &vm(), &["config", "layoutEx", "datastore"]).unwrap();
    assert_eq!(read_nvram(&session, "DC1", &properties).unwrap().unwrap().0, place("[ds] web01/other.nvram"));
    let asked: Vec<_> =
        server.seen().iter().map(|seen| seen.line.clone()).filter(|line| line.starts_with("GET")).collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
}

#[test]
fn a_vm_that_was_never_started_has_none() {
    let (_server, session) = session(|call, _, seen| match call {
        "RetrievePropertiesEx" if seen.text().contains(">vm-16<") => found(&captured("[ds] web01/web01.nvram", "")),
        _ => answer(call, seen.text(), ""),
    });
    let properties = properties_of(&session, &vm(), &["config", "layoutEx", "datastore"]).unwrap();
    assert!(read_nvram(&session, "DC1", &properties).unwrap().is_none());
}

#[test]
fn what_is_written_goes_out_as_it_is() {
    let (server, session) = session(|_, _, _| Reply::http(201, ""));
    write_datastore_file(&session, "DC1", &place("[ds] web01/web01.nvram"), b"\0\xff").unwrap();
    let seen = server.seen().pop().unwrap();
    assert_eq!(
        (seen.line.as_str(), seen.body.as_slice()),
        ("PUT /folder/web01/web01.nvram?dcPath=DC1&dsName=ds", b"\0\xff".as_slice())
    );
}
