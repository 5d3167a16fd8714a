//! Each line of the preflight that is not well: what is said, and what is to be done about it.

use std::fs;

use serde_json::Value;
use strongroom_tests::VsphereSite;

/// The one check of this id about this object that is not well says these words, and its hint these.
#[track_caller]
fn says(place: &VsphereSite, words: &[&str], exit: i32, (id, object): (&str, &str), found: &[&str], hint: &str) {
    let run = place.run(&[&["doctor"], words, &["--json"]].concat()).ends(exit);
    let checks = run.result()["checks"].clone();
    let of = |check: &&Value| {
        let is_it = check["id"] == id && check["object"].as_str().unwrap().contains(object);
        is_it && found.iter().all(|word| check["found"].as_str().unwrap().contains(word))
    };
    let all = checks.as_array().unwrap_or_else(|| panic!("{}", run.stdout));
    let fitting: Vec<&Value> = all.iter().filter(of).collect();
    let [check] = fitting.as_slice() else { panic!("{id} {object} {found:?}: {checks:#}") };
    assert_ne!(check["state"], "ok", "{check}");
    assert!(check["try"].as_str().unwrap_or_default().contains(hint), "{hint:?}: {check}");
}

/// Disks by way of somebody else's server: nothing of this machine plays a part.
const OUTSIDE: [&str; 2] = ["--reader", "nbd:nbd://127.0.0.1/{vm}"];

#[test]
fn p2_p3_another_certificate_an_old_server_and_a_library_that_does_not_serve_it() {
    let Some(place) = VsphereSite::with(&["--api-version", "6.0", "--disk-mib", "8"]) else { return };
    let other = [0xab_u8; 32].map(|byte| format!("{byte:02X}")).join(":");
    let run = place.run(&["doctor", "--vcenter-thumbprint", &other]);
    let pin = format!("--vcenter-thumbprint {}", place.vcenter.sha256);
    run.fails(1, &["certificate SHA-256 is", "pinned is", &pin]);
    let old = ["is older than 6.5, with which VM encryption begins", "upgrade the vCenter to 6.5 or newer"];
    place.run(&["doctor", "clear01"]).fails(2, &old);
    let Some(place) = VsphereSite::with(&["--api-version", "6.5", "--disk-mib", "8"]) else { return };
    let libdir = place.site.path("vddk");
    fs::create_dir_all(libdir.join("lib64")).unwrap();
    let words = ["clear01", "--vddk-libdir", libdir.to_str().unwrap()];
    let none = ["there is no libvixDiskLib.so"];
    says(&place, &words, 2, ("P3", "vddk"), &none, "vmware-vix-disklib-distrib");
    fs::write(libdir.join("lib64/libvixDiskLib.so.8.0.2"), "").unwrap();
    std::os::unix::fs::symlink("libvixDiskLib.so.8.0.2", libdir.join("lib64/libvixDiskLib.so.8")).unwrap();
    let words = ["clear01", "--vddk-libdir", libdir.to_str().unwrap()];
    let unfit = ["library 8.0.2 is not made for vSphere 6.5"];
    says(&place, &words, 3, ("P3", "libvixDiskLib.so.8"), &unfit, "use the library of the vCenter's own release");
}

