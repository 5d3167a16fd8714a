//! Keys that change while a VM is captured: what is stored is of one moment, or says that it is not.

use std::fs;

use serde_json::json;
use strongroom_tests::{VsphereSite, open_for_reading};
use vsphere::{recovery::SavedPoint, vm_home::SavedEncryption};

/// The newest point's key, bundle and NVRAM, put into a VM of the vCenter that made them: does it boot with its own NVRAM?
/// `None`: the point says that its secrets are not of one moment.
fn opens(place: &VsphereSite) -> Option<String> {
    let reader = open_for_reading(&place.site);
    let newest = reader.state().points().last().unwrap().id;
    let point = SavedPoint::read(&reader, newest).unwrap();
    let SavedEncryption::Whole(encryption) = &point.saved.encryption else { return None };
    let probe = place.vcenter.info("probe");
    let escaped = |text: &str| text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let bundle = escaped(std::str::from_utf8(encryption.bundle().expose()).unwrap());
    let key = escaped(&encryption.key().to_string());
    place.vcenter.ctl(&format!("config?vm=probe&keyid={key}&extra=encryption.bundle&value={bundle}"));
    fs::write(probe["nvram_local"].as_str().unwrap(), point.nvram.as_deref().unwrap()).unwrap();
    Some(place.boots("probe"))
}

#[test]
fn a_key_changed_between_any_two_steps_of_capture_leaves_a_triple_of_one_moment_or_an_incomplete_point() {
    let Some(place) = VsphereSite::with(&["--disk-mib", "1"]) else { return };
    place.vcenter.ctl("addvm?name=probe&disks=1&homekey=kms-prod/probe&diskkeys=kms-prod/probe");
    place.run(&["backup", "enc01"]).ends(0);
    assert_eq!(opens(&place).as_deref(), Some("original"));
    place.vcenter.ctl("calls?clear=true");
    place.run(&["backup", "enc01"]).ends(0);
    let calls = place.vcenter.calls();
    let begin = calls.iter().position(|call| call.starts_with("CreateSnapshot")).unwrap();
    let end = calls.iter().position(|call| call.starts_with("RemoveSnapshot")).unwrap();
    assert!(end - begin > 10, "{calls:?}");
    // Every second step with the NVRAM file, every other without: the vCenter of a shallow change leaves it as it is.
    let mut whole = 0;
    for (step, call) in calls.iter().enumerate().take(end + 1).skip(begin.saturating_sub(3)) {
        let deep = if step % 2 == 0 { "&deep=true" } else { "" };
        let then = format!("recrypt?vm=enc01{deep}").replace('?', "%3F").replace('&', "%26").replace('=', "%3D");
        // Steps are counted from the program's first call on.
        place.vcenter.ctl(&format!("when?n={}&then={then}", step + 1));
        let ended = place.run(&["backup", "enc01", "--json"]);
        place.vcenter.ctl("clean");
        assert!([0, 3].contains(&ended.code), "step {step} ({}): {}{}", call, ended.stdout, ended.stderr);
        match opens(&place) {
            Some(boots) => {
                assert_eq!((boots.as_str(), ended.code), ("original", 0), "step {step} ({}): {}", call, ended.stdout);
                whole += 1;
            }
            None => {
                assert_eq!(ended.code, 3, "step {step} ({}): {}", call, ended.stdout);
                assert!(
                    ended.stdout.contains("not of one moment") || ended.stdout.contains("changed"),
                    "{}",
                    ended.stdout
                );
            }
        }
        assert_eq!(place.vcenter.info("enc01")["snapshots"], json!([]), "step {step}");
    }
    assert!(whole > 0, "no point is whole");
}

#[test]
fn keys_that_never_stand_still_make_an_incomplete_point_that_says_so() {
    let Some(place) = VsphereSite::with(&["--disk-mib", "1"]) else { return };
    for n in 1..200 {
        place.vcenter.ctl(&format!("when?method=GET&n={n}&then=recrypt%3Fvm%3Denc01%26deep%3Dtrue"));
    }
    let ended = place.run(&["backup", "enc01"]).ends(3);
    assert!(ended.stderr.contains("the VM's key changed during each of 3 readings"), "{}", ended.stderr);
    assert_eq!(opens(&place), None);
    let point = place.site.json(&["list"])["points"][0]["id"].as_str().unwrap().to_owned();
    place.run(&["plan", &point]).ends(5);
}
