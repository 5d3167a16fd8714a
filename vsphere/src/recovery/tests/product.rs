//! The whole product of what can come together: total, one row each, consent for exactly what is given up.

use super::*;
use crate::vm_home::{Firmware, SavedEncryption, SavedNvram};

const H: [&str; 5] = ["clear", "whole", "key only", "bundle only", "bare"];
const Q: [KeyState; 6] =
    [KeyState::Usable, KeyState::Unsure, KeyState::Lost, KeyState::Down, KeyState::Stranger, KeyState::None];
const WISHES: [EncryptionWish; 3] = [EncryptionWish::SameKeys, EncryptionWish::NewKeys, EncryptionWish::None];

fn sample(h: &str, vtpm: bool) -> Sample {
    let (key, bundle) = match h {
        "whole" => (true, true),
        "key only" => (true, false),
        "bundle only" => (false, true),
        _ => (false, false),
    };
    let disk = (h != "clear").then_some("77aa");
    Sample { key, bundle, vtpm: vtpm && h != "clear", disk_keys: [disk, None] }
}

fn nvrams() -> [SavedNvram; 4] {
    [
        SavedNvram::Saved { bytes: 7 },
        SavedNvram::NeverStarted,
        SavedNvram::Absent { why: "403".to_owned() },
        SavedNvram::Damaged { what: "pack 5f3a".to_owned() },
    ]
}

/// The row that the design's table gives, written a second time, by hand, as conditions of its columns.
fn row_of_the_table(h: &str, q: KeyState, mapped: Option<KeyState>, wish: EncryptionWish, maker: bool) -> Vec<HomeRow> {
    use EncryptionWish::{NewKeys, None as InTheClear, SameKeys};
    let (clear, whole) = (h == "clear", h == "whole");
    let last = match (q, mapped) {
        (KeyState::Stranger, Some(again)) => again,
        _ => q,
    };
    let renamed = q == KeyState::Stranger && mapped.is_some();
    let same = whole && wish == SameKeys;
    let rows = [
        (HomeRow::D1, clear && wish != NewKeys),
        (HomeRow::D2, clear && wish == NewKeys),
        (HomeRow::D3, same && q == KeyState::Usable),
        (HomeRow::D4, same && q == KeyState::Unsure),
        (HomeRow::D5, same && last == KeyState::Lost),
        (HomeRow::D6, same && last == KeyState::Down),
        (HomeRow::D7, same && last == KeyState::None),
        (HomeRow::D8, same && last == KeyState::Stranger),
        (HomeRow::D9, same && renamed && matches!(last, KeyState::Usable | KeyState::Unsure)),
        (HomeRow::D10, !clear && !whole && wish == SameKeys),
        (HomeRow::D11, !clear && wish == NewKeys && maker),
        (HomeRow::D12, !clear && wish == NewKeys && !maker),
        (HomeRow::D13, !clear && wish == InTheClear),
    ];
    rows.into_iter().filter_map(|(row, fits)| fits.then_some(row)).collect()
}

