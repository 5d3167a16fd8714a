//! `stand-in.toml`: what is served, and what goes wrong.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Folder whose raw files are served by the path behind `[datastore] `.
    pub root: PathBuf,
    /// What GetTransportMode says.
    pub mode: Option<String>,
    /// Paths of disks that are encrypted: not to be read over `san`.
    pub encrypted: Vec<String>,
    /// `denied`: Open of an encrypted disk answers 13.
    pub access: Option<String>,
    /// The only password that is let in.
    pub password: Option<String>,
    /// `Open:1`, `Read:16@28672`: function, code, sector.
    pub fail: Vec<String>,
    /// How often each of `fail` strikes; without end if absent.
    pub times: Option<u32>,
    /// Before each answer to a read or write.
    pub delay_ms: u64,
    /// `Read@sector`, `Open`: never answers.
    pub hang: Option<String>,
    /// `Read@sector`, `Open`: ends the process by SIGSEGV.
    pub crash: Option<String>,
    /// How often `crash` and `hang` strike, in all processes together; without end if absent.
    pub strikes: Option<u32>,
    /// Disks that may be open at a time in a process; one more is answered 2.
    pub max_open: Option<i64>,
    /// Longest request, in sectors.
    pub max_request: Option<u64>,
}

/// Where something strikes.
pub struct Strike {
    pub function: String,
    pub code: u64,
    pub sector: Option<u64>,
}

/// `Read:16@28672`, `Read@28672`, `Open:1`.
pub fn strike(text: &str) -> Strike {
    let (head, sector) = match text.split_once('@') {
        Some((head, sector)) => (head, Some(sector.parse().expect("a sector"))),
        None => (text, None),
    };
    let (function, code) = head.split_once(':').unwrap_or((head, "1"));
    Strike { function: function.to_owned(), code: code.parse().expect("a code"), sector }
}

impl Strike {
    pub fn hits(&self, function: &str, start: u64, count: u64) -> bool {
        self.function == function && self.sector.is_none_or(|sector| (start..start + count).contains(&sector))
    }
}

/// How often each fault has struck in this process.
#[derive(Default)]
pub struct Struck(pub BTreeMap<String, u32>);
