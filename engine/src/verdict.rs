//! What a restore point is worth, judged from the point alone. What was not checked is *unknown*, never "yes".
//!
//! **Invariant:** nothing here asks a target, a key provider or a policy; whoever can, adds that.

use std::fmt;

use repo_format::{Encryption, RestorePoint, VmHome};

use crate::problem::{Cost, Part};

/// What a restore of the point gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The disks come back as they were, and nothing else was asked for.
    Unchanged,
    /// The disks come back; parts of the VM home do not.
    WithLosses {
        /// What is lost: `nvram`, `vtpm`, `secure-boot`, `vm-home`.
        losses: Vec<&'static str>,
        /// Why.
        reason: &'static str,
    },
    /// Some of the disks could not be read when they were backed up.
    Incomplete {
        /// Disks and bytes of them.
        disks: Vec<(String, u64)>,
    },
    /// Some of the disks cannot be read now.
    Damaged {
        /// Disks, the number of ranges and their bytes.
        disks: Vec<(String, usize, u64)>,
    },
    /// No disk of the point can be read.
    Impossible,
    /// The disks come back; whether the VM starts depends on a vCenter and its keys, which were not asked.
    Unknown {
        /// The KMS key without which NVRAM and vTPM content are lost.
        needs_key: Option<NeededKey>,
    },
}

/// A key that must be to be had for a VM to come back unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededKey {
    /// KMS key id.
    pub id: String,
    /// Its provider.
    pub provider: Option<String>,
}

