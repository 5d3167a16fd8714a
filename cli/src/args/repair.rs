//! Options of `strongroom repair`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::FromArgs;
use crate::units;

/// What is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RepairWhat {
    /// The local index; and the log, if it is lost, from packs and one key slot.
    Index,
    /// Packs, from their parity or another repository, and the copies of config and key slots.
    Packs,
    /// Restore points that lost something.
    Points,
}

/// `strongroom repair`
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// index, packs or points [default: say what is wrong and what would be done]
    #[arg(value_name = "WHAT")]
    pub what: Option<RepairWhat>,
    /// Repository with the same restore points, or a copy of this one: PATH or file:///PATH
    #[arg(long, value_name = "URL", env = "STRONGROOM_FROM_REPOSITORY", hide_env = true)]
    pub from: Option<String>,
    /// File with its password
    #[arg(long, value_name = "FILE", requires = "from")]
    pub from_password_file: Option<PathBuf>,
    /// Command that prints its password
    #[arg(long, value_name = "CMD", requires = "from")]
    pub from_password_command: Option<String>,
    /// File whose bytes open a key slot of it
    #[arg(long, value_name = "FILE", requires = "from")]
    pub from_key_file: Option<PathBuf>,
    /// File with a recovery key of it
    #[arg(long, value_name = "FILE", requires = "from")]
    pub from_recovery_key_file: Option<PathBuf>,
    /// zstd level of what is fetched from there, or none
    #[arg(long, value_name = "LEVEL", default_value = "3", value_parser = units::parse_compression, allow_hyphen_values = true)]
    pub compression: repo_format::Compression,
    /// Show what would be mended, write nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

impl RepairArgs {
    /// The repository to repair from, and the way into it.
    pub fn from(&self) -> Option<FromArgs> {
        Some(FromArgs {
            from: self.from.clone()?,
            from_password_file: self.from_password_file.clone(),
            from_password_command: self.from_password_command.clone(),
            from_key_file: self.from_key_file.clone(),
            from_recovery_key_file: self.from_recovery_key_file.clone(),
        })
    }
}
