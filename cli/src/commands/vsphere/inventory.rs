//! `strongroom vsphere inventory`

use std::collections::HashMap;

use repo_format::{StoragePolicy, VmIdentity};
use vsphere::{
    Policies, PolicyOf, PowerState, Session, VmSummary, backup::identity_of, config_of, inventory_path,
    soap::CallError, vm_home::VmConfig,
};

use super::{connect::connect, doctor::chosen_vms};
use crate::{
    args::{GlobalArgs, InventoryArgs},
    commands::{Done, warning},
    exit::Exit,
    failure::Failure,
    opening,
    output::{InventoryResult, InventoryVm, RepositoryLine, WarningLine},
    units,
};

/// Runs it.
pub fn run(global: &GlobalArgs, args: &InventoryArgs) -> Result<Done, Failure> {
    let connected = connect(global, &args.vcenter)?;
    let mut warnings = connected.warnings;
    let (points, repository) = newest_points(global, &mut warnings);
    let (vms, unreadable) = chosen_vms(&connected.session, &args.vms)?;
    let mut missing: Vec<WarningLine> =
        unreadable.iter().map(|finding| warning("vm_unreadable", &finding.found)).collect();
    let rows = Rows::begin(&connected.session, points, &mut missing);
    let vms = vms.iter().map(|vm| rows.row(vm, &mut missing)).collect();
    let exit = if missing.is_empty() { Exit::Done } else { Exit::Attention };
    warnings.extend(missing);
    let done = Done::with(InventoryResult { vms }).with_warnings(warnings).ending(exit);
    Ok(match repository {
        Some(line) => done.in_repository(line),
        None => done,
    })
}

/// Id and time of the newest point of each VM.
type Points = HashMap<VmIdentity, (String, u64)>;

/// Of the repository, if one was named. That it cannot be opened is said, and leaves the column empty: the list is of the vCenter.
fn newest_points(global: &GlobalArgs, warnings: &mut Vec<WarningLine>) -> (Points, Option<RepositoryLine>) {
    let mut points = Points::new();
    if opening::repository_path(global).is_err() {
        return (points, None);
    }
    let mut say = |text: String| warnings.push(warning("no_points", format!("restore points are not shown: {text}")));
    let opened = match opening::reader(global) {
        Ok(opened) => opened,
        Err(failure) => {
            say(failure.what);
            return (points, None);
        }
    };
    let listed = engine::list(&opened.handle, &mut |point| {
        let newest = points.entry(point.identity).or_default();
        if point.time_ms >= newest.1 {
            *newest = (point.id.to_string(), point.time_ms);
        }
    });
    if let Err(error) = listed {
        say(error.to_string());
    }
    let line = opened.line();
    warnings.extend(opened.warnings);
    (points, Some(line))
}

/// What rows are made of.
struct Rows<'s> {
    session: &'s Session,
    policies: Option<(Policies<'s>, Vec<StoragePolicy>)>,
    points: Points,
}

impl<'s> Rows<'s> {
    fn begin(session: &'s Session, points: Points, missing: &mut Vec<WarningLine>) -> Self {
        let read = || -> Result<_, CallError> {
            let service = Policies::of(session)?;
            let all = service.all()?;
            Ok((service, all))
        };
        let policies = read()
            .map_err(|error| missing.push(warning("no_policies", format!("storage policies are not shown: {error}"))))
            .ok();
        Self { session, policies, points }
    }

    /// A row. What cannot be read of a VM is left out of it, and said.
    fn row(&self, vm: &VmSummary, missing: &mut Vec<WarningLine>) -> InventoryVm {
        let mut say = |what: &str, error: String| {
            missing.push(warning("vm_unreadable", format!("{}: {what} is not shown: {error}", vm.name)));
        };
        let config = self.config(vm).map_err(|error| say("its configuration", error)).ok();
        let path = inventory_path(self.session, &vm.vm);
        let path = path.map_err(|error| say("its place", error.to_string())).map(|path| path.text());
        let policy = self.policy(vm).map_err(|error| say("its storage policy", error.to_string())).ok().flatten();
        let point = identity_of(self.session, vm).and_then(|identity| self.points.get(&identity));
        let disks = config.as_ref().map(|config| config.disks.as_slice()).unwrap_or_default();
        InventoryVm {
            name: vm.name.clone(),
            path: path.unwrap_or_default(),
            moref: vm.vm.moref().to_owned(),
            instance_uuid: vm.instance_uuid.clone(),
            power: match &vm.power_state {
                PowerState::On => "on".to_owned(),
                PowerState::Off => "off".to_owned(),
                PowerState::Suspended => "suspended".to_owned(),
                PowerState::Other(word) => word.clone(),
            },
            template: vm.is_template,
            encrypted: encrypted(config.as_ref()).to_owned(),
            vtpm: config.as_ref().is_some_and(|config| config.vtpm.is_some()),
            kms_key_id: vm.kms_key.as_ref().map(|key| key.id.clone()),
            kms_provider: vm.kms_key.as_ref().and_then(|key| key.provider.clone()),
            storage_policy: policy,
            change_tracking: vm.tracks_changes,
            disks: disks.len() as u64,
            disk_bytes: disks.iter().map(|disk| disk.capacity_bytes).sum(),
            last_point: point.map(|(id, _)| id.clone()),
            last_point_time: point.map(|(_, time_ms)| units::utc(*time_ms)),
        }
    }

    fn config(&self, vm: &VmSummary) -> Result<VmConfig, String> {
        let config = config_of(self.session, &vm.vm).map_err(|error| error.to_string())?;
        VmConfig::read(&config).map_err(|error| error.to_string())
    }

    /// Name of the home's policy, or its id if it was deleted.
    fn policy(&self, vm: &VmSummary) -> Result<Option<String>, CallError> {
        let Some((service, all)) = &self.policies else { return Ok(None) };
        let ids = service.associated(&PolicyOf::Home { vm: &vm.vm })?;
        let name = |id: &String| all.iter().find(|policy| policy.id == *id).map_or(id, |policy| &policy.name).clone();
        Ok(ids.first().map(name))
    }
}

fn encrypted(config: Option<&VmConfig>) -> &'static str {
    let Some(config) = config else {
        return "unknown";
    };
    let disks = config.disks.iter().filter(|disk| disk.kms_key.is_some()).count();
    match disks {
        _ if !config.is_encrypted() => "clear",
        0 => "home",
        all if all == config.disks.len() => "disks",
        _ => "partly",
    }
}
