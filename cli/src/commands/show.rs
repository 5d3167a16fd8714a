//! `strongroom show`

use engine::{HomeSummary, disk_extents, restore_home, show};
use repo_format::{Completeness, Consistency, DiskRecord, Encryption};

use super::{
    Done,
    points::{choose, policy_line, verdict_line, vm_name},
};
use crate::{
    args::{GlobalArgs, ShowArgs},
    exit::Exit,
    failure::Failure,
    opening,
    output::{ExtentLine, HomeDisk, HomeLine, SecretLine, ShowAudit, ShowDisk, ShowPoint, ShowResult, StreamLine},
    units,
};

/// Shows one point in full.
pub fn run(global: &GlobalArgs, args: &ShowArgs) -> Result<Done, Failure> {
    let opened = opening::reader(global)?;
    let (reader, place) = (&opened.handle, &opened.place);
    let chosen = choose(reader, &args.selector, place)?;
    let shown = show(reader, chosen.id).map_err(|error| Failure::of(&error, error.kind(), place))?;
    let wanted = |disk: &&DiskRecord| chosen.disk.as_ref().is_none_or(|name| *name == disk.name);
    let records: Vec<&DiskRecord> = shown.record.disks.iter().filter(wanted).collect();
    if let (Some(disk), true) = (&chosen.disk, records.is_empty()) {
        let names: Vec<&str> = shown.record.disks.iter().map(|disk| disk.name.as_str()).collect();
        let what = format!("point {} has no disk {disk:?}", chosen.id);
        return Err(Failure::new(Exit::Missing, what, place, format!("its disks: {}", names.join(", "))));
    }
    let mut extents = args.extents.then(Vec::new);
    if let Some(extents) = &mut extents {
        for disk in &records {
            let walked = disk_extents(reader, disk, &mut |range| {
                let length_bytes = range.end.saturating_sub(range.start);
                extents.push(ExtentLine { disk: disk.name.clone(), start_bytes: range.start, length_bytes });
            });
            walked.map_err(|error| Failure::of(&error, error.kind(), format!("{place}, {}", disk.name)))?;
        }
    }
    let config = match args.config {
        true => {
            let home = restore_home(reader, chosen.id).map_err(|error| Failure::of(&error, error.kind(), place))?;
            Some(String::from_utf8_lossy(&home.document).into_owned())
        }
        false => None,
    };

    let record = &shown.record;
    let state = reader.state().point(&chosen.id);
    let point = ShowPoint {
        id: shown.id.to_string(),
        time: units::utc(chosen.time_ms),
        number: state.map_or(0, |point| point.number),
        vm: state.map_or_else(|| record.vm_name.clone(), vm_name),
        identity: record.vm.to_string(),
        parent: state.and_then(|point| point.previous).map(|id| id.to_string()),
        started: units::utc(record.started_ms),
        finished: units::utc(record.finished_ms),
        host: record.host.clone(),
        program: record.program_version.clone(),
        tag: record.tag.clone(),
        consistency: consistency_word(record.consistency).to_owned(),
        complete: record.completeness == Completeness::Whole,
        held: state.and_then(|point| point.held.clone()),
        disks: records.into_iter().map(disk_line).collect(),
        vm_home: shown.home.as_ref().map(home_line),
        verdict: verdict_line(&shown.verdict),
    };
    let line = opened.line();
    let warnings = opened.warnings.into_iter().chain(chosen.warnings);
    Ok(Done::with(ShowResult { point, extents, config }).in_repository(line).with_warnings(warnings))
}

fn consistency_word(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Unknown => "unknown",
        Consistency::Crash => "crash",
        Consistency::FileSystem => "file_system",
        Consistency::Application => "application",
        Consistency::PoweredOff => "powered_off",
    }
}

fn disk_line(disk: &DiskRecord) -> ShowDisk {
    ShowDisk {
        name: disk.name.clone(),
        uuid: disk.uuid.clone(),
        size_bytes: disk.bytes,
        data_bytes: disk.data_bytes,
        bad_bytes: disk.bad_bytes,
        read_bytes: disk.read_bytes,
        changed_bytes: disk.changed_bytes,
        new_bytes: disk.novel_bytes,
        stored_bytes: disk.stored_bytes,
        map_root: disk.map_root.to_string(),
        base: disk.base.map(|base| base.to_string()),
        audit: disk.audit.map(|audit| ShowAudit {
            one_in: audit.one_in,
            sampled_segments: audit.segments,
            missed_segments: audit.misses,
        }),
    }
}

fn home_line(home: &HomeSummary) -> HomeLine {
    let stream = |name: Option<String>, stream: &engine::StreamSummary| StreamLine {
        name,
        bytes: stream.bytes,
        blake3: stream.digest.to_string(),
    };
    let bundle = home.encryption_bundle.as_ref();
    HomeLine {
        name: home.name.clone(),
        instance_uuid: home.instance_uuid.clone(),
        bios_uuid: home.bios_uuid.clone(),
        encryption: match home.encryption {
            Encryption::Clear => "clear",
            Encryption::Whole => "whole",
            Encryption::Incomplete => "incomplete",
        }
        .to_owned(),
        key_id: home.kms_key_id.clone(),
        provider_id: home.kms_provider.clone(),
        bundle: SecretLine {
            present: bundle.is_some(),
            bytes: bundle.map(|bundle| bundle.bytes),
            fingerprint: bundle.map(|bundle| bundle.fingerprint.clone()),
        },
        storage_policy: home.storage_policy.as_ref().map(policy_line),
        guest_id: home.guest_id.clone(),
        hardware_version: home.hardware_version.clone(),
        firmware: home.firmware.clone(),
        secure_boot: home.secure_boot,
        vtpm: home.vtpm,
        nvram: home.nvram.as_ref().map(|(name, content)| stream(Some(name.clone()), content)),
        document: stream(None, &home.document),
        disks: home.disks.iter().map(home_disk).collect(),
    }
}

fn home_disk(disk: &repo_format::DiskHome) -> HomeDisk {
    HomeDisk {
        name: disk.name.clone(),
        key_id: disk.kms_key_id.clone(),
        provider_id: disk.kms_provider.clone(),
        storage_policy: disk.storage_policy.as_ref().map(policy_line),
    }
}
