//! `strongroom key`: who can open the repository.

use super::Done;
use crate::{
    args::{GlobalArgs, KeyCommand},
    failure::Failure,
};

pub fn run(_global: &GlobalArgs, _command: &KeyCommand) -> Result<Done, Failure> {
    Err(Failure::not_built("key"))
}
