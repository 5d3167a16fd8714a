//! Options of the commands that decide what stays: forget, hold, release, prune.

use std::str::FromStr;

use clap::{Args, Subcommand};
use engine::Keep;
use jiff::Span;

use crate::units;

use super::commands::Percent;

/// `strongroom forget`
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// Restore points by name: web01@latest~1, an id; a VM's name alone means all of its points
    #[arg(value_name = "SELECTOR", conflicts_with = "vms")]
    pub selectors: Vec<String>,
    /// Apply the rules to this VM only
    #[arg(long = "vm", value_name = "NAME")]
    pub vms: Vec<String>,
    /// Rules.
    #[command(flatten)]
    pub rules: RuleArgs,
    /// Points younger than this stay, unless named by id
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = units::parse_duration_ms)]
    pub min_age: u64,
    /// Say how many bytes that frees: walks all points twice
    #[arg(long)]
    pub cost: bool,
    /// Consent to more than half of a VM's points, or its last whole one: how many points go in all
    #[arg(long, value_name = "COUNT")]
    pub allow_mass_forget: Option<u64>,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Give the space back in the same run, as strongroom prune does
    #[arg(long)]
    pub prune: bool,
    /// Show what would go and what stays, and why; change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How to prune.
    #[command(flatten, next_help_heading = "With --prune")]
    pub pruning: PruneOptionArgs,
}

/// What stays of each VM.
#[derive(Debug, Args)]
#[group(id = "rules", multiple = true, conflicts_with = "selectors")]
pub struct RuleArgs {
    /// The newest N points
    #[arg(long, value_name = "N|unlimited")]
    pub keep_last: Option<Count>,
    /// The newest point of each of the newest N hours that have any
    #[arg(long, value_name = "N|unlimited")]
    pub keep_hourly: Option<Count>,
    /// … days
    #[arg(long, value_name = "N|unlimited")]
    pub keep_daily: Option<Count>,
    /// … weeks, from Monday
    #[arg(long, value_name = "N|unlimited")]
    pub keep_weekly: Option<Count>,
    /// … months
    #[arg(long, value_name = "N|unlimited")]
    pub keep_monthly: Option<Count>,
    /// … years
    #[arg(long, value_name = "N|unlimited")]
    pub keep_yearly: Option<Count>,
    /// All points at most so much older than the VM's newest: 14d, 1y6mo
    #[arg(long, value_name = "DURATION", value_parser = units::parse_span)]
    pub keep_within: Option<Span>,
    /// The newest point of each hour within this
    #[arg(long, value_name = "DURATION", value_parser = units::parse_span)]
    pub keep_within_hourly: Option<Span>,
    /// … day
    #[arg(long, value_name = "DURATION", value_parser = units::parse_span)]
    pub keep_within_daily: Option<Span>,
    /// … week
    #[arg(long, value_name = "DURATION", value_parser = units::parse_span)]
    pub keep_within_weekly: Option<Span>,
    /// … month
    #[arg(long, value_name = "DURATION", value_parser = units::parse_span)]
    pub keep_within_monthly: Option<Span>,
    /// … year
    #[arg(long, value_name = "DURATION", value_parser = units::parse_span)]
    pub keep_within_yearly: Option<Span>,
}

impl RuleArgs {
    /// Whether any rule was typed.
    pub fn are_given(&self) -> bool {
        let counts = [self.keep_last, self.keep_hourly, self.keep_daily, self.keep_weekly, self.keep_monthly];
        let spans = [&self.keep_within, &self.keep_within_hourly, &self.keep_within_daily, &self.keep_within_weekly];
        counts.iter().any(Option::is_some)
            || self.keep_yearly.is_some()
            || spans.iter().any(|span| span.is_some())
            || self.keep_within_monthly.is_some()
            || self.keep_within_yearly.is_some()
    }

    /// The rules, for the engine.
    pub fn rules(&self, min_age_ms: u64) -> engine::Rules {
        let keep = |count: Option<Count>| count.map_or(Keep::Nothing, |count| count.0);
        engine::Rules {
            last: keep(self.keep_last),
            periods: [
                keep(self.keep_hourly),
                keep(self.keep_daily),
                keep(self.keep_weekly),
                keep(self.keep_monthly),
                keep(self.keep_yearly),
            ],
            within: self.keep_within,
            within_periods: [
                self.keep_within_hourly,
                self.keep_within_daily,
                self.keep_within_weekly,
                self.keep_within_monthly,
                self.keep_within_yearly,
            ],
            min_age_ms,
        }
    }
}

/// How many a rule keeps.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub Keep);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unlimited" => Ok(Self(Keep::Unlimited)),
            _ => match text.parse() {
                Ok(count) => Ok(Self(Keep::Count(count))),
                Err(_) => Err(format!("{text:?} is not a count: write a number, or unlimited")),
            },
        }
    }
}

/// `strongroom hold`
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// Restore points; a VM's name alone means all of its points
    #[arg(value_name = "SELECTOR", required = true)]
    pub selectors: Vec<String>,
    /// Why they must stay
    #[arg(long, value_name = "TEXT", required = true)]
    pub reason: String,
    /// Until when, as advice to whoever releases them
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// `strongroom release`
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// Restore points; a VM's name alone means all of its points
    #[arg(value_name = "SELECTOR", required = true)]
    pub selectors: Vec<String>,
}

/// How to prune: the options of `strongroom prune`, and of `forget --prune`.
#[derive(Clone, Debug, Args)]
pub struct PruneOptionArgs {
    /// Rewrite packs of which less than this share is needed [default: 50%]
    #[arg(long, value_name = "N%")]
    pub repack_below: Option<Percent>,
    /// Rewrite at most so much
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    pub max_repack: Option<u64>,
    /// Time between giving a pack up and removing it: a courtesy to restores under way [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration_ms)]
    pub grace: Option<u64>,
    /// zstd level of what is rewritten, or none [default: 3]
    #[arg(long, value_name = "LEVEL", value_parser = units::parse_compression, allow_hyphen_values = true)]
    pub compression: Option<repo_format::Compression>,
}

impl PruneOptionArgs {
    /// Whether any is given.
    pub fn are_given(&self) -> bool {
        let Self { repack_below, max_repack, grace, compression } = self;
        repack_below.is_some() || max_repack.is_some() || grace.is_some() || compression.is_some()
    }

    /// For the engine, with its defaults for what is not given.
    pub fn options(&self, threads: usize) -> engine::PruneOptions {
        let default = engine::PruneOptions::default();
        engine::PruneOptions {
            repack_below_percent: self.repack_below.map_or(default.repack_below_percent, |percent| percent.0),
            max_repack_bytes: self.max_repack.or(default.max_repack_bytes),
            grace_ms: self.grace.unwrap_or(default.grace_ms),
            compression: self.compression.unwrap_or(default.compression),
            threads,
        }
    }
}

/// `strongroom prune`
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// How to prune.
    #[command(flatten)]
    pub pruning: PruneOptionArgs,
    /// Show the plan, change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// What the commands of this room are, for the table of commands.
#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Take restore points off the list, by rules or by name
    Forget(Box<ForgetArgs>),
    /// Keep restore points from being forgotten
    Hold(HoldArgs),
    /// Let held restore points be forgotten again
    Release(ReleaseArgs),
    /// Give back the space of what nothing needs, while backups run
    Prune(PruneArgs),
}
