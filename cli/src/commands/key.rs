//! `strongroom key`: who can open the repository.

use engine::{SlotInfo, Writer, add_slot, change_secret, random, remove_slot, slots};
use repo_format::{KdfCost, RecoveryKey, SlotId, SlotSecret};

use super::{
    Done, check_absent,
    init::{hand_over, kdf_cost},
    warning,
};
use crate::{
    args::{GlobalArgs, KeyCommand},
    exit::Exit,
    failure::Failure,
    opening::{self, AsReader, Opened},
    output::{KeyResult, SlotLine},
    secrets::{self, Secret},
    terminal, units,
};

/// Shows or changes the key slots.
pub fn run(global: &GlobalArgs, command: &KeyCommand) -> Result<Done, Failure> {
    match command {
        KeyCommand::List => done(opening::reader(global)?, "list", None),
        KeyCommand::Add(args) => {
            let cost = kdf_cost(args.kdf_memory)?;
            let mut opened = opening::writer(global)?;
            let new = secrets::read_new(args.new_password_file.as_deref(), args.new_key_file.as_deref())?;
            let secret = warned(&mut opened, new);
            let added = add_slot(&mut opened.handle, &secret, &args.label, cost);
            added.map_err(|error| Failure::of(&error, error.kind(), &opened.place))?;
            done(opened, "add", None)
        }
        KeyCommand::Change(args) => {
            let cost = kdf_cost(args.kdf_memory)?;
            let mut opened = opening::writer(global)?;
            let new = secrets::read_new(args.new_password_file.as_deref(), None)?;
            let secret = warned(&mut opened, new);
            let changed = change_secret(&mut opened.handle, &secret, cost);
            changed.map_err(|error| Failure::of(&error, error.kind(), &opened.place))?;
            done(opened, "change", None)
        }
        KeyCommand::Remove(args) => {
            let mut opened = opening::writer(global)?;
            let slot = chosen(&opened, &args.slot)?;
            terminal::consent(global.yes, &format!("key slot {slot} will open nothing any more: go on?"))?;
            let removed = remove_slot(&mut opened.handle, slot);
            removed.map_err(|error| Failure::of(&error, error.kind(), &opened.place))?;
            done(opened, "remove", None)
        }
        KeyCommand::Recovery(args) => {
            let file = args.out.as_deref();
            match file {
                Some(path) => check_absent(path, "--out")?,
                None if terminal::can_ask() => {}
                None => return Err(Failure::invalid("nobody is there to be shown the recovery key", "--out FILE")),
            }
            let mut opened = opening::writer(global)?;
            let key = RecoveryKey::from_random(random(opened.handle.environment().entropy.as_ref()));
            hand_over(&key.to_text(), file, "--out")?;
            let secret = SlotSecret::RecoveryKey(key);
            let added = add_slot(&mut opened.handle, &secret, "recovery", KdfCost::default());
            added.map_err(|error| {
                if let Some(path) = file {
                    // It opens nothing.
                    let _ = std::fs::remove_file(path);
                }
                Failure::of(&error, error.kind(), &opened.place)
            })?;
            done(opened, "recovery", file.map(|path| path.display().to_string()))
        }
    }
}

/// The secret; its warnings join those of the run.
fn warned(opened: &mut Opened<Writer>, new: Secret) -> SlotSecret {
    opened.warnings.extend(new.warnings.into_iter().map(|text| warning("secret", text)));
    new.secret
}

fn listed<H: AsReader>(opened: &Opened<H>) -> Result<Vec<SlotInfo>, Failure> {
    slots(opened.handle.reader()).map_err(|error| Failure::of(&error, error.kind(), &opened.place))
}

/// The slot with this label, or whose id begins so.
fn chosen(opened: &Opened<Writer>, typed: &str) -> Result<SlotId, Failure> {
    let slots = listed(opened)?;
    let fits = |slot: &&SlotInfo| {
        slot.label == typed || (typed.len() >= 4 && slot.slot.to_string().starts_with(&typed.to_ascii_lowercase()))
    };
    let fitting: Vec<&SlotInfo> = slots.iter().filter(fits).collect();
    match fitting.as_slice() {
        [only] => Ok(only.slot),
        [] => {
            let what = format!("there is no key slot {typed:?}");
            Err(Failure::new(Exit::Missing, what, &opened.place, "strongroom key list"))
        }
        several => {
            let ids: Vec<String> = several.iter().map(|slot| slot.slot.to_string()).collect();
            let what = format!("{typed:?} fits more than one key slot: {}", ids.join(", "));
            Err(Failure::new(Exit::Invalid, what, &opened.place, "write more of the id"))
        }
    }
}

fn done<H: AsReader>(opened: Opened<H>, action: &str, recovery_key_file: Option<String>) -> Result<Done, Failure> {
    let current = opened.handle.reader().slot();
    let line = |slot: &SlotInfo| SlotLine {
        id: slot.slot.to_string(),
        kind: slot.kind.map(|kind| kind.name().to_owned()),
        label: Some(slot.label.clone()).filter(|label| !label.is_empty()),
        created: slot.kind.map(|_| units::utc(slot.created_ms)),
        last_used: slot.last_used_ms.map(units::utc),
        current: slot.slot == current,
    };
    let slots = listed(&opened)?.iter().map(line).collect();
    let result = KeyResult { action: action.to_owned(), slots, recovery_key_file };
    let repository = opened.line();
    Ok(Done::with(result).in_repository(repository).with_warnings(opened.warnings))
}
