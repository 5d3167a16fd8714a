//! `strongroom vsphere restore`

use crate::{
    args::{GlobalArgs, VsphereRestoreArgs},
    commands::Done,
    failure::Failure,
};

/// Runs it.
pub fn run(_global: &GlobalArgs, _args: &VsphereRestoreArgs) -> Result<Done, Failure> {
    Err(Failure::not_built("vsphere restore"))
}
