//! The failure cases of recovery of encrypted VMs, F1 to F12, each through the program: what is said and how it ends.

use std::fs;

use serde_json::{Value, json};
use strongroom_tests::VsphereSite;

/// Restores `vm` as `back`; the run must end so and say all these words.
#[track_caller]
fn restore(place: &VsphereSite, vm: &str, options: &[&str], exit: i32, words: &[&str]) {
    let run = place.run(&[&["restore", vm, "--name", "back", "--yes"], options].concat()).ends(exit);
    for word in words {
        assert!(run.stderr.contains(word), "{word:?} is not in\n{}", run.stderr);
    }
}

#[test]
fn f1_without_key_server_access_nothing_is_made_or_everything_is_and_waits_for_the_key() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    for (down, up, why) in [
        ("kms?up=false&id=kms-prod", "kms?up=true&id=kms-prod", "key provider kms-prod is not reachable"),
        ("provider?del=", "provider?add=kms-prod&keys=key-enc01", "this vCenter has no key provider"),
    ] {
        place.vcenter.ctl(down);
        let words = [
            "the VM will be created but will not power on: ",
            why,
            "--allow-unbootable",
            "new-keys --accept-loss nvram",
        ];
        restore(&place, "enc01", &[], 5, &words);
        place.assert_nothing_is_left("back");
        let words = ["not bootable here", "then power on, nothing else to do", "kms-prod", "key-enc01"];
        restore(&place, "enc01", &["--allow-unbootable", "--power-on"], 3, &words);
        assert_eq!(place.vcenter.info("back")["power"], "poweredOff", "{why}: never powered on");
        place.vcenter.ctl(up);
        if down.starts_with("kms") {
            assert_eq!(place.boots("back"), "original");
        }
        place.destroy("back");
    }
}

#[test]
fn f1_a_vcenter_that_will_not_create_under_a_key_it_cannot_reach_is_undone() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    place.vcenter.ctl("kms?up=false&id=kms-prod&create=refuse");
    restore(
        &place,
        "enc01",
        &["--allow-unbootable"],
        1,
        &["vCenter cannot get key kms-prod/key-enc01", "--vm-encryption none"],
    );
    place.assert_nothing_is_left("back");
}

#[test]
fn f2_a_point_without_key_or_bundle_is_an_error_at_backup_and_gives_new_keys_only() {
    let Some(place) = VsphereSite::new() else { return };
    place.vcenter.ctl("config?vm=enc01&extra=encryption.bundle");
    let run = place.run(&["backup", "enc01"]).ends(3);
    assert!(run.stderr.contains("encryption.bundle is not in config.extraConfig"), "{}", run.stderr);
    place.vcenter.ctl("config?vm=tpm01&keyid=");
    let run = place.run(&["backup", "tpm01"]).ends(3);
    assert!(run.stderr.contains("keyId"), "{}", run.stderr);
    let id = |vm: &str| {
        let points = place.site.json(&["list"])["points"].clone();
        let all = points.as_array().unwrap().iter();
        all.filter(|point| point["vm"] == vm).map(|point| point["id"].as_str().unwrap().to_owned()).next().unwrap()
    };
    let point = id("enc01");
    let words = [
        "its original keys cannot be used: encryption.bundle was not saved",
        "its NVRAM is unusable, will not be uploaded",
        "--vm-encryption new-keys --accept-loss nvram",
    ];
    restore(&place, &point, &[], 5, &words);
    place.assert_nothing_is_left("back");
    let new_keys = ["--vm-encryption", "new-keys", "--accept-loss", "nvram"];
    restore(
        &place,
        &point,
        &new_keys,
        3,
        &["unusable, will not be uploaded", "nvram: not restored; vSphere makes a generic one"],
    );
    assert_eq!(place.boots("back"), "generic");
    place.destroy("back");
    let words = ["its original keys cannot be used", "new-keys --accept-loss nvram,vtpm"];
    restore(&place, &id("tpm01"), &[], 5, &words);
    let new_keys = ["--vm-encryption", "new-keys", "--accept-loss", "nvram,vtpm"];
    let words = ["secure-boot: it and the boot disk entry may have to be set up again", "vtpm: content lost"];
    restore(&place, &id("tpm01"), &new_keys, 3, &words);
}

