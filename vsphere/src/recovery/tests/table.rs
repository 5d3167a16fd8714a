//! Each row of the tables.

use super::*;
use crate::vm_home::{
    Binding, DiskFate, Firmware, NoConfiguration, SavedNvram,
    tests::{SIZE, WHOLE},
};

use EncryptionWish::{NewKeys, None as InTheClear, SameKeys};
use Loss::{Encryption, Nvram, Vtpm};

const CLEAR: Sample = Sample { key: false, bundle: false, vtpm: false, disk_keys: [None, None] };
const ENCRYPTED: Sample = Sample { disk_keys: [Some("77aa"), Some("88bb")], ..WHOLE };

fn endings(decision: &Decision) -> (HomeRow, Ending, Ending) {
    (decision.row(), decision.ending(), decision.plan_ending())
}

#[test]
fn d1_a_clear_vm_comes_back_as_captured() {
    for wished in [SameKeys, InTheClear] {
        let decision = decide(&saved(CLEAR), &wish(wished, &[]), &target());
        assert_eq!(endings(&decision), (HomeRow::D1, Ending::Done, Ending::Done));
        let recovery = go(decision);
        assert!(matches!(recovery.home, HomePlan::Clear));
        assert_eq!((recovery.nvram, recovery.verdict), (NvramPlan::Upload { bytes: 7 }, PlanVerdict::Unchanged));
        assert!(recovery.given_up.is_empty() && recovery.losses.is_empty());
    }
}

#[test]
fn d2_a_clear_vm_gets_no_new_keys() {
    let decision = decide(&saved(CLEAR), &wish(NewKeys, &[]), &target());
    assert_eq!(endings(&decision), (HomeRow::D2, Ending::Invalid, Ending::Refused));
    assert_eq!(refused(decision).reasons, [Reason::WasNotEncrypted]);
}

#[test]
fn d3_a_usable_key_gives_everything_back() {
    let decision = decide(&saved(WHOLE), &wish(SameKeys, &[]), &target());
    assert_eq!(endings(&decision), (HomeRow::D3, Ending::Done, Ending::Done));
    let recovery = go(decision);
    assert!(matches!(&recovery.home, HomePlan::SameKeys { encryption, standing: KeyStanding::Available }
        if *encryption.key() == key(HOME_KEY)));
    assert_eq!((recovery.nvram.clone(), recovery.vtpm), (NvramPlan::Upload { bytes: 7 }, Some(VtpmRow::T1)));
    assert_eq!(recovery.verdict, PlanVerdict::Unchanged);
    assert_eq!(recovery.lasting_verdict().word(), "unchanged_needs_key");
}

#[test]
fn d3_without_nvram_needs_no_consent_and_a_person() {
    let mut without = saved(WHOLE);
    without.nvram = SavedNvram::Absent { why: "403".to_owned() };
    let decision = decide(&without, &wish(SameKeys, &[]), &target());
    assert_eq!(endings(&decision), (HomeRow::D3, Ending::Attention, Ending::Refused));
    let recovery = go(decision);
    assert_eq!((recovery.nvram, recovery.vtpm), (NvramPlan::Generic, Some(VtpmRow::T2)));
    assert_eq!(recovery.losses, [LossLine::Nvram, LossLine::SecureBoot, LossLine::Vtpm]);
    assert_eq!(recovery.verdict.to_string(), "with losses: nvram, secure-boot, vtpm (NVRAM was not saved)");
}

#[test]
fn d4_a_key_nobody_could_ask_for_is_unknown() {
    let decision = decide(&saved(WHOLE), &wish(SameKeys, &[]), &with_home_key(KeyState::Unsure));
    assert_eq!(endings(&decision), (HomeRow::D4, Ending::Done, Ending::Refused));
    assert_eq!(go(decision).verdict.word(), "unknown");
}

