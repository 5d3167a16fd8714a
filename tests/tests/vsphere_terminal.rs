//! What a restore asks of a person at a terminal.

use strongroom_tests::{VsphereSite, has_program};

fn place() -> Option<VsphereSite> {
    if !has_program("script") {
        return None;
    }
    VsphereSite::new()
}

#[test]
fn losses_are_agreed_to_by_typing_their_words_and_by_nothing_else() {
    let Some(place) = place() else { return };
    place.run(&["backup", "tpm01"]).ends(0);
    let restore = ["restore", "tpm01", "--name", "back", "--vm-encryption", "new-keys"];
    for wrong in ["yes\n", "nvram\n", "nvram,vtpm,encryption\n", "\n", "nvram,tpm\n"] {
        let run = place.typed(&restore, wrong).ends(2);
        let question = "this gives up nvram,vtpm for good; type nvram,vtpm to agree:";
        assert!(run.stdout.contains(question), "{}", run.stdout);
        assert!(run.stdout.contains("vtpm: content lost"), "the plan comes first: {}", run.stdout);
        assert!(run.stdout.contains("not confirmed; nothing was changed"), "{}", run.stdout);
    }
    place.assert_nothing_is_left("back");
    let run = place.typed(&restore, "vtpm, nvram\n").ends(3);
    assert!(run.stdout.contains("restored tpm01 as back"), "{}", run.stdout);
    assert_eq!(place.boots("back"), "generic");
}

#[test]
fn without_a_loss_the_question_is_whether_the_vm_is_made() {
    let Some(place) = place() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    let restore = ["restore", "enc01", "--name", "back"];
    let run = place.typed(&restore, "no\n").ends(2);
    assert!(run.stdout.contains("make VM \"back\"?"), "{}", run.stdout);
    assert!(run.stdout.contains("not confirmed; nothing was changed"), "{}", run.stdout);
    place.assert_nothing_is_left("back");
    place.typed(&restore, "y\n").ends(0);
    assert_eq!(place.boots("back"), "original");
}

#[test]
fn a_policy_that_is_gone_is_chosen_by_number_or_name() {
    let Some(place) = place() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    place.vcenter.ctl("policy?add=DR%20Encryption&encrypts=true");
    place.vcenter.ctl("policy?del=VM%20Encryption%20Policy");
    let restore = ["restore", "enc01", "--name", "back"];
    let run = place.typed(&restore, "nothing of the kind\n").ends(2);
    assert!(run.stdout.contains("DR Encryption"), "{}", run.stdout);
    place.assert_nothing_is_left("back");
    for answer in ["1\ny\n", "DR Encryption\ny\n"] {
        place.typed(&restore, answer).ends(0);
        assert_eq!(place.boots("back"), "original", "{answer}");
        place.destroy("back");
    }
}

#[test]
fn who_is_not_at_a_terminal_is_not_asked() {
    let Some(place) = place() else { return };
    place.run(&["backup", "tpm01"]).ends(0);
    let new_keys = ["restore", "tpm01", "--name", "back", "--vm-encryption", "new-keys"];
    place.run(&new_keys).fails(5, &["nvram,vtpm would be given up", "--accept-loss nvram,vtpm"]);
    place.assert_nothing_is_left("back");
}
