//! The guards G1 to G6 and the rows of the vTPM T1 to T4: each alone, in the words a person reads.

use super::*;
use crate::vm_home::{Binding, Firmware, SavedNvram, tests::WHOLE};

use EncryptionWish::{NewKeys, None as InTheClear, SameKeys};
use Loss::{Encryption, Nvram, Vtpm};

/// The only reason against it: what, where, and what to do; and how the run ends.
#[track_caller]
fn refusal(vm: &SavedVm, wish: &Wish, facts: &TargetFacts) -> (String, String, String, Ending) {
    let reasons = refused(decide(vm, wish, facts)).reasons;
    let [reason] = reasons.as_slice() else { panic!("{reasons:?}") };
    (reason.to_string(), reason.place(), reason.advice(vm), reason.ending())
}

fn texts(what: &str, place: &str, advice: &str, ending: Ending) -> (String, String, String, Ending) {
    (what.to_owned(), place.to_owned(), advice.to_owned(), ending)
}

#[test]
fn g1_a_bare_host_knows_no_keys() {
    let facts = TargetFacts { server: ServerKind::BareHost, ..target() };
    assert_eq!(
        refusal(&saved(WHOLE), &wish(SameKeys, &[]), &facts),
        texts(
            "encryption tasks need a vCenter; the target is a host by itself",
            "target",
            "name a vCenter with --vcenter, or --vm-encryption none --accept-loss nvram,vtpm,encryption",
            Ending::Invalid
        )
    );
    go(decide(&saved(WHOLE), &wish(InTheClear, &[Encryption, Nvram, Vtpm]), &facts));
}

#[test]
fn g2_a_vtpm_needs_efi() {
    let vm = SavedVm { firmware: Firmware::Bios, ..saved(WHOLE) };
    assert_eq!(
        refusal(&vm, &wish(SameKeys, &[]), &target()),
        texts(
            "a vTPM needs firmware efi; the saved one is bios",
            "vtpm",
            "restore it without its vTPM: --vm-encryption none --accept-loss nvram,vtpm,encryption",
            Ending::Invalid
        )
    );
    go(decide(&saved(Sample { vtpm: false, ..WHOLE }), &wish(SameKeys, &[]), &target()));
}

#[test]
fn g3_secrets_of_two_moments_are_damage() {
    let vm = SavedVm { binding: Binding::Broken { what: "the key differs".to_owned() }, ..saved(WHOLE) };
    assert_eq!(
        refusal(&vm, &wish(SameKeys, &[]), &target()),
        texts(
            "key id, encryption.bundle and NVRAM of this point are not of one moment: the key differs",
            "vm home",
            "strongroom verify, then choose another point of this VM",
            Ending::Damaged
        )
    );
}

#[test]
fn g4_name_network_rights_and_room_are_the_targets() {
    let name = saved(WHOLE).name;
    let refused_by = |facts: TargetFacts| refusal(&saved(WHOLE), &wish(SameKeys, &[]), &facts);
    assert_eq!(
        refused_by(TargetFacts { name: NameState::Taken, ..target() }),
        texts(
            &format!("there is a VM \"{name}\" already"),
            "folder",
            "--name with another name, or remove the other VM",
            Ending::Invalid
        )
    );
    assert_eq!(
        refused_by(TargetFacts { networks: Vec::new(), ..target() }),
        texts(
            "its network \"VM Network\" is not here",
            "Network adapter 1",
            "--network \"VM Network\"=NEW with a network of the target",
            Ending::Invalid
        )
    );
    let gap = PrivilegeGap {
        id: "Cryptographer.EncryptNew".to_owned(),
        object: "DC1/vm".to_owned(),
        needed_for: NeededFor::Encryption,
    };
    assert_eq!(
        refused_by(TargetFacts { missing_privileges: vec![gap], ..target() }),
        texts(
            "missing privilege Cryptographer.EncryptNew (to make an encrypted VM)",
            "DC1/vm",
            "grant it on this object",
            Ending::Failed
        )
    );
    let (what, place, advice, ending) = refused_by(TargetFacts { free_bytes: Some(1), ..target() });
    assert!(what.starts_with("1 bytes are free, ") && what.ends_with(" are needed"), "{what}");
    assert_eq!(
        (place.as_str(), advice.as_str(), ending),
        ("datastore ds-ssd", "--datastore with another one, or make room", Ending::Unavailable)
    );
}

#[test]
fn g5_the_host_must_be_able_to_encrypt() {
    let facts = |host_crypto, register_host| TargetFacts { host_crypto, register_host, ..target() };
    let vm = saved(WHOLE);
    assert_eq!(
        refusal(&vm, &wish(SameKeys, &[]), &facts(HostCrypto::Prepared, RegisterHost::Missing)),
        texts(
            "the host is not in encryption mode, and Cryptographer.RegisterHost is missing",
            "host esx1",
            "grant Cryptographer.RegisterHost, or enable encryption mode on the host",
            Ending::Failed
        )
    );
    assert_eq!(
        refusal(&vm, &wish(SameKeys, &[]), &facts(HostCrypto::PendingIncapable, RegisterHost::Granted)),
        texts(
            "the host is about to leave encryption mode (pendingIncapable)",
            "host esx1",
            "choose a cluster whose hosts are in encryption mode",
            Ending::Failed
        )
    );
}

#[test]
fn g6_a_policy_is_settled_before_anything_is_made() {
    let facts = TargetFacts { policies: Vec::new(), ..target() };
    assert_eq!(
        refusal(&saved(WHOLE), &wish(SameKeys, &[]), &facts),
        texts(
            "its storage policy \"VM Encryption Policy\" is gone, and it must be encrypted",
            "vm home",
            "make a storage policy that encrypts; this vCenter has none",
            Ending::Invalid
        )
    );
}

#[test]
fn t1_with_its_keys_and_its_nvram_a_vtpm_keeps_its_content() {
    let recovery = go(decide(&saved(WHOLE), &wish(SameKeys, &[]), &target()));
    assert_eq!((recovery.vtpm, recovery.losses.len()), (Some(VtpmRow::T1), 0));
}

#[test]
fn t2_without_its_nvram_the_content_was_lost_already() {
    let vm = SavedVm { nvram: SavedNvram::Absent { why: "404".to_owned() }, ..saved(WHOLE) };
    let recovery = go(decide(&vm, &wish(SameKeys, &[]), &target()));
    assert_eq!((recovery.vtpm, recovery.given_up.len()), (Some(VtpmRow::T2), 0));
    assert!(recovery.losses.contains(&LossLine::Vtpm));
}

#[test]
fn t3_with_new_keys_a_vtpm_is_new_and_empty() {
    let recovery = go(decide(&saved(WHOLE), &wish(NewKeys, &[Nvram, Vtpm]), &target()));
    assert_eq!(recovery.vtpm, Some(VtpmRow::T3));
    assert!(recovery.losses.contains(&LossLine::Vtpm));
}

#[test]
fn t4_in_the_clear_there_is_no_vtpm() {
    let recovery = go(decide(&saved(WHOLE), &wish(InTheClear, &[Encryption, Nvram, Vtpm]), &target()));
    assert_eq!(recovery.vtpm, Some(VtpmRow::T4));
    assert!(recovery.losses.contains(&LossLine::Vtpm));
}