#[test]
fn d5_a_lost_key_is_refused_and_new_keys_are_offered() {
    for consent in [wish(SameKeys, &[]), unbootable(wish(SameKeys, &[]))] {
        let decision = decide(&saved(WHOLE), &consent, &with_home_key(KeyState::Lost));
        assert_eq!(endings(&decision), (HomeRow::D5, Ending::Refused, Ending::Refused));
        let reasons = refused(decision).reasons;
        assert_eq!(
            reasons[0].advice(&saved(WHOLE)),
            "give the key back to kms-prod, or --vm-encryption new-keys --accept-loss nvram,vtpm"
        );
    }
}

#[test]
fn d6_and_d7_a_key_that_cannot_be_had_needs_consent_and_is_never_started() {
    for (state, row) in [(KeyState::Down, HomeRow::D6), (KeyState::None, HomeRow::D7)] {
        let decision = decide(&saved(WHOLE), &wish(SameKeys, &[]), &with_home_key(state));
        assert_eq!(endings(&decision), (row, Ending::Refused, Ending::Refused));
        let mut consent = unbootable(wish(SameKeys, &[]));
        consent.power_on = PowerOn::Yes;
        let decision = decide(&saved(WHOLE), &consent, &with_home_key(state));
        assert_eq!(endings(&decision), (row, Ending::Attention, Ending::Refused));
        let recovery = go(decision);
        assert_eq!((recovery.power, recovery.verdict.word()), (Power::Never, "not_bootable"));
        assert_eq!(recovery.nvram, NvramPlan::Upload { bytes: 7 });
    }
}

#[test]
fn d8_a_provider_that_is_not_known_here_is_refused_mapped_or_not() {
    let decision = decide(&saved(WHOLE), &wish(SameKeys, &[]), &with_home_key(KeyState::Stranger));
    assert_eq!(endings(&decision), (HomeRow::D8, Ending::Refused, Ending::Refused));
    let mut facts = with_home_key(KeyState::Stranger);
    facts.keys.insert(KmsKey::new(HOME_KEY, Some("kms-dr")), KeyState::Stranger);
    let mapped = renamed("kms-prod", "kms-dr", wish(SameKeys, &[Nvram, Vtpm]));
    assert_eq!(decide(&saved(WHOLE), &mapped, &facts).row(), HomeRow::D8);
}

#[test]
fn d9_a_renamed_provider_is_asked_again_and_needs_consent() {
    let facts = |state| {
        let mut facts = with_home_key(KeyState::Stranger);
        facts.keys.insert(KmsKey::new(HOME_KEY, Some("kms-dr")), state);
        facts
    };
    let mapped = |losses: &[Loss]| renamed("kms-prod", "kms-dr", wish(SameKeys, losses));
    for state in [KeyState::Usable, KeyState::Unsure] {
        let decision = decide(&saved(WHOLE), &mapped(&[Nvram, Vtpm]), &facts(state));
        assert_eq!(endings(&decision), (HomeRow::D9, Ending::Attention, Ending::Refused));
        let recovery = go(decision);
        assert!(matches!(&recovery.home, HomePlan::SameKeys { encryption, .. }
            if encryption.key().provider.as_deref() == Some("kms-dr")));
        assert_eq!(recovery.verdict.to_string(), "unknown: the bundle names kms-prod");
        assert_eq!(decide(&saved(WHOLE), &mapped(&[]), &facts(state)).ending(), Ending::Refused);
    }
    let row = |state| decide(&saved(WHOLE), &mapped(&[Nvram, Vtpm]), &facts(state)).row();
    assert_eq!((row(KeyState::Lost), row(KeyState::Down)), (HomeRow::D5, HomeRow::D6));
    let used = decide(&saved(WHOLE), &mapped(&[]), &target());
    assert_eq!(used.row(), HomeRow::D3, "a provider that is here needs no mapping");
    assert_eq!(go(used).notes[0], Note::MappingNotUsed { old: "kms-prod".to_owned() });
}

