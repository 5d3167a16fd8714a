//! A plan is true: what it calls unchanged boots with the VM's own NVRAM, and nothing else does.

use serde_json::Value;
use strongroom_tests::{KnownVm, VsphereSite};
use vsphere::{Session, config_of, find_vm};

const SECOND: [&str; 4] = ["--disk-mib", "8", "--instance-uuid", "0a1b2c3d-2222-4222-8333-444455556666"];

/// What of a VM's configuration a restore answers for, path by path.
const FIELDS: [&str; 9] = [
    "version",
    "guestId",
    "firmware",
    "bootOptions.efiSecureBootEnabled",
    "hardware.numCPU",
    "hardware.numCoresPerSocket",
    "hardware.memoryMB",
    "annotation",
    "changeTrackingEnabled",
];

/// Fields of a configuration, and its controllers, disks and cards by label, unit and size.
fn fields(session: &Session, vm: &str) -> Vec<String> {
    let config = config_of(session, &find_vm(session, vm).unwrap().vm).unwrap();
    let mut found: Vec<String> =
        FIELDS.iter().map(|path| format!("{path} = {:?}", config.text_at(path).unwrap_or_default())).collect();
    let hardware = config.child("hardware").unwrap();
    let mut devices: Vec<String> = hardware
        .all("device")
        .filter_map(|device| {
            let text = |path: &str| device.text_at(path).unwrap_or_default().to_owned();
            let kind = device.xsi_type().unwrap_or_default();
            let kept = kind.ends_with("Controller") && !text("busNumber").is_empty() && kind != "VirtualIDEController"
                || ["VirtualDisk", "VirtualTPM", "VirtualE1000", "VirtualVmxnet3"].contains(&kind);
            let parts = ["busNumber", "unitNumber", "capacityInBytes", "backing.diskMode", "backing.thinProvisioned"];
            let parts: Vec<String> = parts.iter().map(|path| text(path)).collect();
            kept.then(|| format!("{kind} {}", parts.join(" ")))
        })
        .collect();
    devices.sort();
    found.extend(devices);
    found
}

/// What a wish costs a VM, as `--accept-loss` takes it.
fn price(known: &KnownVm, wish: &str) -> String {
    let mut words = Vec::new();
    if known.info["key_id"] != "" {
        words.extend(match wish {
            "new-keys" => vec!["nvram"],
            "none" => vec!["encryption", "nvram"],
            _ => vec![],
        });
        if known.info["tpm"] == true && wish != "same-keys" {
            words.push("vtpm");
        }
    }
    words.join(",")
}

fn is_unchanged(verdict: &Value) -> bool {
    ["unchanged", "unchanged_needs_key"].contains(&verdict.as_str().unwrap())
}

/// Plans, restores under another name, compares everything, and boots.
#[track_caller]
fn assert_true(place: &VsphereSite, vm: &str, known: &KnownVm, original: &[String], wish: &str) {
    let name = format!("{vm}-{wish}");
    let accept = price(known, wish);
    let mut words = vec![vm, "--vm-encryption", wish];
    if !accept.is_empty() {
        words.extend(["--accept-loss", accept.as_str()]);
    }
    let planned = place.run(&[&["plan"], &words[..], &["--json"]].concat()).result()["verdicts"][0].clone();
    let restored =
        place.run(&[&["restore"], &words[..], &["--name", &name, "--verify-after", "--yes", "--json"]].concat());
    let unchanged = is_unchanged(&planned["verdict"]);
    let restored = restored.ends(if unchanged { 0 } else { 3 }).result();
    assert_eq!(restored["verdict"], planned["verdict"], "{vm} {wish}");
    let back = place.known(&name);
    assert!(back.disks == known.disks, "{vm} {wish}: its disks differ");
    let wanted_keys = known.keys();
    for (found, was) in back.keys().iter().zip(&wanted_keys) {
        match wish {
            "same-keys" => assert_eq!(found, was, "{vm} {wish}"),
            "new-keys" => {
                assert!(found.is_empty() == was.is_empty(), "{vm} {wish}: {was} -> {found}");
                assert!(was.is_empty() || found != was, "{vm} {wish}: {was} -> {found}");
            }
            _ => assert_eq!(found, "", "{vm} {wish}"),
        }
    }
    let policies = if wish == "none" { vec![String::new(); wanted_keys.len()] } else { known.policies() };
    if known.info["key_id"] != "" {
        let of_encrypted =
            back.policies().into_iter().zip(&policies).zip(&wanted_keys).filter(|(_, key)| !key.is_empty());
        of_encrypted.for_each(|((found, wanted), _)| assert_eq!(found, *wanted, "{vm} {wish}"));
    }
    let mut wanted = original.to_vec();
    if wish == "none" {
        wanted.retain(|field| !field.starts_with("VirtualTPM"));
    }
    assert_eq!(fields(&place.session(), &name), wanted, "{vm} {wish}");
    let boots = place.boots(&name);
    assert_eq!(
        boots == "original",
        unchanged,
        "{vm} {wish}: the plan says {}, it boots with {boots}",
        planned["verdict"]
    );
    if unchanged {
        assert_eq!(place.vcenter.info(&name)["nvram_content"], known.info["nvram_content"], "{vm} {wish}");
    }
    place.destroy(&name);
}

