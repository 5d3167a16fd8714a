//! Each right of a restore, denied alone: one message that names it, what it is missing on, and that it is to be granted there.

use strongroom_tests::VsphereSite;

#[test]
fn each_right_of_a_restore_denied_alone_is_named_with_where_to_grant_it_and_nothing_is_made() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "tpm01", "clear01"]).ends(0);
    let folder = format!("{}/vm", place.vcenter.datacenter);
    let folder = folder.as_str();
    for (id, object) in [
        ("VirtualMachine.Inventory.Create", folder),
        ("VirtualMachine.Inventory.Delete", folder),
        ("VirtualMachine.Config.AddNewDisk", folder),
        ("VirtualMachine.Config.AddRemoveDevice", folder),
        ("VirtualMachine.Config.AdvancedConfig", folder),
        ("VirtualMachine.Config.ChangeTracking", folder),
        ("VirtualMachine.Config.CPUCount", folder),
        ("VirtualMachine.Config.Memory", folder),
        ("VirtualMachine.Config.Settings", folder),
        ("VirtualMachine.Provisioning.DiskRandomAccess", folder),
        ("VirtualMachine.Provisioning.PutVmFiles", folder),
        ("Resource.AssignVMToPool", "Cluster1"),
        ("Datastore.AllocateSpace", "datastore ds1"),
        ("Datastore.FileManagement", "datastore ds1"),
        ("Network.Assign", "network VM Network"),
        ("StorageProfile.Update", "the vCenter's root folder"),
        ("StorageProfile.View", "the vCenter's root folder"),
        ("Cryptographer.EncryptNew", folder),
        ("Cryptographer.Access", folder),
    ] {
        place.vcenter.ctl(&format!("deny?priv={id}"));
        let missing = format!("missing privilege {id}");
        let run = place.run(&["restore", "tpm01", "--name", "back", "--yes"]);
        let run = run.fails(1, &[&missing, object, "grant it on this object"]);
        assert_eq!(run.stderr.matches("missing privilege").count(), 1, "{}", run.stderr);
        place.vcenter.ctl("allow");
    }
    // Only who encrypts needs the rights to.
    for id in ["Cryptographer.EncryptNew", "Cryptographer.Access"] {
        place.vcenter.ctl(&format!("deny?priv={id}"));
    }
    place.run(&["restore", "clear01", "--name", "open", "--yes"]).ends(0);
    place.vcenter.ctl("allow");
    // A host outside encryption mode, and nobody who may bring it there.
    place.vcenter.ctl("deny?priv=Cryptographer.RegisterHost");
    place.run(&["restore", "tpm01", "--name", "safe", "--yes"]).ends(0);
    place.vcenter.ctl("host?crypto=prepared");
    let words = [
        "the host is not in encryption mode, and Cryptographer.RegisterHost is missing",
        "grant Cryptographer.RegisterHost",
    ];
    place.run(&["restore", "tpm01", "--name", "back", "--yes"]).fails(1, &words);
    place.vcenter.ctl("allow");
    place.vcenter.ctl("host?crypto=pendingIncapable");
    place.run(&["restore", "tpm01", "--name", "back", "--yes"]).fails(1, &["is about to leave encryption mode"]);
    place.vcenter.ctl("host?crypto=safe");
    place.assert_nothing_is_left("back");
}

#[test]
fn a_right_that_is_refused_only_by_the_call_itself_is_named_with_its_object() {
    let Some(place) = VsphereSite::new() else { return };
    for (vm, method, id) in [
        ("enc01", "CreateSnapshot_Task", "VirtualMachine.State.CreateSnapshot"),
        ("tpm01", "ReconfigVM_Task", "VirtualMachine.Config.ChangeTracking"),
    ] {
        place.vcenter.ctl(&format!("fail?method={method}&fault=NoPermission&where=call&privilege={id}"));
        place.run(&["backup", vm]).fails(1, &[vm, "NoPermission", id]);
        place.vcenter.ctl("clean");
    }
    place.run(&["backup", "enc01"]).ends(0);
    place
        .vcenter
        .ctl("fail?method=CreateVM_Task&fault=NoPermission&where=call&privilege=VirtualMachine.Inventory.Create");
    place
        .run(&["restore", "enc01", "--name", "back", "--yes"])
        .fails(1, &["NoPermission", "VirtualMachine.Inventory.Create"]);
    place.assert_nothing_is_left("back");
}

#[test]
fn each_right_of_hotadd_denied_alone_is_named_on_the_proxy() {
    let Some(place) = VsphereSite::new() else { return };
    let uuid = place.vcenter.info("tpm01")["uuid"].as_str().unwrap().to_owned();
    let words = ["doctor", "enc01", "--transport", "hotadd"];
    if place.inside(&uuid, &words).is_none() {
        return;
    }
    for (id, object) in [
        ("VirtualMachine.Config.AddExistingDisk", "tpm01"),
        ("VirtualMachine.Config.AddNewDisk", "tpm01"),
        ("VirtualMachine.Config.RemoveDisk", "tpm01"),
        ("VirtualMachine.Config.Resource", "tpm01"),
        ("VirtualMachine.Config.Settings", "tpm01"),
        ("Datastore.AllocateSpace", "ds1"),
        ("Cryptographer.AddDisk", "tpm01"),
    ] {
        place.vcenter.ctl(&format!("deny?priv={id}"));
        let run = place.inside(&uuid, &words).unwrap().ends(1);
        let checks = run.result()["checks"].clone();
        let found = checks.as_array().unwrap().iter().any(|check| {
            check["id"] == "P4"
                && check["object"] == object
                && check["found"].as_str().unwrap().contains(&format!("missing privilege {id} on"))
                && check["try"].as_str().unwrap().contains(&format!("grant {id} to"))
        });
        assert!(found, "{id}: {checks:#}");
        place.vcenter.ctl("allow");
    }
}
