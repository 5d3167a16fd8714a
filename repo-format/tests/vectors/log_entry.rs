use std::fmt::Display;

use repo_format::{Class, Commit, FormatError, LogEntry, NewPack, Open, Record, VerifiedHow};

use crate::vector::{Outputs, Vector, outputs};

pub fn decode(vector: &Vector) -> Result<Outputs, FormatError> {
    let entry = LogEntry::open(&vector.hex("input"), &vector.keyring())?;
    let mut found = outputs([
        ("epoch", entry.header.epoch.to_string()),
        ("number", entry.header.number.to_string()),
        ("previous", entry.header.previous.to_string()),
        ("checkpoint", entry.header.checkpoint.to_string()),
        ("attempt", entry.header.attempt.to_string()),
        ("time", entry.time_ms.to_string()),
        ("records", entry.records.len().to_string()),
    ]);
    for (index, record) in entry.records.iter().enumerate() {
        found.insert(format!("record.{index}"), shown(record));
    }
    Ok(found)
}

/// The kind, the fields a record always has, and ` name=value` for others that are there.
fn shown(record: &Record) -> String {
    match record {
        Record::Open(open) => shown_open(open),
        Record::Commit(commit) => shown_commit(commit),
        Record::Close { session } => format!("close {session}"),
        Record::KeyChange(change) => {
            let added = change.added.iter().map(|added| format!("{}:{}", added.slot, added.digest));
            format!(
                "key_change added={} revoked={}{}",
                joined(added),
                joined(&change.revoked),
                option("epoch", change.new_epoch)
            )
        }
        Record::Pin(pin) => format!("pin {} {}", pin.session, pin.point),
        Record::Moved(moved) => {
            let (new, from) = (moved.new_packs.iter().map(pack), moved.from.iter().map(|pack| pack.0));
            format!("moved {} new={} from={}", moved.session, joined(new), joined(from))
        }
        Record::Forget(forget) => {
            format!("forget {}{}", joined(&forget.points), option("reason", forget.reason.as_ref()))
        }
        Record::Condemn(condemn) => format!("condemn {}", joined(condemn.packs.iter().map(|pack| pack.0))),
        Record::Delete(delete) => {
            let orphans = delete.orphans.iter().map(|orphan| format!("{}:{}", orphan.pack, orphan.owner));
            format!("delete {} orphans={}", joined(delete.packs.iter().map(|pack| pack.0)), joined(orphans))
        }
        Record::Fence { session } => format!("fence {session}"),
        Record::Swept(swept) => {
            format!("swept {} orphans={}", joined(swept.packs.iter().map(|pack| pack.0)), joined(&swept.orphans))
        }
        Record::Damaged(damaged) => {
            let packs = joined(damaged.packs.iter().map(|pack| pack.0));
            format!("damaged {packs}{}", option("reason", damaged.reason.as_ref()))
        }
        Record::Hold(hold) => format!("hold {} reason={}{}", hold.point, hold.reason, option("until", hold.until_ms)),
        Record::Checkpoint(checkpoint) => {
            format!("checkpoint at={} {} parts={}", checkpoint.at, checkpoint.digest, joined(&checkpoint.parts))
        }
        Record::Release { point } => format!("release {point}"),
        Record::Verified(verified) => {
            let how = match verified.how {
                VerifiedHow::Name => 1,
                VerifiedHow::Contents => 2,
            };
            let packs = joined(verified.packs.iter().map(|pack| pack.0));
            format!("verified {packs} how={how}{}", option("slot", verified.slot))
        }
        Record::Skipped { kind } => format!("skipped {kind}"),
    }
}

fn shown_open(open: &Open) -> String {
    format!(
        "open {}{} adopts={}{}{}",
        open.session,
        option("host", open.host.as_ref()),
        joined(&open.adopts),
        option("slot", open.slot),
        option("version", open.program_version.as_ref()),
    )
}

fn shown_commit(commit: &Commit) -> String {
    format!(
        "commit {}{} vm={}{} number={}{} point={} new={} uses={}",
        commit.session,
        option("name", commit.vm_name.as_ref()),
        commit.vm,
        option("completeness", commit.completeness.map(|completeness| completeness as u8)),
        commit.number,
        option("previous", commit.previous),
        commit.point,
        joined(commit.new_packs.iter().map(pack)),
        joined(commit.uses.iter().map(|pack| pack.0)),
    )
}

fn pack(pack: &NewPack) -> String {
    let class = if pack.class == Class::Data { 1 } else { 2 };
    format!("{}:{class}:{}", pack.name, pack.bytes)
}

fn joined<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

fn option<T: Display>(name: &str, value: Option<T>) -> String {
    value.map_or_else(String::new, |value| format!(" {name}={value}"))
}
