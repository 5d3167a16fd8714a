//! Options of each command.

use std::{path::PathBuf, str::FromStr};

use clap::{ArgGroup, Args, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use repo_format::Compression;

use crate::units;

/// `strongroom init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where chunks end: block for disks, fastcdc for anything else
    #[arg(long, value_name = "KIND", default_value = "block")]
    pub chunker: ChunkerChoice,
    /// Smallest, usual and largest chunk
    #[arg(long, value_name = "MIN,AVG,MAX", default_value = "16K,64K,256K")]
    pub chunk_size: String,
    /// Write the recovery key to this new file
    #[arg(long, value_name = "FILE", conflicts_with = "no_recovery_key")]
    pub recovery_key_out: Option<PathBuf>,
    /// Make no recovery key: whoever loses the password loses the repository
    #[arg(long)]
    pub no_recovery_key: bool,
    /// Memory that one guess at the password costs
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = units::parse_size)]
    pub kdf_memory: u64,
    /// Only one writer will ever use it: for stores that cannot create if absent
    #[arg(long)]
    pub single_writer: bool,
    /// Parity shards in 512 of a pack: as many damaged ones are mended from them; 0: none
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(0..=64))]
    pub parity: u8,
}

/// `strongroom backup`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["sources", "disks"]).required(true))]
pub struct BackupArgs {
    /// Raw images, block devices or NBD URIs (nbd://, nbds://, nbd+unix://); they become disk0, disk1, …
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// The VM's name [default: stem of the only source]
    #[arg(long, value_name = "NAME")]
    pub vm: Option<String>,
    /// A disk and where it is read from
    #[arg(long = "disk", value_name = "NAME=SOURCE", requires = "vm")]
    pub disks: Vec<NamedPath>,
    /// JSON document with key id, bundle, storage policy, firmware, configuration (strongroom.vm-home/1)
    #[arg(long, value_name = "FILE")]
    pub vm_home: Option<PathBuf>,
    /// NVRAM file
    #[arg(long, value_name = "FILE", requires = "vm_home")]
    pub nvram: Option<PathBuf>,
    /// Ranges that cannot be read: keep the rest, or fail
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    pub on_bad: BadChoice,
    /// What has changed since the parent, a file: JSON array of {"start","length"}, DiskChangeInfo, or OFFSET LENGTH lines;
    /// or qemu:dirty-bitmap:NAME of the NBD export itself
    #[arg(long, value_name = "[DISK=]FILE", requires = "parent")]
    pub changed_areas: Vec<String>,
    /// The restore point that the changed areas are counted from
    #[arg(long, value_name = "SELECTOR", requires = "changed_areas")]
    pub parent: Option<String>,
    /// How much of what is said to be unchanged is read and compared; 0: nothing [default: one segment in 30]
    #[arg(long, value_name = "N%", requires = "changed_areas")]
    pub audit: Option<AuditChoice>,
    /// Read everything, and tell what differs from the changed areas; without them everything is read anyway
    #[arg(long)]
    pub read_all: bool,
    /// Take a source as raw whatever it begins with
    #[arg(long, value_name = "FORMAT", value_parser = ["raw"])]
    pub format: Option<String>,
    /// A mark on the restore point
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Hold the new restore point: nobody forgets it until it is released
    #[arg(long, value_name = "REASON", conflicts_with = "dry_run", value_parser = NonEmptyStringValueParser::new())]
    pub hold: Option<String>,
    /// zstd level, or none
    #[arg(long, value_name = "LEVEL", default_value = "3", value_parser = units::parse_compression, allow_hyphen_values = true)]
    pub compression: Compression,
    /// Do all but writing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `strongroom list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only these VMs
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,
    /// Only the newest point of each VM at or before this time
    #[arg(long, value_name = "TIME", conflicts_with = "since")]
    pub at: Option<String>,
    /// Only points of this time or later
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only points with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Only the newest N points of each VM
    #[arg(long, value_name = "N")]
    pub latest: Option<u64>,
}