impl Verdict {
    /// The word that programs read.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::WithLosses { .. } => "with_losses",
            Self::Incomplete { .. } => "incomplete",
            Self::Damaged { .. } => "damaged",
            Self::Impossible => "impossible",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// Judges a point of which everything that is stored can be read.
pub fn judge(point: &RestorePoint, home: Option<&VmHome>) -> Verdict {
    let bad = |disk: &repo_format::DiskRecord| (disk.bad_bytes > 0).then(|| (disk.name.clone(), disk.bad_bytes));
    let bad: Vec<_> = point.disks.iter().filter_map(bad).collect();
    if !bad.is_empty() {
        return Verdict::Incomplete { disks: bad };
    }
    match home {
        None if point.vm_home.is_some() => {
            Verdict::WithLosses { losses: vec!["vm-home"], reason: "the VM home cannot be read" }
        }
        None => Verdict::Unchanged,
        Some(home) => judge_home(home),
    }
}

/// Judges a point of which `costs` is lost.
pub fn judge_damaged(point: &RestorePoint, home: Option<&VmHome>, costs: &[Cost]) -> Verdict {
    if costs.iter().any(|cost| cost.part == Part::Point) {
        return Verdict::Impossible;
    }
    let lost_of = |name: &String| {
        let of_disk = costs.iter().filter(|cost| matches!(&cost.part, Part::Disk(disk) if disk == name));
        of_disk.fold((0, 0_u64), |(ranges, bytes), cost| (ranges + cost.ranges.len(), bytes.saturating_add(cost.bytes)))
    };
    let lost = point.disks.iter().map(|disk| {
        let (ranges, bytes) = lost_of(&disk.name);
        (disk.name.clone(), ranges, bytes.min(disk.bytes))
    });
    let lost: Vec<_> = lost.filter(|(_, _, bytes)| *bytes > 0).collect();
    let wholly_lost = lost.iter().zip(&point.disks).filter(|((_, _, bytes), disk)| *bytes >= disk.bytes).count();
    if !point.disks.is_empty() && lost.len() == point.disks.len() && wholly_lost == point.disks.len() {
        Verdict::Impossible
    } else if !lost.is_empty() {
        Verdict::Damaged { disks: lost }
    } else if costs.iter().any(|cost| cost.part == Part::Home) {
        judge(point, None)
    } else {
        judge(point, home)
    }
}

fn judge_home(home: &VmHome) -> Verdict {
    let has_vtpm = home.vtpm == Some(true);
    if home.encryption() == Encryption::Incomplete {
        let losses = [("nvram", true), ("vtpm", has_vtpm), ("secure-boot", home.secure_boot == Some(true))];
        let losses = losses.into_iter().filter_map(|(loss, lost)| lost.then_some(loss)).collect();
        let reason = match home.encryption_bundle {
            None => "encryption bundle was not saved",
            Some(_) => "KMS key id was not saved",
        };
        return Verdict::WithLosses { losses, reason };
    }
    if has_vtpm && home.nvram.is_none() {
        return Verdict::WithLosses { losses: vec!["nvram", "vtpm"], reason: "NVRAM was not saved" };
    }
    let needs_key =
        home.kms_key_id.as_ref().map(|id| NeededKey { id: id.clone(), provider: home.kms_provider.clone() });
    Verdict::Unknown { needs_key }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("unchanged (no VM home given: disks only)"),
            Self::WithLosses { losses, reason } => write!(f, "with losses: {} ({reason})", losses.join(", ")),
            Self::Incomplete { disks } => {
                f.write_str("incomplete: ")?;
                list(f, disks, |f, (disk, bytes)| {
                    write!(f, "{bytes} bytes of {disk} could not be read when it was backed up")
                })
            }
            Self::Damaged { disks } => {
                f.write_str("damaged: ")?;
                list(f, disks, |f, (disk, ranges, bytes)| {
                    write!(f, "{ranges} range{} of {disk}, {bytes} bytes", if *ranges == 1 { "" } else { "s" })
                })
            }
            Self::Impossible => f.write_str("not at all: no disk of this point can be read"),
            Self::Unknown { needs_key: None } => f.write_str("not checked against a vCenter; disks: unchanged"),
            Self::Unknown { needs_key: Some(NeededKey { id, provider }) } => {
                write!(f, "not checked against a vCenter; disks: unchanged; NVRAM and vTPM content need key {id}")?;
                provider.as_ref().map_or(Ok(()), |provider| write!(f, " of {provider}"))
            }
        }
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut one: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            f.write_str("; ")?;
        }
        one(f, item)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use repo_format::{
        ChunkId, Completeness, Consistency, Digest, DiskRecord, FileName, Nvram, SecretBytes, Stream, VmIdentity,
    };

    use super::*;

    fn disk(name: &str, bad_bytes: u64) -> DiskRecord {
        DiskRecord {
            name: name.to_owned(),
            uuid: None,
            bytes: 1000,
            data_bytes: None,
            map_root: ChunkId::from_bytes([0; 32]),
            bad_bytes,
            read_bytes: None,
            novel_bytes: None,
            stored_bytes: None,
            changed_bytes: None,
            change_id: None,
            base: None,
            audit: None,
        }
    }

    fn point(disks: Vec<DiskRecord>, home: bool) -> RestorePoint {
        RestorePoint {
            vm: VmIdentity::named("web01").unwrap(),
            program_version: None,
            vm_name: "web01".to_owned(),
            tag: None,
            disks,
            host: None,
            vm_home: home.then(|| ChunkId::from_bytes([1; 32])),
            started_ms: 0,
            finished_ms: 0,
            consistency: Consistency::Unknown,
            completeness: Completeness::Whole,
        }
    }

    fn stream() -> Stream {
        Stream { length: 0, digest: Digest::of(b""), pieces: Vec::new() }
    }

    fn home(key: bool, bundle: bool, nvram: bool, vtpm: bool) -> VmHome {
        VmHome {
            document: stream(),
            name: None,
            instance_uuid: None,
            bios_uuid: None,
            kms_key_id: key.then(|| "0b1f".to_owned()),
            kms_provider: key.then(|| "kms-prod".to_owned()),
            guest_id: None,
            hardware_version: None,
            encryption_bundle: bundle.then(|| SecretBytes::new(vec![1])),
            storage_policy: None,
            firmware: None,
            secure_boot: Some(true),
            vtpm: Some(vtpm),
            nvram: nvram.then(|| Nvram { file_name: FileName::new("a.nvram").unwrap(), content: stream() }),
            disks: Vec::new(),
        }
    }

    #[test]
    fn every_row_of_the_table_has_its_word() {
        let whole = point(vec![disk("disk0", 0)], true);
        let rows = [
            (home(false, false, false, false), "unknown", "not checked against a vCenter; disks: unchanged"),
            (
                home(true, true, true, true),
                "unknown",
                "not checked against a vCenter; disks: unchanged; NVRAM and vTPM content need key 0b1f of kms-prod",
            ),
            (
                home(true, false, true, true),
                "with_losses",
                "with losses: nvram, vtpm, secure-boot (encryption bundle was not saved)",
            ),
            (
                home(false, true, true, false),
                "with_losses",
                "with losses: nvram, secure-boot (KMS key id was not saved)",
            ),
            (home(true, true, false, true), "with_losses", "with losses: nvram, vtpm (NVRAM was not saved)"),
        ];
        for (home, word, sentence) in rows {
            let verdict = judge(&whole, Some(&home));
            assert_eq!((verdict.word(), verdict.to_string().as_str()), (word, sentence));
        }
        assert_eq!(judge(&whole, None).word(), "with_losses", "a home that cannot be read is a loss");
        assert_eq!(judge(&point(vec![disk("disk0", 0)], false), None), Verdict::Unchanged);
    }

    #[test]
    fn bad_extents_come_before_what_the_home_lacks() {
        let verdict = judge(&point(vec![disk("disk0", 0), disk("disk1", 192)], true), None);
        assert_eq!(verdict.word(), "incomplete");
        assert_eq!(verdict.to_string(), "incomplete: 192 bytes of disk1 could not be read when it was backed up");
    }

    #[test]
    fn damage_is_told_by_disk_and_the_loss_of_everything_as_such() {
        let point = point(vec![disk("disk0", 0), disk("disk1", 0)], false);
        let cost = |part, bytes| Cost {
            point: ChunkId::from_bytes([1; 32]),
            vm: "web01".to_owned(),
            part,
            bytes,
            ranges: std::iter::once(0..bytes).collect(),
        };
        let one = [cost(Part::Disk("disk0".to_owned()), 512)];
        assert_eq!(judge_damaged(&point, None, &one).to_string(), "damaged: 1 range of disk0, 512 bytes");
        let all = [cost(Part::Disk("disk0".to_owned()), 1000), cost(Part::Disk("disk1".to_owned()), 1000)];
        assert_eq!(judge_damaged(&point, None, &all), Verdict::Impossible);
        assert_eq!(judge_damaged(&point, None, &[cost(Part::Point, 0)]), Verdict::Impossible);
        assert_eq!(judge_damaged(&point, None, &[]), Verdict::Unchanged);
    }
}
