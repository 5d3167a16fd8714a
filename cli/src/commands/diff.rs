//! `strongroom diff`

use engine::{Side, diff};

use super::{Done, points::choose};
use crate::{
    args::{DiffArgs, GlobalArgs},
    failure::Failure,
    opening,
    output::{DiffDisk, DiffResult, ExtentLine, HomeChangeLine},
};

/// Compares two points.
pub fn run(global: &GlobalArgs, args: &DiffArgs) -> Result<Done, Failure> {
    let opened = opening::reader(global)?;
    let (reader, place) = (&opened.handle, &opened.place);
    let before = choose(reader, &args.before, place)?;
    let after = choose(reader, &args.after, place)?;
    let mut extents = args.extents.then(Vec::new);
    let found = diff(reader, before.id, after.id, &mut |disk, range| {
        if let Some(extents) = &mut extents {
            let length_bytes = range.end.saturating_sub(range.start);
            extents.push(ExtentLine { disk: disk.to_owned(), start_bytes: range.start, length_bytes });
        }
    });
    let found = found.map_err(|error| Failure::of(&error, error.kind(), place))?;
    let disk = |disk: engine::DiskDiff| DiffDisk {
        name: disk.name,
        side: match disk.side {
            Side::Both => "both",
            Side::Added => "added",
            Side::Removed => "removed",
        }
        .to_owned(),
        before_bytes: disk.before_bytes,
        after_bytes: disk.after_bytes,
        changed_bytes: disk.changed_bytes,
        changed_segments: disk.changed_segments,
    };
    let change = |change: engine::HomeChange| HomeChangeLine {
        field: change.field.to_owned(),
        before: change.before,
        after: change.after,
    };
    let result = DiffResult {
        before: before.id.to_string(),
        after: after.id.to_string(),
        other_vm: found.other_vm,
        disks: found.disks.into_iter().map(disk).collect(),
        vm_home: found.home.into_iter().map(change).collect(),
        extents,
    };
    let line = opened.line();
    let warnings = opened.warnings.into_iter().chain(before.warnings).chain(after.warnings);
    Ok(Done::with(result).in_repository(line).with_warnings(warnings))
}