#[test]
fn p4_to_p13_what_is_wrong_with_vms_keys_and_rights_has_a_line_and_a_hint_each() {
    let Some(place) = VsphereSite::new() else { return };
    let outside = |more: &[&'static str]| -> Vec<&'static str> { [&OUTSIDE[..], more].concat() };
    for call in [
        "addvm?name=indep01&disks=8,8&mode=independent_persistent",
        "addvm?name=nob01&disks=8&homekey=kms-prod/nob&diskkeys=kms-prod/nob",
        "addvm?name=gone01&disks=8",
        "addvm?name=snap01&disks=8",
        "config?vm=nob01&extra=encryption.bundle",
        "config?vm=tpm01&nvram=delete",
        "config?vm=clear01&consolidation=true",
        "config?vm=gone01&connection=disconnected",
        "snapshot?vm=snap01&name=strongroom%20r1&description=repo%3Da%20run%3Dr1%20host%3Db1",
    ] {
        place.vcenter.ctl(call);
    }
    let whole = "see that the user may read the whole config; its disks are backed up all the same";
    says(&place, &outside(&["nob01"]), 3, ("P5", "nob01"), &["encryption.bundle is not in config.extraConfig"], whole);
    let words = ["enc01", "--transport", "san", "--vddk-libdir", place.library.libdir().to_str().unwrap()];
    says(&place, &words, 2, ("P7", "enc01 disk0"), &["san is refused", "encrypted"], "--transport nbdssl");
    let nvram = "power the VM on once, or see to the file";
    says(&place, &outside(&["tpm01"]), 3, ("P10", "tpm01"), &["there is no NVRAM file", "a generic one"], nvram);
    let disk = "back it up from inside the guest, or change the disk in vSphere";
    says(&place, &outside(&["indep01"]), 1, ("P11", "indep01 disk0"), &["skipped", "no snapshot covers it"], disk);
    let host = "see to the host in vSphere";
    says(&place, &outside(&["gone01"]), 6, ("P12", "gone01"), &["connection state disconnected"], host);
    says(&place, &outside(&["clear01"]), 3, ("P12", "clear01"), &["wait to be joined"], "consolidate the VM's disks");
    let ours = ["snapshot \"strongroom r1\"", "a run on b1 is at work, or has left it"];
    says(&place, &outside(&["snap01"]), 3, ("P12", "snap01"), &ours, "strongroom vsphere cleanup");
    says(
        &place,
        &outside(&["tmpl01"]),
        2,
        ("P12", "tmpl01"),
        &["a template"],
        "make it a virtual machine, or leave it out",
    );
    let quiet = ["an encrypted VM can be quiesced by its file systems only"];
    says(
        &place,
        &outside(&["enc01", "--quiesce", "application"]),
        2,
        ("P13", "enc01"),
        &quiet,
        "--quiesce file-system",
    );
    place.vcenter.ctl("deny?priv=VirtualMachine.State.CreateSnapshot");
    let right = ["missing privilege VirtualMachine.State.CreateSnapshot on VirtualMachine:"];
    let grant = "grant VirtualMachine.State.CreateSnapshot to svc-backup@vsphere.local on enc01";
    says(&place, &outside(&["enc01"]), 1, ("P4", "enc01"), &right, grant);
    place.vcenter.ctl("allow");
    place.vcenter.ctl("losekey?id=kms-prod/key-enc01");
    let lost = ["does not have it any more", "a same-keys restore would fail today"];
    says(&place, &outside(&["enc01"]), 3, ("P9", "kms-prod/key-enc01"), &lost, "bring the key back");
}

#[test]
fn p8_a_proxy_in_the_clear_leaves_hotadd_out_with_a_note() {
    let Some(place) = VsphereSite::new() else { return };
    let uuid = place.vcenter.info("clear01")["uuid"].as_str().unwrap().to_owned();
    let words = ["doctor", "enc01", "--transport", "hotadd,nbdssl"];
    let Some(run) = place.inside(&uuid, &words) else { return };
    let checks = run.result()["checks"].clone();
    let is_it = |check: &&Value| {
        let text = check["found"].as_str().unwrap();
        check["id"] == "P8" && check["state"] == "note" && text.contains("hotadd is not used for encrypted disks")
    };
    assert_eq!(checks.as_array().unwrap().iter().filter(is_it).count(), 1, "{checks:#}");
}

#[test]
fn p13_of_all_vms_an_encrypted_one_is_quiesced_by_its_file_systems_with_a_warning() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01", "--quiesce", "application"]).fails(2, &["enc01", "--quiesce file-system"]);
    let run = place.run(&["backup", "--all", "--quiesce", "application", "--exclude", "t*", "--json"]).ends(0);
    let runs = run.result()["runs"].clone();
    let level = |vm: &str| runs.as_array().unwrap().iter().find(|run| run["vm"] == vm).unwrap()["consistency"].clone();
    assert_eq!((level("enc01"), level("clear01")), ("file_system".into(), "application".into()));
    assert!(run.stdout.contains("enc01: it is encrypted, so that its file systems are quiesced"), "{}", run.stdout);
}
