//! `strongroom vsphere`: VMs of a vCenter are checked, backed up, planned and brought back.

mod backup;
mod cleanup;
mod connect;
mod doctor;
mod in_place;
mod inventory;
mod plan;
mod points;
mod restore;
mod wish;

use super::Done;
use crate::{
    args::{GlobalArgs, VsphereCommand},
    failure::Failure,
};

/// Runs a command against a vCenter.
pub fn run(global: &GlobalArgs, command: &VsphereCommand) -> Result<Done, Failure> {
    match command {
        VsphereCommand::Doctor(args) => doctor::run(global, args),
        VsphereCommand::Inventory(args) => inventory::run(global, args),
        VsphereCommand::Plan(args) => plan::run(global, args),
        VsphereCommand::Restore(args) => restore::run(global, args),
        VsphereCommand::Backup(args) => backup::run(global, args),
        VsphereCommand::Cleanup(args) => cleanup::run(global, args),
    }
}