#[test]
fn d10_a_missing_half_is_named() {
    let rows = [
        (Sample { bundle: false, ..WHOLE }, "encryption.bundle was not saved"),
        (Sample { key: false, ..WHOLE }, "the KMS key id (config.keyId) was not saved"),
        (
            Sample { key: false, bundle: false, ..WHOLE },
            "neither the KMS key id (config.keyId) nor encryption.bundle was saved",
        ),
    ];
    for (sample, missing) in rows {
        let decision = decide(&saved(sample), &wish(SameKeys, &[]), &target());
        assert_eq!(endings(&decision), (HomeRow::D10, Ending::Refused, Ending::Refused));
        let text = refused(decision).reasons[0].to_string();
        assert!(text.contains(missing) && text.ends_with("its NVRAM is unusable, will not be uploaded"), "{text}");
    }
}

#[test]
fn d11_new_keys_give_up_nvram_and_vtpm_and_nothing_else() {
    for sample in [ENCRYPTED, Sample { bundle: false, ..ENCRYPTED }, Sample { key: false, ..ENCRYPTED }] {
        let vm = saved_with_disk_policies(sample);
        let decision = decide(&vm, &wish(NewKeys, &[Nvram, Vtpm]), &with_home_key(KeyState::Lost));
        assert_eq!(endings(&decision), (HomeRow::D11, Ending::Attention, Ending::Refused));
        let recovery = go(decision);
        assert_eq!((recovery.nvram.clone(), recovery.vtpm), (NvramPlan::NotUploaded { bytes: 7 }, Some(VtpmRow::T3)));
        assert!(recovery.disks.iter().all(|disk| (disk.row, &disk.keys) == (DiskRow::K5, &DiskKeys::New)));
        assert_eq!(recovery.verdict.word(), "with_losses");
        for wrong in [&[][..], &[Nvram], &[Nvram, Vtpm, Encryption]] {
            assert_eq!(decide(&vm, &wish(NewKeys, wrong), &target()).ending(), Ending::Refused);
        }
    }
}

#[test]
fn d12_new_keys_need_somebody_who_makes_them() {
    for provider in [ProviderState::Down { id: "kms-prod".to_owned() }, ProviderState::None] {
        let facts = TargetFacts { default_provider: provider, ..target() };
        let decision = decide(&saved(WHOLE), &wish(NewKeys, &[Nvram, Vtpm]), &facts);
        assert_eq!(endings(&decision), (HomeRow::D12, Ending::Refused, Ending::Refused));
    }
    let unsure = TargetFacts { default_provider: ProviderState::Unsure { id: "k".to_owned() }, ..target() };
    assert_eq!(decide(&saved(WHOLE), &wish(NewKeys, &[Nvram, Vtpm]), &unsure).row(), HomeRow::D11);
}

#[test]
fn d13_in_the_clear_there_is_no_key_no_policy_that_encrypts_and_no_vtpm() {
    let vm = saved_with_disk_policies(ENCRYPTED);
    let decision = decide(&vm, &wish(InTheClear, &[Encryption, Nvram, Vtpm]), &with_home_key(KeyState::None));
    assert_eq!(endings(&decision), (HomeRow::D13, Ending::Attention, Ending::Refused));
    let recovery = go(decision);
    assert_eq!((recovery.policy, recovery.vtpm), (None, Some(VtpmRow::T4)));
    assert!(recovery.disks.iter().all(|disk| (&disk.keys, &disk.policy) == (&DiskKeys::Clear, &None)));
    assert_eq!(recovery.nvram, NvramPlan::NotUploaded { bytes: 7 });
}

#[test]
fn k1_a_clear_disk_stays_clear_and_its_policy_must_not_encrypt() {
    let plan = |facts: &TargetFacts| go(decide(&saved(WHOLE), &wish(SameKeys, &[]), facts)).disks.remove(1);
    let disk = plan(&target());
    assert_eq!(
        (disk.row, &disk.keys, disk.policy.unwrap().policy.id.as_str()),
        (DiskRow::K1, &DiskKeys::Clear, "p-gold")
    );
    let mut facts = target();
    facts.policies[1].encrypts = PolicyEncrypts::Yes;
    assert_eq!(plan(&facts).policy, None);
    facts.policies[1].encrypts = PolicyEncrypts::Unknown;
    assert_eq!(plan(&facts).policy, None, "no surprise encryption");
}

