//! Key, bundle and NVRAM of one moment, and everything else that surrounds the disks.
//!
//! They are worth something together only. So the configuration is read, then NVRAM, then the configuration again: if the keys
//! are the same, all three are of one moment. They are looked at once more when the disks are stored.

use std::cell::{OnceCell, RefCell};

use engine::{CapturedHome, HomeSource, HomeSourceError};
use repo_format::{Digest, FileName};
use zeroize::Zeroizing;

use super::{LookError, Note, SeenVm, VmBackupError, disks::OpenDisks, snapshot::TakenSnapshot};
use crate::{
    datastore_file::read_nvram,
    inventory::capture_properties,
    properties::Properties,
    session::Session,
    vm_home::{Captured, HomeFacts, SavedFile, VmConfig, capture_home},
};

/// How often it is tried to read the three in one moment.
const TRIES: u32 = 3;

/// What was read at once.
struct Moment {
    properties: Properties,
    config: VmConfig,
    nvram: SavedFile,
    /// They are not of one moment: what was seen.
    torn: Option<String>,
}

/// The home of a VM that is being backed up.
pub(super) struct HomeOfOneMoment<'b> {
    session: &'b Session,
    seen: &'b SeenVm<'b>,
    snapshot: &'b TakenSnapshot,
    open: &'b OpenDisks,
    first: RefCell<Option<Moment>>,
    captured: OnceCell<CapturedHome>,
    notes: RefCell<Vec<Note>>,
}

impl<'b> HomeOfOneMoment<'b> {
    /// Reads everything a first time, right behind the snapshot.
    pub(super) fn begin(
        session: &'b Session,
        seen: &'b SeenVm<'b>,
        snapshot: &'b TakenSnapshot,
        open: &'b OpenDisks,
    ) -> Result<Self, VmBackupError> {
        let first =
            Moment::read(session, seen).map_err(|source| VmBackupError::Look { vm: seen.name().to_owned(), source })?;
        Ok(Self {
            session,
            seen,
            snapshot,
            open,
            first: RefCell::new(Some(first)),
            captured: OnceCell::new(),
            notes: RefCell::default(),
        })
    }

    /// What a person should know of it.
    pub(super) fn notes(&self) -> Vec<Note> {
        self.notes.take()
    }

    fn capture(&self) -> Result<CapturedHome, LookError> {
        let moment = match self.first.take() {
            Some(first) if first.config.is_encrypted() => self.confirm(first)?,
            Some(first) => first,
            None => Moment::read(self.session, self.seen)?,
        };
        let mut identity = self.seen.identity.clone();
        identity.reader = self.open.reader().to_owned();
        identity.captured_at = jiff::Timestamp::now();
        let facts = HomeFacts {
            identity,
            config: moment.properties.raw_xml("config")?,
            snapshot_config: Some(self.snapshot.raw_config.clone()),
            layout: moment.properties.raw_xml("layoutEx").ok(),
            policies: self.seen.policies.clone(),
            nvram: moment.nvram,
            network_names: self.seen.network_names.clone(),
            transports: self.open.transports(),
            skipped: self.open.skipped().clone(),
            quiet: self.snapshot.quiet.clone(),
            torn: moment.torn,
        };
        let Captured { home, findings, .. } = capture_home(facts)?;
        let say = |finding: &crate::vm_home::CaptureFinding| {
            Note::attention("vm_home", format!("{}: {finding}", self.seen.name()))
        };
        self.notes.borrow_mut().extend(findings.iter().map(say));
        Ok(home)
    }

    /// Looks again: what was read first stands if nothing has changed; else the last that is of one moment.
    fn confirm(&self, first: Moment) -> Result<Moment, LookError> {
        let again = Moment::read(self.session, self.seen)?;
        if first.torn.is_none() && first.says_the_same_as(&again) {
            return Ok(first);
        }
        let text = format!("{}: keys or NVRAM changed while its disks were read", self.seen.name());
        self.notes.borrow_mut().push(Note::say("home_changed", text));
        Ok(if again.torn.is_none() || first.torn.is_some() { again } else { first })
    }
}

impl HomeSource for &HomeOfOneMoment<'_> {
    fn home(&self) -> Result<&CapturedHome, HomeSourceError> {
        if let Some(captured) = self.captured.get() {
            return Ok(captured);
        }
        let captured = self
            .capture()
            .map_err(|error| HomeSourceError::new(format_args!("{}: {error}", self.seen.name()), error.kind()))?;
        Ok(self.captured.get_or_init(|| captured))
    }
}

impl Moment {
    fn read(session: &Session, seen: &SeenVm<'_>) -> Result<Self, LookError> {
        let mut tries = 1;
        loop {
            let properties = capture_properties(session, seen.object())?;
            let config = VmConfig::read(properties.require("config")?)?;
            let nvram = nvram(session, seen, &properties, &config);
            let after = capture_properties(session, seen.object())?;
            let after = VmConfig::read(after.require("config")?)?;
            if config.has_the_keys_of(&after) {
                return Ok(Self { properties, config, nvram, torn: None });
            }
            if tries == TRIES {
                let torn = Some(format!("the VM's key changed during each of {TRIES} readings"));
                return Ok(Self { properties, config, nvram, torn });
            }
            tries += 1;
        }
    }

    fn says_the_same_as(&self, other: &Self) -> bool {
        let content = |nvram: &SavedFile| match nvram {
            SavedFile::Saved { content, .. } => Some(Digest::of(content)),
            SavedFile::NeverStarted | SavedFile::Absent { .. } => None,
        };
        self.config.has_the_keys_of(&other.config) && content(&self.nvram) == content(&other.nvram)
    }
}

/// The NVRAM file. That it cannot be had is no error of the backup: it is said.
fn nvram(session: &Session, seen: &SeenVm<'_>, properties: &Properties, config: &VmConfig) -> SavedFile {
    match read_nvram(session, &seen.identity.dc_path, properties) {
        Ok(Some((place, content))) => match FileName::new(place.file_name()) {
            Ok(file_name) => SavedFile::Saved { file_name, content: Zeroizing::new(content) },
            Err(_) => match FileName::new("vm.nvram") {
                Ok(file_name) => SavedFile::Saved { file_name, content: Zeroizing::new(content) },
                Err(error) => SavedFile::Absent { why: error.to_string() },
            },
        },
        // What a VM that runs, or one with secrets, should have and has not is missing: nobody must take that for "as it was".
        Ok(None) if config.is_encrypted() || !seen.is_off() => {
            SavedFile::Absent { why: "there is no NVRAM file beside the VM's configuration".to_owned() }
        }
        Ok(None) => SavedFile::NeverStarted,
        Err(error) => SavedFile::Absent { why: error.to_string() },
    }
}