#[test]
fn f3_absent_nvram_is_said_and_the_same_keys_go_on() {
    let Some(place) = VsphereSite::new() else { return };
    place.vcenter.ctl("config?vm=tpm01&nvram=delete");
    place.run(&["backup", "tpm01"]).ends(3);
    let words = [
        "nvram: not restored; vSphere makes a generic one",
        "secure-boot: it and the boot disk entry may have to be set up again",
        "vtpm: content lost; have the BitLocker and other recovery keys ready",
        "restores: with losses: nvram, secure-boot, vtpm",
    ];
    restore(&place, "tpm01", &[], 3, &words);
    let back = place.vcenter.info("back");
    assert_eq!(back["key_id"], place.vcenter.info("tpm01")["key_id"]);
    assert_eq!(place.boots("back"), "generic");
}

#[test]
fn f4_a_lost_key_is_not_tried_again_blindly_whether_it_is_known_before_or_at_create() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    for fault in [
        "fault=EncryptionKeyRequired&required=kms-prod/key-enc01",
        "fault=GenericVmConfigFault&key=msg.vigor.enc.keyNotFound&text=no",
        "fault=GenericVmConfigFault&key=msg.keysafe.locator&text=no",
        "fault=SystemError&text=Error%20creating%20disk%20Key%20locator",
        "fault=SystemError&text=Key%20locator%20error",
    ] {
        place.vcenter.ctl("calls?clear=true");
        place.vcenter.ctl(&format!("fail?method=CreateVM_Task&{fault}"));
        restore(
            &place,
            "enc01",
            &[],
            5,
            &["vCenter cannot get key kms-prod/key-enc01", "new-keys --accept-loss nvram"],
        );
        let tries = place.vcenter.calls().iter().filter(|call| *call == "CreateVM_Task").count();
        assert_eq!(tries, 1, "{fault}");
        place.assert_nothing_is_left("back");
        place.vcenter.ctl("clean");
    }
    for reason in ["&reason=KeyStateNotActiveOrEnabled", "&reason=KeyStateMissingInKMS", ""] {
        place.vcenter.ctl(&format!("losekey?id=kms-prod/key-enc01{reason}"));
        let lost = ["key key-enc01 is lost: key provider kms-prod does not have it", "new-keys --accept-loss nvram"];
        restore(&place, "enc01", &[], 5, &lost);
    }
    place.assert_nothing_is_left("back");
    restore(&place, "enc01", &["--vm-encryption", "new-keys", "--accept-loss", "nvram"], 3, &["vm home: new key"]);
    assert_eq!(place.boots("back"), "generic");
}

#[test]
fn f5_a_policy_that_is_gone_is_asked_for_with_those_that_encrypt_and_nothing_is_made() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    place.vcenter.ctl("policy?add=DR%20Encryption&encrypts=true");
    place.vcenter.ctl("policy?add=Gold");
    place.vcenter.ctl("policy?del=VM%20Encryption%20Policy");
    let gone = [
        "its storage policy \"VM Encryption Policy\" is gone, and it must be encrypted",
        "--storage-policy with one of \"DR Encryption\"",
    ];
    restore(&place, "enc01", &[], 2, &gone);
    restore(&place, "enc01", &["--storage-policy", "Gold"], 2, &["storage policy \"Gold\" does not encrypt"]);
    restore(
        &place,
        "enc01",
        &["--storage-policy", "sample"],
        2,
        &["there is no storage policy \"VM Encryption Policy\""],
    );
    place.assert_nothing_is_left("back");
    restore(&place, "enc01", &["--storage-policy", "DR Encryption"], 0, &["\"DR Encryption\" (as chosen)"]);
    assert_eq!(place.known("back").keys(), place.known("enc01").keys());
}

