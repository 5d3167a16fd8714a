//! `strongroom vsphere plan`

use crate::{
    args::{GlobalArgs, PlanArgs},
    commands::Done,
    failure::Failure,
};

/// Runs it.
pub fn run(_global: &GlobalArgs, _args: &PlanArgs) -> Result<Done, Failure> {
    Err(Failure::not_built("vsphere plan"))
}
