//! `strongroom vsphere cleanup`: what killed runs have left in vCenter is undone.

use vsphere::{CleanupMode, clean_up};

use super::connect::{Connected, connect};
use crate::{
    args::{CleanupArgs, GlobalArgs},
    commands::Done,
    exit::Exit,
    failure::Failure,
    opening,
    output::CleanupResult,
    terminal,
};

/// Cleans up.
pub fn run(global: &GlobalArgs, args: &CleanupArgs) -> Result<Done, Failure> {
    if !args.dry_run {
        terminal::consent(global.yes, "remove what killed runs of this repository have left in vCenter?")?;
    }
    let opened = opening::reader(global)?;
    let Connected { session, warnings } = connect(global, &args.vcenter)?;
    let environment = opened.handle.environment();
    let repository = opened.handle.config().repository;
    let mode = if args.dry_run { CleanupMode::Show } else { CleanupMode::Undo };
    let cleaned = clean_up(&session, &environment.state, &repository, &environment.host, mode)
        .map_err(|error| Failure::of(&error, error.kind(), format!("vcenter {}", session.server())))?;
    let exit = if cleaned.left.is_empty() { Exit::Done } else { Exit::Attention };
    let result = CleanupResult { dry_run: args.dry_run, undone: cleaned.undone, left: cleaned.left };
    let line = opened.line();
    Ok(Done::with(result).in_repository(line).with_warnings(opened.warnings).with_warnings(warnings).ending(exit))
}
