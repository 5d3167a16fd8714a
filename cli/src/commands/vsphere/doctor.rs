//! `strongroom vsphere doctor`

use crate::{
    args::{DoctorArgs, GlobalArgs},
    commands::Done,
    failure::Failure,
};

/// Runs it.
pub fn run(_global: &GlobalArgs, _args: &DoctorArgs) -> Result<Done, Failure> {
    Err(Failure::not_built("vsphere doctor"))
}
