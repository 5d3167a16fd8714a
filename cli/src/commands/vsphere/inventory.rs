//! `strongroom vsphere inventory`

use crate::{
    args::{GlobalArgs, InventoryArgs},
    commands::Done,
    failure::Failure,
};

/// Runs it.
pub fn run(_global: &GlobalArgs, _args: &InventoryArgs) -> Result<Done, Failure> {
    Err(Failure::not_built("vsphere inventory"))
}