/// A full backup and two incremental ones of each kind of VM; what each is at the last.
fn three_nights(place: &VsphereSite, vms: &[&str]) -> Vec<KnownVm> {
    for vm in vms {
        // As a guest that has run: its NVRAM is its own.
        place.vcenter.ctl(&format!("poweroff?vm={vm}"));
        place.vcenter.ctl(&format!("poweron?vm={vm}"));
    }
    place.vcenter.ctl("poweroff?vm=off01");
    for night in 0..3_u32 {
        let result = place.json(&[&["backup"], vms].concat(), 0);
        for run in result["runs"].as_array().unwrap() {
            for disk in run["backup"]["disks"].as_array().unwrap() {
                let how = if night == 0 { "whole" } else { "changed_areas" };
                assert_eq!(disk["read"], how, "night {night}: {run}");
            }
        }
        for vm in vms.iter().filter(|_| night < 2) {
            place.vcenter.ctl(&format!("write?vm={vm}&off={}&len=70000", (night + 1) << 20));
        }
        if night == 0 {
            place.vcenter.ctl("write?vm=two01&key=2001&off=3145728&len=200000");
        }
    }
    vms.iter().map(|vm| place.known(vm)).collect()
}

#[test]
fn verdict_unchanged_means_that_it_boots_with_its_own_nvram_here_and_in_a_second_vcenter() {
    let Some(place) = VsphereSite::new() else { return };
    let vms = ["clear01", "enc01", "off01", "tpm01", "two01"];
    let known = three_nights(&place, &vms);
    let original: Vec<_> = vms.iter().map(|vm| fields(&place.session(), vm)).collect();
    place.run(&["backup", "tmpl01"]).fails(2, &["tmpl01", "is a template"]);
    let mut here = Some(place);
    for target in ["the same vCenter", "a second vCenter"] {
        let place = match target {
            "the same vCenter" => here.take().unwrap(),
            _ => here.take().unwrap().moved(&SECOND),
        };
        for ((vm, known), original) in vms.iter().zip(&known).zip(&original) {
            assert_true(&place, vm, known, original, "same-keys");
            if known.info["key_id"] == "" {
                place.run(&["plan", vm, "--vm-encryption", "new-keys"]).ends(5);
                let words = ["restore", vm, "--name", "x", "--vm-encryption", "new-keys", "--yes"];
                place.run(&words).fails(2, &["was not encrypted", "encrypt it in vSphere"]);
                place.assert_nothing_is_left("x");
            } else {
                assert_true(&place, vm, known, original, "new-keys");
                assert_true(&place, vm, known, original, "none");
            }
        }
        here = Some(place);
    }
}

#[test]
fn the_verdict_follows_the_key_server_and_so_does_the_boot() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "tpm01", "enc01"]).ends(0);
    let verdict = || place.run(&["plan", "tpm01", "--json"]).result()["verdicts"][0]["verdict"].clone();
    assert_eq!(verdict(), "unchanged_needs_key");
    // The provider is down: made on wish only, and it boots once its key is there.
    place.vcenter.ctl("kms?up=false&id=kms-prod");
    assert_eq!(verdict(), "not_bootable");
    place.run(&["restore", "tpm01", "--name", "back", "--yes", "--allow-unbootable"]).ends(3);
    assert_eq!(place.boots("back"), "*types.EncryptionKeyRequired");
    place.vcenter.ctl("kms?up=true&id=kms-prod");
    assert_eq!(place.boots("back"), "original");
    place.destroy("back");
    // Nobody can say whether the key is there: it is tried, once, and a key fault then leaves nothing.
    place.vcenter.ctl("losekey?id=kms-prod/key-tpm01&reason=KeyStateMissingInCache");
    assert_eq!(verdict(), "unknown");
    let words = ["vCenter cannot get key kms-prod/key-tpm01", "new-keys --accept-loss nvram,vtpm"];
    place.run(&["restore", "tpm01", "--name", "back", "--yes"]).fails(5, &words);
    place.assert_nothing_is_left("back");
    place.vcenter.ctl("losekey?id=kms-prod/key-tpm01&reason=found");
    assert_eq!(verdict(), "unchanged_needs_key");
    // NVRAM that the point never had: said before, and a generic one then.
    place.vcenter.ctl("config?vm=enc01&nvram=delete");
    place.run(&["backup", "enc01"]).ends(3);
    assert_eq!(place.json(&["plan", "enc01"], 5)["verdicts"][0]["verdict"], "with_losses");
    place.run(&["restore", "enc01", "--name", "back", "--yes"]).ends(3);
    assert_eq!(place.boots("back"), "generic");
}