#[test]
fn k2_a_disk_keeps_its_own_key() {
    let recovery = go(decide(&saved_with_disk_policies(ENCRYPTED), &wish(SameKeys, &[]), &target()));
    let keys: Vec<_> = recovery.disks.iter().map(|disk| (disk.row, disk.keys.clone())).collect();
    assert_eq!(keys, [(DiskRow::K2, DiskKeys::Own(key("77aa"))), (DiskRow::K2, DiskKeys::Own(key("88bb")))]);
}

#[test]
fn k3_a_lost_disk_key_loses_nothing_and_needs_no_consent() {
    for state in [KeyState::Lost, KeyState::Stranger] {
        let mut facts = target();
        facts.keys.insert(key("88bb"), state);
        let decision = decide(&saved_with_disk_policies(ENCRYPTED), &wish(SameKeys, &[]), &facts);
        assert_eq!(decision.ending(), Ending::Attention);
        let recovery = go(decision);
        assert_eq!((recovery.disks[1].row, &recovery.disks[1].keys), (DiskRow::K3, &DiskKeys::New));
        assert_eq!((recovery.verdict, recovery.given_up.len()), (PlanVerdict::Unchanged, 0));
        facts.default_provider = ProviderState::None;
        let reasons = refused(decide(&saved_with_disk_policies(ENCRYPTED), &wish(SameKeys, &[]), &facts)).reasons;
        assert_eq!(reasons, [Reason::DiskKeyNotToBeHad { disk: "disk1".to_owned(), key: key("88bb"), state }]);
    }
}

#[test]
fn k4_a_disk_key_that_cannot_be_had_goes_the_way_of_the_home() {
    let mut facts = target();
    facts.keys.insert(key("88bb"), KeyState::Down);
    let decision = decide(&saved_with_disk_policies(ENCRYPTED), &unbootable(wish(SameKeys, &[])), &facts);
    assert_eq!(endings(&decision), (HomeRow::D3, Ending::Refused, Ending::Refused));
    facts.keys.insert(key(HOME_KEY), KeyState::Down);
    let recovery = go(decide(&saved_with_disk_policies(ENCRYPTED), &unbootable(wish(SameKeys, &[])), &facts));
    assert_eq!((recovery.disks[1].row, &recovery.disks[1].keys), (DiskRow::K4, &DiskKeys::Own(key("88bb"))));
}

#[test]
fn k5_follows_the_wish() {
    let vm = saved_with_disk_policies(ENCRYPTED);
    let new = go(decide(&vm, &wish(NewKeys, &[Nvram, Vtpm]), &target()));
    assert_eq!((new.disks[0].row, &new.disks[0].keys), (DiskRow::K5, &DiskKeys::New));
    let none = go(decide(&vm, &wish(InTheClear, &[Nvram, Vtpm, Encryption]), &target()));
    assert_eq!((none.disks[0].row, &none.disks[0].keys), (DiskRow::K5, &DiskKeys::Clear));
}

#[test]
fn every_guard_is_reported_and_damage_comes_first() {
    let mut vm = saved(WHOLE);
    vm.firmware = Firmware::Bios;
    vm.binding = Binding::Broken { what: "x".to_owned() };
    vm.policy = None;
    let privilege =
        |id: &str, needed_for| PrivilegeGap { id: id.to_owned(), object: "folder dr".to_owned(), needed_for };
    let facts = TargetFacts {
        server: ServerKind::BareHost,
        name: NameState::Taken,
        networks: Vec::new(),
        free_bytes: Some(1),
        missing_privileges: vec![
            privilege("VirtualMachine.Inventory.Create", NeededFor::Restore),
            privilege("Cryptographer.EncryptNew", NeededFor::Encryption),
        ],
        host_crypto: HostCrypto::PendingIncapable,
        ..target()
    };
    let decision = decide(&vm, &wish(SameKeys, &[]), &facts);
    use Ending::{Damaged, Failed, Invalid, Unavailable};
    assert_eq!(decision.ending(), Damaged);
    let found: Vec<_> = refused(decision).reasons.iter().map(|reason| reason.ending()).collect();
    assert_eq!(found, [Invalid, Invalid, Damaged, Invalid, Invalid, Failed, Failed, Unavailable, Failed, Invalid]);
}

