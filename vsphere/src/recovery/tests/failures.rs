//! The texts of the failure cases, as far as they are decided and not met.

use super::*;
use crate::vm_home::{Binding, SavedNvram, tests::WHOLE};

use EncryptionWish::{NewKeys, SameKeys};
use Loss::{Nvram, Vtpm};

const TIME: &str = "2026-11-18 01:30";

fn named(sample: Sample) -> SavedVm {
    SavedVm { name: "win11-07".to_owned(), ..saved_with_disk_policies(sample) }
}

fn lines(vm: &SavedVm, wish: &Wish, facts: &TargetFacts) -> String {
    decision_lines(vm, &decide(vm, wish, facts), facts, TIME).join("\n")
}

fn told(vm: &SavedVm, wish: &Wish, facts: &TargetFacts) -> Vec<String> {
    lines(vm, wish, facts).lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_plan_reads_as_in_the_manual() {
    assert_eq!(
        lines(&named(WHOLE), &wish(SameKeys, &[]), &target()),
        r#"plan: win11-07 @ 2026-11-18 01:30 -> vc2 DC1/Cluster1/ds-ssd as "win11-07"
  keys      same: kms-prod/0b1f.. (available)
  policy    "VM Encryption Policy" (by id)
  nvram     will be uploaded (7 bytes)
  vtpm      kept, content kept
  firmware  efi, Secure Boot on
  disk0     80 GiB, clear (was clear)
  disk1     80 GiB, clear (was clear), policy "Gold" (by id)
  note      USB xHCI controller: not made again; add it in vSphere if it is needed
  note      CD/DVD drive 1: not made again; add it in vSphere if it is needed
  restores: unchanged"#
    );
}

#[test]
fn f1_without_key_server_access_it_is_said_before_anything_is_written() {
    let vm = named(Sample { disk_keys: [Some("77aa"), None], ..WHOLE });
    let mut facts = with_home_key(KeyState::Down);
    facts.keys.insert(key("77aa"), KeyState::Down);
    assert_eq!(
        lines(&vm, &wish(SameKeys, &[]), &facts),
        "error: the VM will be created but will not power on: key provider kms-prod is not reachable (key 0b1f6f0ac41b)
where: win11-07 vm home
try:   make kms-prod reachable, or --allow-unbootable, or --vm-encryption new-keys --accept-loss nvram,vtpm
nothing was changed"
    );
    let told = told(&vm, &unbootable(wish(SameKeys, &[])), &facts);
    assert!(told.contains(&"keys      same: kms-prod/0b1f.. (not available: kms-prod is not reachable)".to_owned()));
    assert!(
        told.contains(
            &"note      when kms-prod can give key 0b1f6f0ac41b, then power on, nothing else to do".to_owned()
        )
    );
    assert_eq!(
        told.last().unwrap(),
        "restores: not bootable here: this vCenter cannot get key 0b1f6f0ac41b from kms-prod; the data is whole"
    );
}

#[test]
fn f2_a_missing_half_names_itself_and_new_keys_say_what_they_cost() {
    let vm = named(Sample { bundle: false, ..WHOLE });
    assert_eq!(
        lines(&vm, &wish(SameKeys, &[]), &target()),
        "error: its original keys cannot be used: encryption.bundle was not saved (key 0b1f6f0ac41b); its NVRAM is unusable, will not be uploaded
where: win11-07 vm home
try:   --vm-encryption new-keys --accept-loss nvram,vtpm
nothing was changed"
    );
    let told = told(&vm, &wish(NewKeys, &[Nvram, Vtpm]), &target());
    for line in [
        "keys      new: made by kms-prod, was kms-prod/0b1f..",
        "nvram     unusable, will not be uploaded (7 bytes)",
        "vtpm      new and empty",
        "loss      nvram: not restored; vSphere makes a generic one",
        "loss      secure-boot: it and the boot disk entry may have to be set up again",
        "loss      vtpm: content lost; have the BitLocker and other recovery keys ready",
        "loss      vm home: new key, was kms-prod/0b1f..",
        "restores: with losses: nvram, secure-boot, vtpm, vm-home (encryption.bundle was not saved)",
    ] {
        assert!(told.iter().any(|told| told == line), "{line}\n{told:#?}");
    }
}

#[test]
fn f3_damaged_nvram_is_named_and_the_same_keys_go_on() {
    let vm = named(WHOLE).with_damaged_nvram("pack 5f3a: frame 12 does not open");
    let decision = decide(&vm, &wish(SameKeys, &[]), &target());
    assert_eq!((decision.row(), decision.ending()), (HomeRow::D3, Ending::Attention));
    let told = told(&vm, &wish(SameKeys, &[]), &target());
    let note =
        "note      NVRAM was saved, but cannot be read: pack 5f3a: frame 12 does not open; run: strongroom verify";
    assert!(told.contains(&note.to_owned()), "{told:#?}");
    assert_eq!(told.last().unwrap(), "restores: with losses: nvram, secure-boot, vtpm (NVRAM is damaged)");
}

#[test]
fn f4_a_lost_key_is_one_message_and_no_plan() {
    assert_eq!(
        lines(&named(WHOLE), &wish(SameKeys, &[]), &with_home_key(KeyState::Lost)),
        "error: key 0b1f6f0ac41b is lost: key provider kms-prod does not have it
where: win11-07 vm home
try:   give the key back to kms-prod, or --vm-encryption new-keys --accept-loss nvram,vtpm
nothing was changed"
    );
}

#[test]
fn f5_a_policy_that_is_gone_lists_those_that_encrypt() {
    let mut facts = target();
    facts.policies[0] = policy("p-dr", "DR Encryption", PolicyEncrypts::Yes);
    assert_eq!(
        lines(&named(WHOLE), &wish(SameKeys, &[]), &facts),
        "error: its storage policy \"VM Encryption Policy\" is gone, and it must be encrypted
where: win11-07 vm home
try:   --storage-policy with one of \"DR Encryption\"
nothing was changed"
    );
}

#[test]
fn f6_a_provider_of_another_name_names_both_and_a_mapping_warns() {
    let facts = TargetFacts { providers: BTreeSet::from(["kms-dr".to_owned()]), ..with_home_key(KeyState::Stranger) };
    assert_eq!(
        lines(&named(WHOLE), &wish(SameKeys, &[]), &facts),
        "error: key 0b1f6f0ac41b is of key provider kms-prod, which this vCenter does not know; it knows kms-dr
where: win11-07 vm home
try:   set the same key server up here under the same name kms-prod, or --key-provider kms-prod=NEW if it is here under another, or --vm-encryption new-keys --accept-loss nvram,vtpm
nothing was changed"
    );
    let mut facts = facts;
    facts.keys.insert(KmsKey::new(HOME_KEY, Some("kms-dr")), KeyState::Usable);
    let told = told(&named(WHOLE), &renamed("kms-prod", "kms-dr", wish(SameKeys, &[Nvram, Vtpm])), &facts);
    let note = "note      the key is asked for from kms-dr, but the bundle names kms-prod; VMware asks for the same cluster name";
    assert!(told.contains(&note.to_owned()), "{told:#?}");
}

#[test]
fn f10_an_encrypted_home_with_clear_disks_keeps_them_clear() {
    let recovery = go(decide(&named(WHOLE), &wish(SameKeys, &[]), &target()));
    assert!(recovery.home.encrypts() && recovery.disks.iter().all(|disk| disk.row == DiskRow::K1));
}

#[test]
fn f11_secrets_of_two_moments_are_refused_as_damage() {
    let mut vm = named(WHOLE);
    vm.binding = Binding::Broken { what: "the key of its record is not that of its configuration".to_owned() };
    let decision = decide(&vm, &wish(SameKeys, &[]), &target());
    assert_eq!(decision.ending(), Ending::Damaged);
    let told = told(&vm, &wish(SameKeys, &[]), &target());
    assert!(told.iter().any(|line| {
        line.starts_with("error: key id, encryption.bundle and NVRAM of this point are not of one moment")
    }));
}

#[test]
fn advice_asks_for_exactly_the_consent_that_is_needed() {
    let mut vm = named(Sample { vtpm: false, disk_keys: [Some("77aa"), None], ..WHOLE });
    vm.nvram = SavedNvram::NeverStarted;
    let reasons = refused(decide(&vm, &wish(SameKeys, &[]), &with_home_key(KeyState::Lost))).reasons;
    assert_eq!(reasons[0].advice(&vm), "give the key back to kms-prod, or --vm-encryption new-keys");
    go(decide(&vm, &wish(NewKeys, &[]), &target()));
    let told = told(&named(WHOLE), &wish(NewKeys, &[Nvram]), &target());
    assert!(told.contains(&"error: nvram,vtpm would be given up, but nvram was accepted".to_owned()), "{told:#?}");
    assert!(told.contains(&"try:   --accept-loss nvram,vtpm".to_owned()));
}

#[test]
fn a_loss_is_read_by_its_word_or_refused_with_the_words_there_are() {
    for loss in Loss::ALL {
        assert_eq!(loss.word().parse(), Ok(loss));
    }
    assert_eq!(
        "tpm".parse::<Loss>().unwrap_err(),
        "\"tpm\" is no loss; there are nvram, vtpm, encryption, bad-extents"
    );
}
