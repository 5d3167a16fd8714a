//! `strongroom stats`

use super::{
    Done,
    points::{candidates, unresolved},
};
use crate::{
    args::{GlobalArgs, StatsArgs},
    failure::Failure,
    opening,
    output::{StatsResult, StatsTotals, StatsVm},
    progress::{Mode, Progress},
    selector::points_of_vms,
    signals,
};

/// What the repository holds and what that takes.
pub fn run(global: &GlobalArgs, args: &StatsArgs) -> Result<Done, Failure> {
    let opened = opening::reader(global)?;
    let (candidates, _) = candidates(&opened.handle);
    let wanted: Vec<String> = args.vm.iter().cloned().collect();
    points_of_vms(&wanted, &candidates).map_err(|error| unresolved(&error, &opened.place))?;
    let progress = Progress::start(Mode::of(global.progress, global.quiet));
    let stats = engine::stats(&opened.handle, &progress);
    let warnings = progress.finish();
    let stats = stats.map_err(|error| Failure::of(&error, error.kind(), &opened.place))?;
    if signals::stopped() {
        let advice = "run it again";
        return Err(Failure::new(signals::interrupted_exit(), "interrupted", &opened.place, advice));
    }
    let totals = StatsTotals {
        points: stats.totals.points,
        logical_bytes: stats.totals.logical_bytes,
        allocated_bytes: stats.totals.allocated_bytes,
        distinct_bytes: stats.totals.distinct_bytes,
        stored_bytes: stats.totals.stored_bytes,
        packs: stats.totals.packs,
    };
    let vm = |vm: engine::VmStats| StatsVm {
        vm: vm.vm_name,
        points: vm.points,
        logical_bytes: vm.logical_bytes,
        allocated_bytes: vm.allocated_bytes,
        unique_bytes: vm.unique_bytes,
        stored_bytes: vm.stored_bytes,
    };
    let vms =
        stats.vms.into_iter().filter(|vm| args.vm.as_ref().is_none_or(|name| *name == vm.vm_name)).map(vm).collect();
    let result = StatsResult { totals, vms, exact: stats.exact, unreadable_points: stats.unreadable_points };
    let line = opened.line();
    Ok(Done::with(result).in_repository(line).with_warnings(opened.warnings.into_iter().chain(warnings)))
}
