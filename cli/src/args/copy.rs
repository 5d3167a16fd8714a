//! Options of `strongroom copy`.

use std::path::PathBuf;

use clap::Args;

use crate::{secrets::SecretFlags, units};

/// `strongroom copy`
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Where from.
    #[command(flatten)]
    pub from: FromArgs,
    /// Restore points of the repository copied from [default: all]; a VM's name alone means all of its points
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// zstd level of the copy, or none
    #[arg(long, value_name = "LEVEL", default_value = "3", value_parser = units::parse_compression, allow_hyphen_values = true)]
    pub compression: repo_format::Compression,
    /// Show what would be copied, write nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// The repository that is copied from, and the way into it.
#[derive(Clone, Debug, Args)]
pub struct FromArgs {
    /// Repository to copy from: PATH or file:///PATH
    #[arg(long, value_name = "URL", env = "STRONGROOM_FROM_REPOSITORY", hide_env = true)]
    pub from: String,
    /// File with its password
    #[arg(long, value_name = "FILE")]
    pub from_password_file: Option<PathBuf>,
    /// Command that prints its password
    #[arg(long, value_name = "CMD")]
    pub from_password_command: Option<String>,
    /// File whose bytes open a key slot of it
    #[arg(long, value_name = "FILE")]
    pub from_key_file: Option<PathBuf>,
    /// File with a recovery key of it
    #[arg(long, value_name = "FILE")]
    pub from_recovery_key_file: Option<PathBuf>,
}

impl FromArgs {
    /// How it is to be opened, as far as the command line says.
    pub fn secrets(&self) -> SecretFlags {
        SecretFlags {
            password_file: self.from_password_file.clone(),
            password_command: self.from_password_command.clone(),
            key_file: self.from_key_file.clone(),
            recovery_key_file: self.from_recovery_key_file.clone(),
        }
    }
}
