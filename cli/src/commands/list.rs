//! `strongroom list`

use engine::ListedPoint;

use super::{
    Done,
    points::{candidates, unresolved, verdict_line},
};
use crate::{
    args::{GlobalArgs, ListArgs},
    failure::Failure,
    opening,
    output::{ListResult, PointLine},
    selector::{parse_time, points_of_vms},
    units,
};

/// Lists restore points in log order.
pub fn run(global: &GlobalArgs, args: &ListArgs) -> Result<Done, Failure> {
    let zone = jiff::tz::TimeZone::system();
    let time = |text: &Option<String>| match text {
        Some(text) => {
            parse_time(text, &zone).map(Some).map_err(|what| Failure::invalid(what, "strongroom list --help"))
        }
        None => Ok(None),
    };
    let (at, since) = (time(&args.at)?, time(&args.since)?);
    let opened = opening::reader(global)?;
    let (candidates, _) = candidates(&opened.handle);
    points_of_vms(&args.vms, &candidates).map_err(|error| unresolved(&error, &opened.place))?;

    let mut points: Vec<PointLine> = Vec::new();
    let listed = engine::list(&opened.handle, &mut |point| {
        let wanted = (args.vms.is_empty() || args.vms.contains(&point.vm_name))
            && since.is_none_or(|since| point.time_ms >= since)
            && at.is_none_or(|at| point.time_ms <= at)
            && args.tag.as_ref().is_none_or(|tag| tag_of(&point) == Some(tag));
        if wanted {
            points.push(line(&point));
        }
    });
    listed.map_err(|error| Failure::of(&error, error.kind(), &opened.place))?;
    if let Some(newest) = args.latest.or(at.map(|_| 1)) {
        keep_newest(&mut points, newest);
    }
    let line = opened.line();
    Ok(Done::with(ListResult { points }).in_repository(line).with_warnings(opened.warnings))
}

fn tag_of(point: &ListedPoint) -> Option<&String> {
    point.record.as_ref().and_then(|record| record.tag.as_ref())
}

fn line(point: &ListedPoint) -> PointLine {
    let record = point.record.as_ref();
    PointLine {
        id: point.id.to_string(),
        time: units::utc(point.time_ms),
        time_ms: point.time_ms,
        vm: point.vm_name.clone(),
        number: point.number,
        disk_count: record.map(|record| record.disks.len() as u64),
        size_bytes: record.map(|record| record.disks.iter().map(|disk| disk.bytes).sum()),
        changed_bytes: point.changed_bytes(),
        stored_bytes: point.stored_bytes(),
        tag: tag_of(point).cloned(),
        held: point.held.clone(),
        verdict: verdict_line(&point.verdict),
    }
}

/// Keeps the newest `count` points of each VM.
fn keep_newest(points: &mut Vec<PointLine>, count: u64) {
    let mut seen = std::collections::HashMap::<String, u64>::new();
    points.reverse();
    points.retain(|point| {
        let seen = seen.entry(point.vm.clone()).or_default();
        *seen += 1;
        *seen <= count
    });
    points.reverse();
}