#[test]
fn a_restore_in_the_clear_asks_for_no_right_to_encrypt() {
    let facts = TargetFacts {
        server: ServerKind::BareHost,
        host_crypto: HostCrypto::PendingIncapable,
        missing_privileges: vec![PrivilegeGap {
            id: "Cryptographer.EncryptNew".to_owned(),
            object: "folder dr".to_owned(),
            needed_for: NeededFor::Encryption,
        }],
        ..target()
    };
    let mut bios = saved(WHOLE);
    bios.firmware = Firmware::Bios;
    go(decide(&bios, &wish(InTheClear, &[Encryption, Nvram, Vtpm]), &facts));
    go(decide(&saved(CLEAR), &wish(SameKeys, &[]), &facts));
}

#[test]
fn a_host_that_is_not_in_encryption_mode_needs_the_right_to_register_it() {
    let facts = |host_crypto, register_host| TargetFacts { host_crypto, register_host, ..target() };
    let ending = |facts: TargetFacts| decide(&saved(WHOLE), &wish(SameKeys, &[]), &facts).ending();
    for state in [HostCrypto::Prepared, HostCrypto::Incapable] {
        assert_eq!(ending(facts(state, RegisterHost::Granted)), Ending::Done);
        assert_eq!(ending(facts(state, RegisterHost::Missing)), Ending::Failed);
    }
    assert_eq!(ending(facts(HostCrypto::PendingIncapable, RegisterHost::Granted)), Ending::Failed);
    assert_eq!(ending(facts(HostCrypto::Safe, RegisterHost::Missing)), Ending::Done);
}

#[test]
fn a_policy_is_looked_for_by_id_then_name_then_map_then_choice() {
    let by = |facts: &TargetFacts, wish: &Wish| {
        let choice = go(decide(&saved(WHOLE), wish, facts)).policy.unwrap();
        (choice.by, choice.policy.id)
    };
    let plain = wish(SameKeys, &[]);
    assert_eq!(by(&target(), &plain), (ChosenBy::Id, "p-enc".to_owned()));
    let mut facts = target();
    facts.policies[0].id = "p-other".to_owned();
    assert_eq!(by(&facts, &plain), (ChosenBy::Name, "p-other".to_owned()));
    facts.policies[0] = policy(SAMPLE_POLICY_ID, "renamed by somebody", PolicyEncrypts::Yes);
    let mut sample = wish(SameKeys, &[]);
    sample.policy = PolicyWish::Sample;
    assert_eq!(by(&facts, &sample), (ChosenBy::Choice, SAMPLE_POLICY_ID.to_owned()));
    let mut named = wish(SameKeys, &[]);
    named.policy = PolicyWish::Named("renamed by somebody".to_owned());
    assert_eq!(by(&facts, &named), (ChosenBy::Choice, SAMPLE_POLICY_ID.to_owned()));
    named.map = MapFile::read("[policies]\n'VM Encryption Policy' = 'sample'").unwrap();
    assert_eq!(by(&facts, &named).0, ChosenBy::Map);
    let mut forced = wish(SameKeys, &[]);
    forced.map = MapFile::read("[policies]\n'*' = { use = 'DR', force = true }").unwrap();
    let mut facts = target();
    facts.policies.push(policy("p-dr", "DR", PolicyEncrypts::Yes));
    assert_eq!(by(&facts, &forced), (ChosenBy::Map, "p-dr".to_owned()));
}