/// `strongroom show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Restore point: web01, web01@latest~1, web01@2026-11-20T02:00, or the beginning of an id
    #[arg(value_name = "SELECTOR")]
    pub selector: String,
    /// Print where each disk holds data
    #[arg(long)]
    pub extents: bool,
    /// Print the configuration record only; it may hold secrets
    #[arg(long, conflicts_with = "extents")]
    pub config: bool,
}

/// `strongroom diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Restore point before
    #[arg(value_name = "A")]
    pub before: String,
    /// Restore point after
    #[arg(value_name = "B")]
    pub after: String,
    /// Print the ranges that differ, as DISK OFFSET LENGTH
    #[arg(long)]
    pub extents: bool,
}

/// `strongroom restore`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("where").args(["to", "disks", "vm_home_out", "nvram_out"]).required(true).multiple(true))]
pub struct RestoreArgs {
    /// Restore point: web01, web01@latest~1, web01@2026-11-20T02:00, or the beginning of an id
    #[arg(value_name = "SELECTOR")]
    pub selector: String,
    /// Folder for the disks, made if needed; each becomes NAME.img
    #[arg(long, value_name = "FOLDER", conflicts_with = "disks")]
    pub to: Option<PathBuf>,
    /// A disk and where it goes: a file, a block device, or an NBD URI (nbd://, nbds://, nbd+unix://)
    #[arg(long = "disk", value_name = "NAME=TARGET")]
    pub disks: Vec<NamedPath>,
    /// The newest point at or before this time
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Replace what is there
    #[arg(long)]
    pub overwrite: bool,
    /// Change what is there where it lies: compare, and write only what differs
    #[arg(long, conflicts_with_all = ["overwrite", "to", "no_sparse"], requires = "disks")]
    pub in_place: bool,
    /// The restore point that the targets hold: what it shares with the other one is not even read
    #[arg(long, value_name = "SELECTOR", requires = "in_place")]
    pub base: Option<String>,
    /// What has changed on the targets since the base, in the forms of backup
    #[arg(long, value_name = "[DISK=]FILE", requires = "base")]
    pub changed_areas: Vec<String>,
    /// Reserve room for holes too
    #[arg(long)]
    pub no_sparse: bool,
    /// Write the VM home's document to this new file, byte for byte
    #[arg(long, value_name = "FILE")]
    pub vm_home_out: Option<PathBuf>,
    /// Write the NVRAM to this new file, byte for byte
    #[arg(long, value_name = "FILE")]
    pub nvram_out: Option<PathBuf>,
    /// Accept what the point lacks: stretches that could not be read become zeros
    #[arg(long, value_name = "WHAT", value_parser = ["bad-extents"])]
    pub accept_loss: Option<String>,
    /// Show the plan, write nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `strongroom serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Restore point: web01, web01@latest~1, web01@2026-11-20T02:00, or the beginning of an id
    #[arg(value_name = "SELECTOR")]
    pub selector: String,
    /// Only this disk [default: all]
    #[arg(long = "disk", value_name = "NAME")]
    pub disks: Vec<String>,
    /// Listen on a Unix socket that only you can use
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    pub socket: Option<PathBuf>,
    /// Listen on this address; port 0: any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:10809")]
    pub listen: String,
    /// Let clients write, into this file (it can be served again) or into memory
    #[arg(long, value_name = "FILE|memory")]
    pub overlay: Option<PathBuf>,
    /// Certificate for TLS, PEM; then no client is let in without TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let in only clients with a certificate of these authorities, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Option<PathBuf>,
    /// End when the last client has gone
    #[arg(long)]
    pub once: bool,
    /// Memory for what was opened last
    #[arg(long, value_name = "SIZE", default_value = "128M", value_parser = units::parse_size)]
    pub cache: u64,
}