#[test]
fn every_combination_has_exactly_one_row_and_needs_exactly_its_consent() {
    let every_consent: Vec<Vec<Loss>> = (0..8_u8)
        .map(|bits| {
            let all = [Loss::Nvram, Loss::Vtpm, Loss::Encryption].into_iter().enumerate();
            all.filter_map(|(bit, loss)| (bits >> bit & 1 == 1).then_some(loss)).collect()
        })
        .collect();
    let mut seen = BTreeSet::new();
    let mut combinations = 0;
    for (h, vtpm) in H.into_iter().flat_map(|h| [(h, false), (h, true)]) {
        for (nvram, firmware) in
            nvrams().into_iter().flat_map(|nvram| [(nvram.clone(), Firmware::Efi), (nvram, Firmware::Bios)])
        {
            let mut vm = saved_with_disk_policies(sample(h, vtpm));
            (vm.nvram, vm.firmware) = (nvram, firmware);
            for (q, mapped) in Q
                .into_iter()
                .flat_map(|q| std::iter::once((q, None)).chain(Q.into_iter().map(move |again| (q, Some(again)))))
            {
                let mut facts = with_home_key(q);
                facts.keys.insert(key("77aa"), KeyState::Usable);
                facts.keys.extend(mapped.map(|again| (KmsKey::new(HOME_KEY, Some("kms-dr")), again)));
                for (maker, encryption, allowed) in WISHES.into_iter().flat_map(|wish| {
                    [(true, wish, false), (true, wish, true), (false, wish, false), (false, wish, true)]
                }) {
                    facts.default_provider = match maker {
                        true => ProviderState::Active { id: "kms-prod".to_owned() },
                        false => ProviderState::None,
                    };
                    let mut agreed_to = Vec::new();
                    for consent in &every_consent {
                        let mut wish = wish(encryption, consent);
                        if allowed {
                            wish = unbootable(wish);
                        }
                        if mapped.is_some() {
                            wish = renamed("kms-prod", "kms-dr", wish);
                        }
                        let decision = decide(&vm, &wish, &facts);
                        combinations += 1;
                        let rows = row_of_the_table(h, q, mapped, encryption, maker);
                        assert_eq!(rows, [decision.row()], "{h} {q:?} {mapped:?} {encryption:?}");
                        seen.insert(decision.row());
                        check(&vm, &decision);
                        if let Decision::Go(recovery) = decision {
                            assert_eq!(recovery.given_up, wish.consents.losses);
                            agreed_to.push(recovery);
                        }
                    }
                    assert!(agreed_to.len() <= 1, "one consent fits, not several");
                    let row = row_of_the_table(h, q, mapped, encryption, maker)[0];
                    let bios_vtpm =
                        vtpm && h != "clear" && vm.firmware != Firmware::Efi && encryption != EncryptionWish::None;
                    let possible = match row {
                        HomeRow::D2 | HomeRow::D5 | HomeRow::D8 | HomeRow::D10 | HomeRow::D12 => false,
                        HomeRow::D6 | HomeRow::D7 => allowed,
                        _ => true,
                    };
                    assert_eq!(agreed_to.len() == 1, possible && !bios_vtpm, "{h} {row} {encryption:?} {mapped:?}");
                }
            }
        }
    }
    assert_eq!((seen.len(), combinations), (13, 5 * 2 * 4 * 2 * 42 * 12 * 8));
}

/// What must hold of every decision.
fn check(vm: &SavedVm, decision: &Decision) {
    if let Decision::Refuse(refused) = decision {
        assert!(!refused.reasons.is_empty());
        assert!(!matches!(decision.ending(), Ending::Done | Ending::Attention));
        return;
    }
    let recovery = decision.plan().unwrap();
    let same = matches!(recovery.home, HomePlan::SameKeys { .. });
    let clear = vm.encryption.is_clear();
    assert_eq!(
        same,
        !clear && matches!(recovery.row, HomeRow::D3 | HomeRow::D4 | HomeRow::D6 | HomeRow::D7 | HomeRow::D9)
    );
    assert!(!same || matches!(vm.encryption, SavedEncryption::Whole(_)), "same keys without both halves");
    let uploads = matches!(recovery.nvram, NvramPlan::Upload { .. });
    assert_eq!(uploads, vm.holds_nvram() && (same || clear), "an NVRAM goes up with its own keys, or never");
    assert_eq!(
        recovery.home.encrypts(),
        recovery.policy.as_ref().is_some_and(|choice| choice.policy.encrypts == PolicyEncrypts::Yes)
    );
    for disk in &recovery.disks {
        let encrypts = disk.policy.as_ref().is_some_and(|choice| choice.policy.encrypts == PolicyEncrypts::Yes);
        assert_eq!(encrypts, disk.keys != DiskKeys::Clear, "a policy encrypts what has a key, and nothing else");
    }
    let vtpm = match (recovery.row, vm.vtpm.is_some()) {
        (_, false) => None,
        (HomeRow::D11, true) => Some(VtpmRow::T3),
        (HomeRow::D13, true) => Some(VtpmRow::T4),
        (_, true) if vm.holds_nvram() => Some(VtpmRow::T1),
        (_, true) => Some(VtpmRow::T2),
    };
    assert_eq!(recovery.vtpm, vtpm);
    let has = |loss: &LossLine| recovery.losses.contains(loss);
    assert_eq!(has(&LossLine::SecureBoot), has(&LossLine::Nvram) && vm.firmware == Firmware::Efi);
    if recovery.verdict == PlanVerdict::Unchanged {
        assert!(uploads || vm.nvram == SavedNvram::NeverStarted, "unchanged without its NVRAM");
        assert!(recovery.given_up.is_empty());
    }
    let never = matches!(recovery.row, HomeRow::D6 | HomeRow::D7);
    assert_eq!((recovery.power == Power::Never, recovery.verdict.word() == "not_bootable"), (never, never));
    let waiting = decision.ending() == Ending::Done;
    assert!(!waiting || (recovery.losses.is_empty() && recovery.given_up.is_empty()));
}
