//! Options of every command.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::secrets::SecretFlags;

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct GlobalArgs {
    /// Repository: PATH or file:///PATH
    #[arg(short = 'r', long, global = true, value_name = "URL", help_heading = HEADING)]
    pub repo: Option<String>,
    /// File with the password; one newline at its end is no part of it
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub password_file: Option<PathBuf>,
    /// Command that prints the password; split by shell rules, run without a shell
    #[arg(long, global = true, value_name = "CMD", help_heading = HEADING)]
    pub password_command: Option<String>,
    /// File whose bytes open a key slot
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub key_file: Option<PathBuf>,
    /// File with a recovery key
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub recovery_key_file: Option<PathBuf>,
    /// How progress is shown on standard error
    #[arg(long, global = true, value_name = "HOW", env = "STRONGROOM_PROGRESS", default_value = "auto", hide_env = true,
          help_heading = HEADING)]
    pub progress: ProgressChoice,
    /// Only warnings and errors
    #[arg(short = 'q', long, global = true, conflicts_with = "verbose", help_heading = HEADING)]
    pub quiet: bool,
    /// Say more: the causes of errors, where settings come from
    #[arg(short = 'v', long, global = true, action = ArgAction::Count, help_heading = HEADING)]
    pub verbose: u8,
    /// Colour in messages
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = HEADING)]
    pub color: ColorChoice,
    /// Exactly one JSON document on standard output, also on failure
    #[arg(long, global = true, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          help_heading = HEADING)]
    pub json: Option<u8>,
    /// Do not ask
    #[arg(short = 'y', long, global = true, help_heading = HEADING)]
    pub yes: bool,
    /// Worker threads [default: all processors]
    #[arg(long, global = true, value_name = "N", env = "STRONGROOM_THREADS", hide_env = true,
          value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = HEADING)]
    pub threads: Option<u16>,
    /// Cache folder; may be deleted at any time
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "no_cache", help_heading = HEADING)]
    pub cache_dir: Option<PathBuf>,
    /// Keep no cache
    #[arg(long, global = true, help_heading = HEADING)]
    pub no_cache: bool,
    /// State folder: session locks and the last head seen
    #[arg(long, global = true, value_name = "DIR", help_heading = HEADING)]
    pub state_dir: Option<PathBuf>,
    /// Go on although the history does not continue the one last seen; the digest of the head that is accepted
    #[arg(long, global = true, value_name = "DIGEST", help_heading = HEADING)]
    pub accept_rollback: Option<String>,
}

const HEADING: &str = "Options of every command";

impl GlobalArgs {
    /// How the repository is to be opened, as far as the command line says.
    pub fn secrets(&self) -> SecretFlags {
        SecretFlags {
            password_file: self.password_file.clone(),
            password_command: self.password_command.clone(),
            key_file: self.key_file.clone(),
            recovery_key_file: self.recovery_key_file.clone(),
        }
    }

    /// Worker threads.
    pub fn thread_count(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.map_or_else(all, usize::from)
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressChoice {
    /// Bars on a terminal, else plain lines
    Auto,
    /// Bars
    Bar,
    /// A line at start and end of each disk, and one a minute
    Plain,
    /// A JSON object a line
    Json,
    /// Nothing
    None,
}

/// When messages are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}
