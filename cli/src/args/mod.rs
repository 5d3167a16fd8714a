//! The command line, read by clap; no other room knows clap.
//!
//! Each long option has one spelling; options may stand before or after the command; no option takes a secret.

mod commands;
mod copy;
mod global;
mod not_built;
mod repair;
mod retention;
mod vsphere;

use std::{ffi::OsString, io::Write};

use clap::{
    CommandFactory, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

pub use commands::{
    AuditChoice, BackupArgs, BadChoice, ChunkerChoice, CompletionsArgs, DemoArgs, DiffArgs, GenerateArgs, GenerateWhat,
    InitArgs, KeyArgs, KeyCommand, ListArgs, NamedPath, RestoreArgs, ServeArgs, Shell, ShowArgs, StatsArgs, VerifyArgs,
};
pub use copy::{CopyArgs, FromArgs};
pub use global::{ColorChoice, GlobalArgs, ProgressChoice};
pub use repair::{RepairArgs, RepairWhat};
pub use retention::{ForgetArgs, HoldArgs, PruneArgs, ReleaseArgs, RetentionCommand};
pub use vsphere::{
    CleanupArgs, DiskAccessArgs, DoctorArgs, EncryptionChoice, InventoryArgs, PlanArgs, QuiesceChoice, VcenterArgs,
    VsphereArgs, VsphereBackupArgs, VsphereCommand, VsphereRestoreArgs, WishArgs,
};

use crate::{exit::Exit, failure::Failure};

/// What was typed.
#[derive(Debug, Parser)]
#[command(
    name = "strongroom",
    version,
    about = "Backs up virtual machine disks: deduplicated, encrypted, verifiable",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 done but look at it, 4 damaged, 5 refused, \
                  6 try later, 10 no repository, 11 busy, 12 wrong key, 13 history, 14 not supported, 130 interrupted",
    disable_help_subcommand = false,
    max_term_width = 120
)]
pub struct Args {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a repository
    Init(InitArgs),
    /// Back up the disks of a VM: all of them become one restore point, or none
    Backup(BackupArgs),
    /// List restore points
    #[command(visible_aliases = ["snapshots", "points"])]
    List(ListArgs),
    /// Show one restore point in full
    Show(ShowArgs),
    /// Show what differs between two restore points
    Diff(DiffArgs),
    /// Bring disks of a restore point back
    Restore(RestoreArgs),
    /// Show the disks of a restore point as NBD exports, without restoring them
    Serve(ServeArgs),
    /// Prove that what is stored can be restored
    Verify(VerifyArgs),
    /// Show what the repository holds and what that takes
    Stats(StatsArgs),
    /// Copy restore points of another repository into this one
    Copy(CopyArgs),
    /// Mend what is damaged, from parity, a copy or another repository; nothing is ever removed
    Repair(RepairArgs),
    /// Forget, hold, release, prune.
    #[command(flatten)]
    Retention(RetentionCommand),
    /// VMs of a vCenter: check, back up, plan, bring back
    Vsphere(Box<VsphereArgs>),
    /// Key slots: who can open the repository
    Key(KeyArgs),
    /// A tour on a sample VM in a temporary folder
    Demo(DemoArgs),
    /// Print a completion script
    Completions(CompletionsArgs),
    /// Show version, formats and features
    Version,
    /// Generate files from the program itself
    #[command(hide = true)]
    Generate(GenerateArgs),
}

impl Command {
    /// The word in the name of the result's schema.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Backup(_) => "backup",
            Self::List(_) => "list",
            Self::Show(_) => "show",
            Self::Diff(_) => "diff",
            Self::Restore(_) => "restore",
            Self::Serve(_) => "serve",
            Self::Verify(_) => "verify",
            Self::Stats(_) => "stats",
            Self::Copy(_) => "copy",
            Self::Repair(_) => "repair",
            Self::Retention(RetentionCommand::Forget(_)) => "forget",
            Self::Retention(RetentionCommand::Hold(_)) => "hold",
            Self::Retention(RetentionCommand::Release(_)) => "release",
            Self::Retention(RetentionCommand::Prune(_)) => "prune",
            Self::Vsphere(args) => args.command.word(),
            Self::Key(_) => "key",
            Self::Demo(_) => "demo",
            Self::Completions(_) => "completions",
            Self::Version => "version",
            Self::Generate(_) => "generate",
        }
    }
}

/// What the command line comes to.
pub enum Parsed {
    /// A command to run.
    Run(Box<Args>),
    /// Help or version was asked for: this text goes to standard output.
    Text(String),
    /// It is wrong.
    Wrong {
        /// The command it was for, as far as that can be told.
        command: &'static str,
        /// Whether the answer shall be a document.
        json: bool,
        /// What is wrong.
        failure: Failure,
    },
}

/// Reads a command line.
pub fn parse(words: &[OsString]) -> Parsed {
    let error = match Args::try_parse_from(words) {
        Ok(args) => match refuse_not_built(&args) {
            Ok(()) => return Parsed::Run(Box::new(args)),
            Err(failure) => {
                return Parsed::Wrong { command: args.command.word(), json: args.global.json.is_some(), failure };
            }
        },
        Err(error) => error,
    };
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Parsed::Text(error.render().to_string());
    }
    let typed: Vec<&str> =
        words.iter().skip(1).filter_map(|word| word.to_str()).take_while(|word| *word != "--").collect();
    let json = typed.iter().any(|word| *word == "--json" || word.starts_with("--json="));
    Parsed::Wrong { command: command_among(&typed), json, failure: failure_of(&error, &typed) }
}