#[test]
fn a_policy_that_is_gone_is_asked_for_at_a_terminal_and_refused_elsewhere() {
    let mut facts = target();
    facts.policies = vec![policy("p-dr", "DR", PolicyEncrypts::Yes), policy("p-gold", "Gold", PolicyEncrypts::No)];
    let mut vm = saved_with_disk_policies(Sample { disk_keys: [Some("77aa"), None], ..WHOLE });
    let decision = decide(&vm, &wish(SameKeys, &[]), &facts);
    assert_eq!(decision.ending(), Ending::Invalid);
    assert_eq!(refused(decision).reasons.len(), 2);
    let mut there = wish(SameKeys, &[]);
    there.operator = Operator::AtTerminal;
    let Decision::Ask(asked) = decide(&vm, &there, &facts) else { panic!() };
    let parts = vec![Part::Home, Part::Disk("disk0".to_owned())];
    assert_eq!(asked.questions, [Question::Policy { parts, choices: vec!["DR".to_owned()] }]);
    there.policy = PolicyWish::Named("DR".to_owned());
    go(decide(&vm, &there, &facts));
    there.policy = PolicyWish::Named("Gold".to_owned());
    assert!(matches!(refused(decide(&vm, &there, &facts)).reasons[0], Reason::PolicyDoesNotEncrypt { .. }));
    vm.policy = None;
    facts.policies.remove(0);
    there.policy = PolicyWish::AsSaved;
    assert!(matches!(decide(&vm, &there, &facts), Decision::Refuse(_)), "there is nothing to choose from");
}

#[test]
fn losses_are_typed_at_a_terminal_and_a_wrong_option_is_not_mended_there() {
    let mut there = wish(NewKeys, &[]);
    there.operator = Operator::AtTerminal;
    let Decision::Ask(asked) = decide(&saved(WHOLE), &there, &target()) else { panic!() };
    assert_eq!(asked.questions, [Question::Losses { given_up: BTreeSet::from([Nvram, Vtpm]) }]);
    assert_eq!(question_text(&asked.questions[0]), "this gives up nvram,vtpm for good; type nvram,vtpm to agree");
    there.consents.losses = BTreeSet::from([Nvram]);
    assert_eq!(decide(&saved(WHOLE), &there, &target()).ending(), Ending::Refused);
}

#[test]
fn what_the_disks_lack_comes_before_every_other_verdict() {
    let mut vm = saved(WHOLE);
    vm.disks[1].fate = DiskFate::Skipped { why: "independent_persistent".to_owned() };
    let recovery = go(decide(&vm, &wish(SameKeys, &[]), &target()));
    assert_eq!(
        (recovery.disks.len(), recovery.verdict.to_string().as_str()),
        (1, "incomplete: disk1 was not backed up")
    );
    vm.point = engine::Verdict::Damaged { disks: vec![("disk0".to_owned(), 2, 524_288)] };
    assert_eq!(decide(&vm, &wish(SameKeys, &[]), &target()).ending(), Ending::Refused);
    let recovery = go(decide(&vm, &wish(SameKeys, &[Loss::BadExtents]), &target()));
    assert_eq!(recovery.verdict.to_string(), "damaged: 2 ranges of disk0, 524288 bytes; run: strongroom repair");
    vm.point = engine::Verdict::Impossible;
    assert_eq!(decide(&vm, &wish(SameKeys, &[]), &target()).ending(), Ending::Damaged);
}

#[test]
fn a_point_without_a_configuration_can_be_planned_and_not_restored() {
    let mut vm = saved(WHOLE);
    vm.configuration = Err(NoConfiguration::GivenAsFile);
    let mut plan = wish(SameKeys, &[]);
    plan.purpose = Purpose::Plan;
    go(decide(&vm, &plan, &target()));
    let reasons = refused(decide(&vm, &wish(SameKeys, &[]), &target())).reasons;
    assert_eq!(
        reasons[0].to_string(),
        "no VM can be made from this point: the VM home of this point was given as a file; \
         it has no configuration that was read from a vCenter"
    );
}