#[test]
fn f6_a_provider_of_another_name_is_named_mapped_with_a_warning_and_believed_only_as_far_as_known() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    place.vcenter.ctl("provider?add=kms-new&like=kms-prod");
    place.vcenter.ctl("provider?del=kms-prod");
    let stranger = [
        "is of key provider kms-prod, which this vCenter does not know; it knows",
        "kms-new",
        "--key-provider kms-prod=NEW",
    ];
    restore(&place, "enc01", &[], 5, &stranger);
    place.assert_nothing_is_left("back");
    let mapped = ["--key-provider", "kms-prod=kms-new", "--accept-loss", "nvram"];
    restore(&place, "enc01", &mapped[..2], 5, &["--accept-loss nvram"]);
    let warning =
        "the key is asked for from kms-new, but the bundle names kms-prod; VMware asks for the same cluster name";
    place.vcenter.ctl("kms?bundle=lenient");
    restore(&place, "enc01", &mapped, 3, &[warning, "restores: unknown"]);
    assert_eq!(place.vcenter.info("back")["key_id"], "kms-new/key-enc01");
    assert_eq!(place.boots("back"), "original");
    place.destroy("back");
    // Where the bundle is not taken under another name, that is what was warned of.
    place.vcenter.ctl("kms?bundle=strict");
    restore(&place, "enc01", &[&mapped[..], &["--power-on"]].concat(), 3, &[warning]);
    assert_eq!(place.boots("back"), "*types.EncryptionKeyRequired");
}

#[test]
fn f7_a_transport_in_the_clear_is_refused_before_anything_is_opened_or_closed_with_nothing_read_or_written() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    for transport in ["san", "nbd"] {
        place.run(&["backup", "enc01", "--transport", transport]).fails(2, &["enc01 disk0", transport, "is refused"]);
        restore(
            &place,
            "enc01",
            &["--transport", transport],
            2,
            &["disk0", transport, "is refused", "--transport nbdssl"],
        );
        place.assert_nothing_is_left("back");
    }
    let datastore = place.vcenter.datastore("ds1");
    for mode in ["san", "nbd"] {
        place.library.set_over(&datastore, &format!("mode = \"{mode}\"\nencrypted = [\"enc01/enc01.vmdk\"]\n"));
        let text = format!("encrypted, but opened by \"{mode}\"; nothing was read");
        place.run(&["backup", "enc01"]).fails(1, &["enc01 disk0", &text, "--transport nbdssl"]);
        restore(&place, "enc01", &[], 1, &["disk0", &format!("encrypted, but opened by \"{mode}\"")]);
        place.assert_nothing_is_left("back");
    }
}

#[test]
fn f8_hotadd_from_a_proxy_in_the_clear_is_left_out_with_a_note_and_fails_where_it_is_the_only_way() {
    let Some(place) = VsphereSite::new() else { return };
    let uuid = |vm: &str| place.vcenter.info(vm)["uuid"].as_str().unwrap().to_owned();
    let datastore = place.vcenter.datastore("ds1");
    let Some(run) = place.inside(&uuid("clear01"), &["backup", "enc01", "--transport", "hotadd,nbdssl"]) else {
        return;
    };
    let run = run.ends(0);
    let note = "hotadd is refused: the disk is encrypted, and the VM that this program runs in is not";
    assert!(run.stdout.contains(note), "{}", run.stdout);
    let run = place.inside(&uuid("clear01"), &["backup", "enc01", "--transport", "hotadd"]).unwrap().ends(1);
    assert!(run.stdout.contains(note), "{}", run.stdout);
    // From an encrypted VM it is the way, and cleaned up after; a disk in the clear may be attached to any.
    place.library.set_over(&datastore, "mode = \"hotadd\"\n");
    for (proxy, vm) in [("tpm01", "enc01"), ("off01", "clear01")] {
        let run = place.inside(&uuid(proxy), &["backup", vm, "--transport", "hotadd"]).unwrap().ends(0);
        let point = run.result()["runs"][0]["backup"]["point"].as_str().unwrap().to_owned();
        let shown = place.site.run(&["show", &point, "--config"]).ends(0);
        assert!(shown.stdout.contains("hotadd"), "{}", shown.stdout);
    }
}