/// Writes a completion script.
pub fn completions(shell: Shell, out: &mut dyn Write) {
    let mut out = out;
    let generator = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Elvish => clap_complete::Shell::Elvish,
        Shell::Powershell => clap_complete::Shell::PowerShell,
    };
    clap_complete::generate(generator, &mut Args::command(), "strongroom", &mut out);
}

/// Values that the grammar allows and this version has not built.
fn refuse_not_built(args: &Args) -> Result<(), Failure> {
    if args.global.json.is_some_and(|version| version != 1) {
        return Err(Failure::invalid("only version 1 of the documents exists", "--json or --json=1"));
    }
    not_built::variables(&|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn command_among(typed: &[&str]) -> &'static str {
    let names = Args::command();
    let found = names.get_subcommands().find(|known| {
        typed.iter().any(|word| *word == known.get_name() || known.get_all_aliases().any(|alias| alias == *word))
    });
    match found.map(clap::Command::get_name) {
        Some("init") => "init",
        Some("backup") => "backup",
        Some("list") => "list",
        Some("show") => "show",
        Some("diff") => "diff",
        Some("restore") => "restore",
        Some("serve") => "serve",
        Some("verify") => "verify",
        Some("stats") => "stats",
        Some("copy") => "copy",
        Some("repair") => "repair",
        Some("forget") => "forget",
        Some("hold") => "hold",
        Some("release") => "release",
        Some("prune") => "prune",
        Some("vsphere") => vsphere::word_among(typed),
        Some("key") => "key",
        Some("demo") => "demo",
        Some("completions") => "completions",
        Some("version") => "version",
        _ => "strongroom",
    }
}

/// Our three texts from clap's error; a word that is only not built yet is told apart from a wrong one.
fn failure_of(error: &clap::Error, typed: &[&str]) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let word = context(ContextKind::InvalidSubcommand).or_else(|| context(ContextKind::InvalidArg));
    if let Some(word) = &word
        && matches!(error.kind(), ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument)
        && let Some(named) = not_built::word(word, typed)
    {
        return Failure::not_built(&named);
    }
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or("the command line is wrong");
    let what = what.strip_prefix("error: ").unwrap_or(what).trim_end_matches('.');
    let missing: Vec<&str> = match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            text.lines().skip(1).take_while(|line| line.starts_with("  ")).map(str::trim).collect()
        }
        _ => Vec::new(),
    };
    let what = if missing.is_empty() { what.to_owned() } else { format!("{what} {}", missing.join(", ")) };
    let what = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        "a command is missing".to_owned()
    } else {
        what
    };
    let suggested = context(ContextKind::SuggestedSubcommand).or_else(|| context(ContextKind::SuggestedArg));
    let command = command_among(typed);
    let advice = match suggested {
        Some(near) => format!("did you mean {near}?"),
        None if command == "strongroom" => "strongroom --help".to_owned(),
        None => format!("strongroom {command} --help"),
    };
    Failure::new(Exit::Invalid, what, "the command line", advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> (Exit, String, bool) {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        match parse(&words) {
            Parsed::Wrong { failure, json, .. } => (failure.exit, failure.what, json),
            _ => panic!("{line} was accepted"),
        }
    }

    #[test]
    fn the_tree_of_commands_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn words_of_later_versions_end_with_14() {
        for line in [
            "strongroom hooks",
            "strongroom mount",
            "strongroom key rotate",
            "strongroom backup x.img --limit-upload 1M",
            "strongroom verify --boot",
            "strongroom verify --since-head 00",
            "strongroom list --limit-upload 1M",
        ] {
            assert_eq!(wrong(line).0, Exit::Unsupported, "{line}: {}", wrong(line).1);
        }
    }

    #[test]
    fn wrong_lines_end_with_2_and_say_so_in_either_form() {
        for line in [
            "strongroom",
            "strongroom lits",
            "strongroom list --no-such",
            "strongroom verify --read-data=0%",
            "strongroom verify --quick --read-data",
            "strongroom restore web01",
            "strongroom restore web01 --to a --disk disk0=b",
            "strongroom backup",
            "strongroom list --json=2",
            "strongroom backup x.img --changed-areas a.json",
            "strongroom backup x.img --parent web01",
            "strongroom backup x.img --audit 5%",
            "strongroom backup x.img --changed-areas a.json --parent web01 --audit 101%",
            "strongroom restore web01 --disk a=b --base web01",
            "strongroom restore web01 --disk a=b --in-place --overwrite",
            "strongroom restore web01 --disk a=b --in-place --changed-areas c",
        ] {
            assert_eq!(wrong(line).0, Exit::Invalid, "{line}: {}", wrong(line).1);
        }
        assert!(wrong("strongroom lits --json").2);
        assert!(!wrong("strongroom lits -- --json").2);
    }

    #[test]
    fn options_may_stand_before_or_after_the_command() {
        for line in ["strongroom -r /r --json list web01", "strongroom list web01 -r /r --json"] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let Parsed::Run(args) = parse(&words) else { panic!("{line}") };
            assert_eq!((args.global.repo.as_deref(), args.global.json), (Some("/r"), Some(1)));
        }
    }
}