#[test]
fn a_plan_of_a_vm_that_is_still_there_does_not_mind_its_name() {
    let facts = TargetFacts { name: NameState::Taken, ..target() };
    let mut plan = wish(SameKeys, &[]);
    plan.purpose = Purpose::Plan;
    assert_eq!(decide(&saved(WHOLE), &plan, &facts).plan_ending(), Ending::Done);
    assert_eq!(decide(&saved(WHOLE), &wish(SameKeys, &[]), &facts).ending(), Ending::Invalid);
}

#[test]
fn thin_disks_need_room_for_their_data_and_thick_ones_for_their_size() {
    let mut vm = saved(WHOLE);
    let facts = TargetFacts { free_bytes: Some(2000), ..target() };
    go(decide(&vm, &wish(SameKeys, &[]), &facts));
    vm.disks[0].thin = Some(false);
    let reasons = refused(decide(&vm, &wish(SameKeys, &[]), &facts)).reasons;
    assert_eq!(reasons, [Reason::TooLittleSpace { datastore: "ds-ssd".to_owned(), free: 2000, wanted: SIZE + 1000 }]);
}

#[test]
fn a_network_may_be_mapped_and_the_mapping_must_lead_somewhere() {
    let mut mapped = wish(SameKeys, &[]);
    mapped.map.networks.insert("VM Network".to_owned(), "DR Network".to_owned());
    let text = refused(decide(&saved(WHOLE), &mapped, &target())).reasons[0].to_string();
    assert_eq!(text, "its network \"VM Network\" is mapped to \"DR Network\", which is not here");
    let networks = vec![TargetNetwork { name: "DR Network".to_owned(), backing: NetworkBacking::Standard }];
    go(decide(&saved(WHOLE), &mapped, &TargetFacts { networks, ..target() }));
}

#[test]
fn evidence_of_a_key_is_judged_by_the_table() {
    use KeyState::{Down, Lost, None, Stranger, Unsure, Usable};
    let listed = ["kms-prod".to_owned()];
    let status = |available, reason| KeyAnswer::Status { available, reason };
    let rows = [
        (&listed[..], Some(true), status(Some(true), Option::None), Usable),
        (&listed, Option::None, status(Some(true), Option::None), Usable),
        (&listed, Some(true), KeyAnswer::None, Unsure),
        (&listed, Option::None, KeyAnswer::None, Unsure),
        (&listed, Some(true), status(Some(false), Some("KeyStateMissingInCache")), Unsure),
        (&listed, Some(true), status(Some(false), Some("KeyStateManagedByTrustAuthority")), Unsure),
        (&listed, Some(true), status(Some(false), Some("keyStateMissingInKMS")), Lost),
        (&listed, Some(true), status(Some(false), Some("KeyStateNotActiveOrEnabled")), Lost),
        (&listed, Some(true), status(Some(false), Option::None), Lost),
        (&listed, Option::None, status(Some(false), Option::None), Unsure),
        (&listed, Some(false), KeyAnswer::None, Down),
        (&listed, Some(false), status(Some(false), Some("KeyStateMissingInKMS")), Down),
        (&listed, Some(true), status(Some(false), Some("KeyStateClusterUnreachable")), Down),
        (&listed, Some(true), status(Some(false), Some("KeyStateClusterInvalid")), Stranger),
        (&[], Option::None, KeyAnswer::None, None),
    ];
    for (listed, active, answer, state) in rows {
        assert_eq!(KeyState::judge(&key("1"), listed, active, answer), state, "{active:?} {answer:?}");
    }
    assert_eq!(KeyState::judge(&KmsKey::new("1", Some("other")), &listed, Some(true), KeyAnswer::None), Stranger);
}

#[test]
fn every_key_is_asked_for_under_both_of_its_names() {
    let mapped = renamed("kms-prod", "kms-dr", wish(SameKeys, &[]));
    let keys = keys_to_ask(&saved_with_disk_policies(Sample { disk_keys: [Some("77aa"), None], ..WHOLE }), &mapped);
    let names: Vec<_> = keys.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["kms-prod/0b1f6f0ac41b", "kms-dr/0b1f6f0ac41b", "kms-prod/77aa", "kms-dr/77aa"]);
}
