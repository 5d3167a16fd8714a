//! Options of `strongroom vsphere`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};

use super::commands::{AuditChoice, BadChoice};
use crate::{secrets::SecretFlags, units};

/// `strongroom vsphere`
#[derive(Debug, Args)]
pub struct VsphereArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: VsphereCommand,
}

/// The commands against a vCenter.
#[derive(Debug, Subcommand)]
pub enum VsphereCommand {
    /// Check everything that a backup needs, change nothing
    Doctor(DoctorArgs),
    /// List VMs: which are encrypted, by which key, and their last restore point
    Inventory(InventoryArgs),
    /// Back up VMs, encrypted ones included
    Backup(VsphereBackupArgs),
    /// Show what a restore would bring back, with which keys, and what is lost
    Plan(PlanArgs),
    /// Bring a VM back
    Restore(VsphereRestoreArgs),
    /// Undo what killed runs have left in vCenter
    Cleanup(CleanupArgs),
}

impl VsphereCommand {
    /// The word in the name of the result's schema.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Doctor(_) => "vsphere.doctor",
            Self::Inventory(_) => "vsphere.inventory",
            Self::Backup(_) => "vsphere.backup",
            Self::Plan(_) => "vsphere.plan",
            Self::Restore(_) => "vsphere.restore",
            Self::Cleanup(_) => "vsphere.cleanup",
        }
    }
}

/// The same of a line that cannot be read.
pub fn word_among(typed: &[&str]) -> &'static str {
    match typed.iter().skip_while(|word| **word != "vsphere").nth(1) {
        Some(&"doctor") => "vsphere.doctor",
        Some(&"inventory") => "vsphere.inventory",
        Some(&"backup") => "vsphere.backup",
        Some(&"plan") => "vsphere.plan",
        Some(&"restore") => "vsphere.restore",
        Some(&"cleanup") => "vsphere.cleanup",
        _ => "strongroom",
    }
}

/// Which vCenter, and how it is logged in to.
#[derive(Clone, Debug, Args)]
pub struct VcenterArgs {
    /// vCenter: HOST or HOST:PORT
    #[arg(long, value_name = "HOST", env = "STRONGROOM_VCENTER", hide_env = true, help_heading = VCENTER)]
    pub vcenter: String,
    /// User
    #[arg(long, value_name = "USER", env = "STRONGROOM_VCENTER_USER", hide_env = true, help_heading = VCENTER)]
    pub vcenter_user: String,
    /// File with the user's password
    #[arg(long, value_name = "FILE", help_heading = VCENTER)]
    pub vcenter_password_file: Option<PathBuf>,
    /// Command that prints the user's password
    #[arg(long, value_name = "CMD", help_heading = VCENTER)]
    pub vcenter_password_command: Option<String>,
    /// SHA-256 of the certificate [default: that of the first contact]
    #[arg(long, value_name = "HEX", env = "STRONGROOM_VCENTER_THUMBPRINT", hide_env = true, help_heading = VCENTER)]
    pub vcenter_thumbprint: Option<String>,
}

const VCENTER: &str = "vCenter";
const DISKS: &str = "Disks";

impl VcenterArgs {
    /// Where the password comes from, as far as the command line says.
    pub fn secrets(&self) -> SecretFlags {
        SecretFlags {
            password_file: self.vcenter_password_file.clone(),
            password_command: self.vcenter_password_command.clone(),
            ..SecretFlags::default()
        }
    }
}

/// How disks are read and written.
#[derive(Clone, Debug, Args)]
pub struct DiskAccessArgs {
    /// vddk, or nbd:URI with {vm} {disk} {key}: an NBD server that somebody else runs
    #[arg(long, value_name = "READER", default_value = "vddk", help_heading = DISKS)]
    pub reader: String,
    /// Command that serves one disk over NBD, with {vm} {snapshot} {path} {server} {user} {password_file} {thumbprint}
    /// {libdir} {socket}; split by shell rules, run without a shell
    #[arg(long, value_name = "CMD", conflicts_with = "reader", help_heading = DISKS)]
    pub reader_command: Option<String>,
    /// Folder of VMware's Virtual Disk Development Kit
    #[arg(long, value_name = "DIR", env = "STRONGROOM_VDDK_LIBDIR", hide_env = true, help_heading = DISKS)]
    pub vddk_libdir: Option<PathBuf>,
    /// Transports in the order they are tried; san and nbd are refused for encrypted disks
    #[arg(long, value_name = "LIST", default_value = "nbdssl", help_heading = DISKS)]
    pub transport: String,
}

/// `strongroom vsphere doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Where.
    #[command(flatten)]
    pub vcenter: VcenterArgs,
    /// How disks would be read.
    #[command(flatten)]
    pub disks: DiskAccessArgs,
    /// VMs to check [default: all]
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,
    /// How quiet a backup would make guests for the snapshot
    #[arg(long, value_name = "HOW", default_value = "file-system")]
    pub quiesce: QuiesceChoice,
    /// Check every restore point of the repository against the keys and policies of today
    #[arg(long, conflicts_with = "vms")]
    pub points: bool,
}

/// `strongroom vsphere inventory`
#[derive(Debug, Args)]
pub struct InventoryArgs {
    /// Where.
    #[command(flatten)]
    pub vcenter: VcenterArgs,
    /// VMs [default: all]
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,
}

/// How quiet a guest is to be for the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QuiesceChoice {
    /// As after a power cut
    None,
    /// File systems flushed
    FileSystem,
    /// Applications too; never of encrypted VMs
    Application,
}