/// `strongroom verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Only what these restore points need
    #[arg(value_name = "SELECTOR", conflicts_with = "no_key")]
    pub selectors: Vec<String>,
    /// Log, maps, index and presence of every pack (the default)
    #[arg(long, conflicts_with_all = ["read_data", "no_key"])]
    pub quick: bool,
    /// Read packs whole and hash every chunk again; N%: those read longest ago
    #[arg(long, value_name = "N%", num_args = 0..=1, require_equals = true, default_missing_value = "100%",
          conflicts_with = "no_key")]
    pub read_data: Option<Percent>,
    /// Mend damaged packs in passing, from their own parity
    #[arg(long, requires = "read_data")]
    pub repair: bool,
    /// What can be checked without a key: names, checksums, the chain of the log
    #[arg(long)]
    pub no_key: bool,
}

/// `strongroom stats`
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Only this VM
    #[arg(long, value_name = "NAME")]
    pub vm: Option<String>,
}

/// `strongroom key`
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What to do about key slots.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// List key slots
    List,
    /// Add a password or key file
    Add(KeyAddArgs),
    /// Change the password that opened the repository; the new slot is durable before the old one goes
    Change(KeyChangeArgs),
    /// Remove a key slot
    Remove(KeyRemoveArgs),
    /// Add a recovery key
    Recovery(KeyRecoveryArgs),
}

/// `strongroom key add`
#[derive(Debug, Args)]
pub struct KeyAddArgs {
    /// What the slot is called
    #[arg(long, value_name = "L", default_value = "")]
    pub label: String,
    /// File with the new password
    #[arg(long, value_name = "FILE", conflicts_with = "new_key_file")]
    pub new_password_file: Option<PathBuf>,
    /// File whose bytes shall open the repository
    #[arg(long, value_name = "FILE")]
    pub new_key_file: Option<PathBuf>,
    /// Memory that one guess at the password costs
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = units::parse_size)]
    pub kdf_memory: u64,
}

/// `strongroom key change`
#[derive(Debug, Args)]
pub struct KeyChangeArgs {
    /// File with the new password
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
    /// Memory that one guess at the password costs
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = units::parse_size)]
    pub kdf_memory: u64,
}

/// `strongroom key remove`
#[derive(Debug, Args)]
pub struct KeyRemoveArgs {
    /// The slot: the beginning of its id, or its label
    #[arg(value_name = "SLOT")]
    pub slot: String,
}

/// `strongroom key recovery`
#[derive(Debug, Args)]
pub struct KeyRecoveryArgs {
    /// Write the recovery key to this new file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `strongroom demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Work in this empty folder
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Leave everything there at the end
    #[arg(long)]
    pub keep: bool,
}

/// `strongroom completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// `strongroom generate`
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What to generate.
    #[command(subcommand)]
    pub what: GenerateWhat,
}

/// What to generate.
#[derive(Debug, Subcommand)]
pub enum GenerateWhat {
    /// JSON schemas of all results
    Schemas {
        /// Where to.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Where chunks end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ChunkerChoice {
    /// Whole 4 KiB blocks under a keyed hash
    Block,
    /// Rolling hash of bytes
    Fastcdc,
}

/// What to do about ranges that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BadChoice {
    /// Record them; the point is incomplete
    Keep,
    /// Commit nothing
    Fail,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
    /// elvish
    Elvish,
    /// PowerShell
    Powershell,
}

impl Shell {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
            Self::Elvish => "elvish",
            Self::Powershell => "powershell",
        }
    }
}

/// A share of the segments of a disk; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditChoice(pub u8);

impl FromStr for AuditChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('%').unwrap_or(text) {
            "0" => Ok(Self(0)),
            _ => units::parse_percent(text).map(Self),
        }
    }
}

/// `NAME=PATH`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPath {
    /// The disk's name.
    pub name: String,
    /// Where it is or goes.
    pub path: String,
}

impl FromStr for NamedPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(Self { name: name.to_owned(), path: path.to_owned() })
            }
            _ => Err("write NAME=PATH, as in disk0=/images/web01.img".to_owned()),
        }
    }
}

/// A share of the packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u8);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        units::parse_percent(text).map(Self)
    }
}
