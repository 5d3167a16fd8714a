//! Recoverability over time: what restore points are worth against the vCenter of today.

use serde_json::Value;
use strongroom_tests::{Run, VsphereSite};

/// State, text and advice of the newest check about a VM.
fn check(run: &Run, vm: &str) -> (String, String) {
    let checks = run.result()["checks"].clone();
    let is_of = |check: &&Value| check["object"].as_str().unwrap().starts_with(&format!("{vm} @ "));
    let check = checks.as_array().unwrap().iter().rfind(is_of).cloned().unwrap();
    let text = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(check["ok"], ["ok", "note"].contains(&text("state").as_str()), "{check}");
    (text("state"), format!("{} try: {}", text("found"), text("try")))
}

#[test]
fn doctor_points_tells_every_point_that_would_not_come_back_whole_any_more() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01", "clear01", "tpm01"]).ends(0);
    let sound = place.run(&["doctor", "--points", "--json"]).ends(0);
    assert_eq!(check(&sound, "clear01").0, "ok");
    let (state, text) = check(&sound, "enc01");
    assert!(
        state == "ok" && text.contains("restores: unchanged, as long as kms-prod can give key key-enc01"),
        "{text}"
    );
    for (call, undo, state, words) in [
        (
            "losekey?id=kms-prod/key-enc01&reason=KeyStateMissingInKMS",
            "losekey?id=kms-prod/key-enc01&reason=found",
            "problem",
            &["key key-enc01 is lost", "give the key back to kms-prod"][..],
        ),
        (
            "kms?up=false&id=kms-prod",
            "kms?up=true&id=kms-prod",
            "problem",
            &["kms-prod is not reachable", "make kms-prod reachable"],
        ),
        (
            "policy?rename=VM%20Encryption%20Policy&to=Renamed",
            "policy?rename=Renamed&to=VM%20Encryption%20Policy",
            "ok",
            &["restores: unchanged"],
        ),
    ] {
        place.vcenter.ctl(call);
        let run = place.run(&["doctor", "--points", "--json"]).ends(if state == "ok" { 0 } else { 3 });
        let (found, text) = check(&run, "enc01");
        assert!(found == state && words.iter().all(|word| text.contains(word)), "{call}: {found} {text}");
        assert_eq!(check(&run, "clear01").0, "ok", "{call}");
        place.vcenter.ctl(undo);
        place.run(&["doctor", "--points"]).ends(0);
    }
    // The provider has another name now, and the policy is gone: what is wrong comes in one line, as people read it, too.
    place.vcenter.ctl("provider?add=kms-new&like=kms-prod");
    place.vcenter.ctl("provider?del=kms-prod");
    place.vcenter.ctl("policy?del=VM%20Encryption%20Policy");
    let run = place.run(&["doctor", "--points", "--json"]).ends(3);
    let (state, text) = check(&run, "enc01");
    assert_eq!(state, "problem");
    for words in [
        "of key provider kms-prod, which this vCenter does not know; it knows",
        "kms-new",
        "--key-provider kms-prod=NEW",
    ] {
        assert!(text.contains(words), "{words:?}: {text}");
    }
    place.vcenter.ctl("provider?add=kms-prod&like=kms-new");
    let run = place.run(&["doctor", "--points"]).ends(3);
    let line = run.stdout.lines().find(|line| line.contains("tpm01 @ ")).unwrap();
    assert!(
        run.stdout.contains("its storage policy \"VM Encryption Policy\" is gone, and it must be encrypted"),
        "{line}"
    );
}

#[test]
fn plan_all_heads_each_vm_with_its_name_time_and_target_refused_or_not() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01", "clear01"]).ends(0);
    place.vcenter.ctl("losekey?id=kms-prod/key-enc01");
    let run = place.run(&["plan", "--all"]).ends(5);
    for vm in ["clear01", "enc01"] {
        let heading = format!("plan: {vm} @ ");
        assert_eq!(run.stdout.matches(&heading).count(), 1, "{heading:?} in\n{}", run.stdout);
    }
    let (_, refused) = run.stdout.split_once("plan: enc01 @ ").unwrap();
    assert!(refused.contains("error: key key-enc01 is lost") && refused.contains("nothing was changed"), "{refused}");
    let verdicts = place.run(&["plan", "--all", "--json"]).ends(5).result()["verdicts"].clone();
    let words: Vec<_> = verdicts.as_array().unwrap().iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!(words, ["unchanged", "impossible"]);
}

#[test]
fn the_inventory_shows_the_newest_point_of_each_vm() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    let newest = place.json(&["backup", "enc01"], 0)["runs"][0]["backup"]["point"].clone();
    let vms = place.json(&["inventory"], 0)["vms"].clone();
    let of = |name: &str| vms.as_array().unwrap().iter().find(|vm| vm["name"] == name).unwrap()["last_point"].clone();
    assert!(of("enc01").to_string().contains(newest.as_str().unwrap()), "{}", of("enc01"));
    assert!(of("clear01").is_null());
    let text = place.run(&["inventory"]).ends(0).stdout;
    let line = text.lines().find(|line| line.contains("enc01")).unwrap();
    assert!(line.contains("202"), "the time of its last point: {line}");
}