/// `strongroom vsphere backup`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["vms", "all"]).required(true))]
pub struct VsphereBackupArgs {
    /// Where.
    #[command(flatten)]
    pub vcenter: VcenterArgs,
    /// How disks are read.
    #[command(flatten)]
    pub disks: DiskAccessArgs,
    /// VMs by name, inventory path, instance uuid or managed object id
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,
    /// All VMs but templates
    #[arg(long)]
    pub all: bool,
    /// Not these; * stands for anything
    #[arg(long, value_name = "PATTERN", requires = "all")]
    pub exclude: Vec<String>,
    /// How quiet the guest is made for the snapshot
    #[arg(long, value_name = "HOW", default_value = "file-system")]
    pub quiesce: QuiesceChoice,
    /// Fail rather than back up a guest that could not be made quiet
    #[arg(long)]
    pub require_quiesce: bool,
    /// Give a backup up whose snapshot is older than this
    #[arg(long, value_name = "DURATION", default_value = "12h", value_parser = units::parse_duration_ms)]
    pub snapshot_age_max: u64,
    /// Give a backup up, or do not begin it, when a datastore of the VM has less than this free
    #[arg(long, value_name = "N%", default_value = "5%", value_parser = units::parse_percent)]
    pub datastore_free_min: u8,
    /// Leave change tracking off where it is off: every night reads the whole disk
    #[arg(long)]
    pub no_enable_cbt: bool,
    /// Read everything, and tell what change tracking has missed
    #[arg(long)]
    pub read_all: bool,
    /// How much of what is said to be unchanged is read and compared; 0: nothing [default: one segment in 30]
    #[arg(long, value_name = "N%")]
    pub audit: Option<AuditChoice>,
    /// Ranges that cannot be read: keep the rest, or fail
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    pub on_bad: BadChoice,
    /// A mark on the restore points
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Hold the new restore points: nobody forgets them until they are released
    #[arg(long, value_name = "REASON", conflicts_with = "dry_run", value_parser = NonEmptyStringValueParser::new())]
    pub hold: Option<String>,
    /// zstd level, or none
    #[arg(long, value_name = "LEVEL", default_value = "3", value_parser = units::parse_compression, allow_hyphen_values = true)]
    pub compression: repo_format::Compression,
    /// Check and show what would be done, change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// What becomes of the encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EncryptionChoice {
    /// The keys the VM had
    SameKeys,
    /// New keys: NVRAM and vTPM content are lost
    NewKeys,
    /// In the clear: NVRAM and vTPM content are lost
    None,
}

/// What the operator wishes of a recovery; the same for the plan and the deed.
#[derive(Clone, Debug, Args)]
pub struct WishArgs {
    /// What becomes of the encryption
    #[arg(long, value_name = "HOW", default_value = "same-keys")]
    pub vm_encryption: EncryptionChoice,
    /// Storage policy for what is encrypted and whose own policy is gone; sample: VMware's
    #[arg(long, value_name = "NAME")]
    pub storage_policy: Option<String>,
    /// The key provider is called otherwise here
    #[arg(long, value_name = "OLD=NEW")]
    pub key_provider: Vec<String>,
    /// The network is called otherwise here
    #[arg(long, value_name = "OLD=NEW")]
    pub network: Vec<String>,
    /// What may be lost, by name: nvram, vtpm, encryption
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub accept_loss: Vec<String>,
    /// Bring it back although it will not power on before its key can be had
    #[arg(long)]
    pub allow_unbootable: bool,
    /// TOML file: datastore, folder, pool, networks, policies, key providers
    #[arg(long, value_name = "FILE")]
    pub map: Option<PathBuf>,
    /// The VM's new name [default: its own]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Datastore
    #[arg(long, value_name = "NAME")]
    pub datastore: Option<String>,
    /// Folder, as an inventory path
    #[arg(long, value_name = "PATH")]
    pub folder: Option<String>,
    /// Resource pool or cluster, as an inventory path
    #[arg(long, value_name = "PATH")]
    pub pool: Option<String>,
}

/// `strongroom vsphere plan`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["selector", "all"]).required(true))]
pub struct PlanArgs {
    /// Where.
    #[command(flatten)]
    pub vcenter: VcenterArgs,
    /// How.
    #[command(flatten)]
    pub wish: WishArgs,
    /// Restore point: an id, VM, VM@latest, VM@TIME
    #[arg(value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// The newest point of every VM
    #[arg(long)]
    pub all: bool,
}

/// `strongroom vsphere restore`
#[derive(Debug, Args)]
pub struct VsphereRestoreArgs {
    /// Where.
    #[command(flatten)]
    pub vcenter: VcenterArgs,
    /// How disks are written.
    #[command(flatten)]
    pub disks: DiskAccessArgs,
    /// How.
    #[command(flatten)]
    pub wish: WishArgs,
    /// Restore point: an id, VM, VM@latest, VM@TIME
    #[arg(value_name = "SELECTOR")]
    pub selector: String,
    /// The newest point of this time or before
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Change the disks of the VM that is there, powered off, to what they were; write only what differs
    #[arg(long, conflicts_with_all = ["name", "folder", "pool", "datastore", "map", "network", "storage_policy",
        "key_provider", "allow_unbootable", "power_on", "vm_encryption"])]
    pub in_place: bool,
    /// Power the VM on when it is whole
    #[arg(long)]
    pub power_on: bool,
    /// Read the disks back and compare
    #[arg(long)]
    pub verify_after: bool,
    /// Show the plan, change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `strongroom vsphere cleanup`
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// Where.
    #[command(flatten)]
    pub vcenter: VcenterArgs,
    /// Show what would be undone
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}