#[test]
fn f9_a_missing_cryptographer_right_is_named_before_and_at_the_disk() {
    let Some(place) = VsphereSite::new() else { return };
    let datastore = place.vcenter.datastore("ds1");
    let settings = "access = \"denied\"\nencrypted = [\"enc01/enc01.vmdk\"]\n";
    place.library.set_over(&datastore, settings);
    let denied = [
        "enc01 disk0: open failed: VDDK error 13 (You do not have access rights to this file)",
        "Cryptographer.Access",
        "Cryptographer.AddDisk",
    ];
    place.run(&["backup", "enc01"]).fails(1, &denied);
    place.library.set_over(&datastore, "fail = [\"Open:1\"]\n");
    let unknown = [
        "enc01 disk0: open failed: VDDK error 1 (Unknown error)",
        "wrong thumbprint",
        "independent disk",
        "Cryptographer.Access",
    ];
    place.run(&["backup", "enc01"]).fails(1, &unknown);
    assert_eq!(place.vcenter.info("enc01")["snapshots"], json!([]));
    place.library.set_over(&datastore, "");
    place.vcenter.ctl("deny?priv=Cryptographer.Access");
    place.run(&["doctor", "enc01"]).ends(1);
}

#[test]
fn f10_an_encrypted_home_with_clear_disks_keeps_both_as_they_are_and_may_be_read_over_san() {
    let Some(place) = VsphereSite::new() else { return };
    place.library.set_over(&place.vcenter.datastore("ds1"), "mode = \"san\"\n");
    place.run(&["backup", "tpm01", "--transport", "san"]).ends(0);
    place.library.set_over(&place.vcenter.datastore("ds1"), "");
    restore(&place, "tpm01", &[], 0, &["clear (was clear)"]);
    let back = place.known("back");
    assert_eq!(back.keys(), ["kms-prod/key-tpm01", ""]);
    assert!(back.disks == place.known("tpm01").disks);
    assert_eq!(place.boots("back"), "original");
}

#[test]
fn f11_after_a_change_of_keys_each_point_has_its_own_triple() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    let first = place.known("enc01");
    place.vcenter.ctl("recrypt?vm=enc01&deep=true&disks=true");
    place.run(&["backup", "enc01"]).ends(0);
    let second = place.known("enc01");
    assert!(first.keys() != second.keys() && first.info["bundle"] != second.info["bundle"]);
    for (selector, was) in [("enc01@latest~1", &first), ("enc01", &second)] {
        restore(&place, selector, &[], 0, &["restores: unchanged"]);
        let back = place.known("back");
        assert_eq!((back.keys(), &back.info["bundle"]), (was.keys(), &was.info["bundle"]));
        assert_eq!(place.boots("back"), "original");
        place.destroy("back");
    }
}

#[test]
fn f12_who_asks_for_the_vmx_is_told_where_the_configuration_is() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    let words = ["the VMX is not a restore source (VMware advises against it)", "strongroom show SELECTOR --config"];
    place.site.run(&["restore", "enc01", "--disk", "enc01.vmx=out.vmx"]).fails(2, &words);
    let shown = place.site.run(&["show", "enc01", "--config"]).ends(0);
    assert!(shown.stdout.contains("kms-prod"), "{}", shown.stdout);
}

#[test]
fn a_full_disk_of_losses_is_told_in_json_as_it_is_told_to_people() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "tpm01"]).ends(0);
    fs::write(place.site.path("map.toml"), "[networks]\n\"VM Network\" = \"nowhere\"\n").unwrap();
    let map = place.site.text("map.toml");
    let run = place.run(&["plan", "tpm01", "--vm-encryption", "new-keys", "--json"]).ends(5);
    let line = run.result()["verdicts"][0].clone();
    assert_eq!((&line["row"], &line["verdict"]), (&Value::from("D11"), &Value::from("with_losses")));
    let words = ["is mapped to \"nowhere\", which is not here", "--network"];
    restore(&place, "tpm01", &["--map", &map], 2, &words);
}
