//! What a storage host can check that holds no key: names, checksums, copies, and the chain of the log. What is missing
//! altogether it cannot see.

use std::{
    ops::ControlFlow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use repo_format::{CheckpointPart, Digest, ENTRY_BYTES_MAX, EntryHeader, PART_BYTES_MAX, PackName, RepositoryId};

use super::{
    VerifyError, VerifyReport, objects,
    read_data::{Flaws, check_public_parts, thread_count},
};
use crate::{
    aligned::read_range,
    monitor::{Event, Monitor, Step},
    problem::Problem,
    store::{Listed, Name, NameKind, Prefix, Reaction, Store, StoreError},
};

/// The longest pack that a config can ask for.
const PACK_BYTES_MAX: u64 = 1 << 28;

/// Checks everything in `store` that a public hash covers.
pub fn verify_without_key(
    store: &dyn Store,
    threads: usize,
    monitor: &dyn Monitor,
) -> Result<VerifyReport, VerifyError> {
    let config = objects::check_config(store)?;
    let mut problems = config.problems;
    let slots = list(store, Prefix::Keys)?;
    let packs = list(store, Prefix::Packs)?;
    if config.good.is_none() && problems.iter().all(|problem| problem.what == "is missing") && packs.is_empty() {
        return Err(VerifyError::NoRepository { place: store.describe(), what: "it has no config".to_owned() });
    }
    let mut slot_ids: Vec<_> = slots.iter().filter_map(|listed| slot_of(&listed.name)).collect();
    slot_ids.sort_unstable();
    slot_ids.dedup();
    for slot in slot_ids {
        problems.extend(objects::check_slot(
            store,
            slot,
            config.good.as_ref().map(|(repository, _)| repository),
            None,
        )?);
    }
    match config.good {
        Some((repository, digest)) => {
            problems.extend(check_log(store, &repository, digest)?);
            problems.extend(check_checkpoint_parts(store, &repository)?);
        }
        None => problems.push(Problem::new("log", "cannot be checked: neither copy of the config can be read")),
    }
    let packs: Vec<(PackName, u64)> =
        packs.iter().filter_map(|listed| Some((pack_of(&listed.name)?, listed.bytes))).collect();
    let bytes_read = packs.iter().map(|(_, bytes)| bytes).sum();
    monitor.event(&Event::Phase { name: "read packs", total_bytes: bytes_read });
    problems.extend(check_packs(store, &packs, threads, monitor)?);
    let packs_total = packs.len() as u64;
    Ok(VerifyReport { problems, packs_checked: packs_total, packs_total, bytes_read, ..VerifyReport::default() })
}

fn list(store: &dyn Store, prefix: Prefix) -> Result<Vec<Listed>, StoreError> {
    let mut found = Vec::new();
    store.list(prefix, &mut |listed| {
        found.push(listed);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn slot_of(name: &Name) -> Option<repo_format::SlotId> {
    match name.kind() {
        NameKind::Slot(slot, _) => Some(slot),
        _ => None,
    }
}

fn pack_of(name: &Name) -> Option<PackName> {
    match name.kind() {
        NameKind::Pack(pack) => Some(pack),
        _ => None,
    }
}

/// Follows the log from its first entry: each must name the one before.
fn check_log(store: &dyn Store, repository: &RepositoryId, config: Digest) -> Result<Vec<Problem>, StoreError> {
    let mut problems = Vec::new();
    let number_of = |listed: Listed| match listed.name.kind() {
        NameKind::Log(number) => Some(number),
        _ => None,
    };
    let newest = list(store, Prefix::Log)?.into_iter().filter_map(number_of).max().unwrap_or(0);
    // What the next entry must name: unknown after one that cannot be read.
    let mut previous = Some(config);
    let mut number = 1;
    loop {
        let name = Name::log(number);
        let object = format!("log entry {number}");
        let found = match store.get(&name, ENTRY_BYTES_MAX as u64) {
            Err(error) if error.reaction == Reaction::Damaged => {
                problems.push(Problem::new(object, error));
                (previous, number) = (None, number + 1);
                continue;
            }
            found => found?,
        };
        match found {
            // A listing may be stale, a read is not: go on until neither knows of more.
            None if number > newest => break,
            None => {
                problems.push(Problem::new(object, "is missing; there are later ones"));
                previous = None;
            }
            Some(bytes) => match EntryHeader::check_public(&bytes, repository) {
                Err(error) => {
                    problems.push(Problem::new(object, error));
                    previous = None;
                }
                Ok(header) => {
                    if header.number != number {
                        problems.push(Problem::new(&object, format_args!("says that it is entry {}", header.number)));
                    }
                    if previous.is_some_and(|previous| previous != header.previous) {
                        problems.push(Problem::new(&object, "does not continue the entry before it"));
                    }
                    previous = Some(Digest::of(&bytes));
                }
            },
        }
        number += 1;
    }
    if number == 1 {
        problems.push(Problem::new("log", "has no entry"));
    }
    Ok(problems)
}

/// Names, form, and the chain within each part. Which of them belong together only the log says.
fn check_checkpoint_parts(store: &dyn Store, repository: &RepositoryId) -> Result<Vec<Problem>, StoreError> {
    let mut problems = Vec::new();
    for listed in list(store, Prefix::CheckpointParts)? {
        let NameKind::CheckpointPart(name) = listed.name.kind() else { continue };
        let bytes = match store.get(&listed.name, PART_BYTES_MAX as u64) {
            // Taken away since it was listed.
            Ok(None) => continue,
            Ok(Some(bytes)) => bytes,
            Err(error) if error.reaction == Reaction::Damaged => {
                problems.push(Problem::new(format_args!("checkpoint part {name}"), error));
                continue;
            }
            Err(error) => return Err(error),
        };
        let checked =
            CheckpointPart::decode(&bytes, &name, repository).and_then(|part| part.check_chain(None, repository));
        problems.extend(checked.err().map(|error| Problem::new(format_args!("checkpoint part {name}"), error)));
    }
    Ok(problems)
}

fn check_packs(
    store: &dyn Store,
    packs: &[(PackName, u64)],
    threads: usize,
    monitor: &dyn Monitor,
) -> Result<Vec<Problem>, VerifyError> {
    let longest = packs.iter().map(|(_, bytes)| *bytes).filter(|bytes| *bytes <= PACK_BYTES_MAX).max().unwrap_or(0);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (problems, error) = (Mutex::new(Vec::new()), Mutex::new(None));
    let work = || -> Result<(), VerifyError> {
        let mut buffer = Vec::new();
        while let Some((number, (name, bytes))) = {
            let number = next.fetch_add(1, Ordering::Relaxed);
            packs.get(number).map(|pack| (number, pack))
        } {
            if monitor.interrupted() {
                return Err(VerifyError::Interrupted);
            }
            if stop.load(Ordering::Acquire) {
                break;
            }
            if let Some(what) = check_pack(store, *name, *bytes, &mut buffer)? {
                let problem = Problem::new(format_args!("pack {name}"), what);
                problems.lock().unwrap_or_else(PoisonError::into_inner).push((number, problem));
            }
            monitor.advance(Step { done_bytes: *bytes, new_bytes: 0 });
        }
        Ok(())
    };
    thread::scope(|scope| {
        for _ in 0..thread_count(threads, longest).min(packs.len().max(1)) {
            scope.spawn(|| {
                if let Err(failed) = work() {
                    error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failed);
                    stop.store(true, Ordering::Release);
                }
            });
        }
    });
    if let Some(error) = error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut problems = problems.into_inner().unwrap_or_else(PoisonError::into_inner);
    problems.sort_by_key(|(number, _)| *number);
    Ok(problems.into_iter().map(|(_, problem)| problem).collect())
}

fn check_pack(
    store: &dyn Store,
    name: PackName,
    bytes: u64,
    buffer: &mut Vec<u8>,
) -> Result<Option<String>, StoreError> {
    if bytes > PACK_BYTES_MAX {
        return Ok(Some(format!("has {bytes} bytes, a pack at most {PACK_BYTES_MAX}")));
    }
    let pack = match read_range(store, &Name::pack(name), 0..bytes, buffer) {
        Ok(pack) => pack,
        Err(error) if matches!(error.reaction, Reaction::Absent | Reaction::Damaged) => {
            return Ok(Some(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    let mut flaws = Flaws::default();
    check_public_parts(name, pack, &mut flaws);
    Ok(flaws.into_text())
}
