//! The disks of a snapshot, open for reading.

use std::collections::BTreeMap;

use engine::{DiskSource, JobDisk, NbdOptions, NbdSource, NbdUri};

use super::{
    Note, Reader, SeenVm, VmBackupError, VmBackupOptions,
    look::state_of,
    reader_command::{Blanks, CommandDisk, keeps_to_nbdssl},
    snapshot::TakenSnapshot,
};
use crate::{
    disk::{DiskPlace, VddkDisk, VddkVm},
    session::Session,
    transport::Access,
    vddk::{Launch, VmAccess, VmLogin},
    vm_home::ConfigDisk,
};

/// What reads a disk.
enum Source {
    Vddk(VddkDisk),
    Nbd(NbdSource),
    Command(CommandDisk),
}

impl Source {
    fn as_source(&self) -> &dyn DiskSource {
        match self {
            Self::Vddk(disk) => disk,
            Self::Nbd(source) => source,
            Self::Command(source) => source,
        }
    }
}

/// The disks of one VM.
pub(super) struct OpenDisks {
    disks: Vec<(ConfigDisk, Source)>,
    /// Why others are not here, by device key.
    skipped: BTreeMap<i32, String>,
    reader: &'static str,
    library: Option<VddkVm>,
}

impl OpenDisks {
    pub(super) fn open(
        session: &Session,
        seen: &SeenVm<'_>,
        snapshot: &TakenSnapshot,
        options: &VmBackupOptions,
        notes: &mut Vec<Note>,
    ) -> Result<Self, VmBackupError> {
        let library = match &options.reader {
            Reader::Vddk(launch) => Some(start(session, seen, snapshot, launch)?),
            Reader::Nbd(_) | Reader::Command { .. } => None,
        };
        let reader = options.reader.word();
        let mut open = Self { disks: Vec::new(), skipped: BTreeMap::new(), reader, library };
        for disk in &snapshot.config.disks {
            if let Err(reason) = disk.readable() {
                open.skipped.insert(disk.key, reason.to_string());
                continue;
            }
            let source = open.source(session, seen, snapshot, disk, options)?;
            let (found, wanted) = (source.as_source().bytes(), disk.capacity_bytes);
            if found != wanted {
                let (vm, disk) = (seen.name().to_owned(), disk.name.clone());
                return Err(VmBackupError::Size { vm, disk, found, wanted });
            }
            if matches!(source, Source::Nbd(_) | Source::Command(_)) && disk.kms_key.is_some() {
                let text = format!(
                    "{} {}: read from {}, whose own way to it cannot be checked",
                    seen.name(),
                    disk.name,
                    reader
                );
                notes.push(Note::say("transport_not_checked", text));
            }
            open.disks.push((disk.clone(), source));
        }
        Ok(open)
    }

    fn source(
        &self,
        session: &Session,
        seen: &SeenVm<'_>,
        snapshot: &TakenSnapshot,
        disk: &ConfigDisk,
        options: &VmBackupOptions,
    ) -> Result<Source, VmBackupError> {
        let refused =
            |refused| VmBackupError::Transport { vm: seen.name().to_owned(), disk: disk.name.clone(), refused };
        match (&options.reader, &self.library) {
            (Reader::Vddk(_), Some(library)) => {
                let state = state_of(disk);
                let allowed = options.transports.for_disk(state, Access::Read, options.proxy).map_err(refused)?;
                let place = DiskPlace {
                    name: disk.name.clone(),
                    path: disk.file_name.clone(),
                    state,
                    allowed: allowed.transports,
                };
                Ok(Source::Vddk(library.open(place)?))
            }
            (Reader::Nbd(template), _) => open_outside(seen, disk, template).map(Source::Nbd),
            (Reader::Command { words, libdir }, _) => {
                open_by_command(session, seen, snapshot, disk, words, libdir).map(Source::Command)
            }
            (Reader::Vddk(_), None) => Err(VmBackupError::Outside {
                vm: seen.name().to_owned(),
                disk: disk.name.clone(),
                what: "the library was not started".to_owned(),
                kind: engine::Kind::Bug,
            }),
        }
    }

    /// The disks as the engine wants them; `whole` says which must be read whole, and why.
    pub(super) fn job_disks(&self, whole: &[(String, String)]) -> Vec<JobDisk<'_>> {
        self.disks
            .iter()
            .map(|(disk, source)| JobDisk {
                name: disk.name.clone(),
                uuid: disk.uuid.clone(),
                change_id: disk.change_id.clone(),
                read_whole: whole.iter().find(|(name, _)| *name == disk.name).map(|(_, why)| why.clone()),
                source: Box::new(source.as_source()),
            })
            .collect()
    }

    /// What failed while they were read.
    pub(super) fn troubles(&self) -> Vec<Note> {
        let trouble = |source: &Source| match source {
            Source::Vddk(disk) => disk.trouble(),
            Source::Nbd(_) | Source::Command(_) => None,
        };
        self.disks.iter().filter_map(|(_, source)| trouble(source)).map(|text| Note::say("read_failed", text)).collect()
    }

    pub(super) fn configs(&self) -> impl Iterator<Item = &ConfigDisk> {
        self.disks.iter().map(|(disk, _)| disk)
    }

    /// What went which way, by device key.
    pub(super) fn transports(&self) -> BTreeMap<i32, String> {
        let word = |source: &Source| match source {
            Source::Vddk(disk) => disk.transport().word().to_owned(),
            Source::Nbd(_) | Source::Command(_) => "nbd (not checked)".to_owned(),
        };
        self.disks.iter().map(|(disk, source)| (disk.key, word(source))).collect()
    }

    pub(super) fn skipped(&self) -> &BTreeMap<i32, String> {
        &self.skipped
    }

    pub(super) fn reader(&self) -> &'static str {
        self.reader
    }

    /// Closes everything in VMware's order. Gives what went wrong on the way.
    pub(super) fn close(self) -> Vec<Note> {
        drop(self.disks);
        let notes = self.library.map(VddkVm::end).unwrap_or_default();
        notes.into_iter().map(|text| Note::say("library", text)).collect()
    }
}

fn start(
    session: &Session,
    seen: &SeenVm<'_>,
    snapshot: &TakenSnapshot,
    launch: &Launch,
) -> Result<VddkVm, VmBackupError> {
    let access = VmAccess {
        login: vm_login(session, seen.object().moref()),
        snapshot: Some(snapshot.object.moref().to_owned()),
        access: Access::Read,
    };
    Ok(VddkVm::start(seen.name(), launch.clone(), access)?)
}

/// How the library logs in for a VM.
pub(crate) fn vm_login(session: &Session, vm: &str) -> VmLogin {
    VmLogin {
        vm: vm.to_owned(),
        server: session.server().host().to_owned(),
        port: session.server().port(),
        user: session.credentials().user.clone(),
        password: zeroize::Zeroizing::new(session.credentials().password.expose().to_owned()),
        thumbprint: session.certificate().map(|certificate| certificate.sha1).unwrap_or_default(),
    }
}

fn open_outside(seen: &SeenVm<'_>, disk: &ConfigDisk, template: &str) -> Result<NbdSource, VmBackupError> {
    let failed =
        |what: String, kind| VmBackupError::Outside { vm: seen.name().to_owned(), disk: disk.name.clone(), what, kind };
    let text =
        template.replace("{vm}", seen.name()).replace("{disk}", &disk.name).replace("{key}", &disk.key.to_string());
    let uri = NbdUri::parse(&text).map_err(|error| failed(format!("{text}: {error}"), engine::Kind::Invalid))?;
    NbdSource::open(&uri, NbdOptions::default()).map_err(|error| failed(format!("{text}: {error}"), error.kind()))
}

fn open_by_command(
    session: &Session,
    seen: &SeenVm<'_>,
    snapshot: &TakenSnapshot,
    disk: &ConfigDisk,
    words: &[String],
    libdir: &str,
) -> Result<CommandDisk, VmBackupError> {
    let failed =
        |what: String, kind| VmBackupError::Outside { vm: seen.name().to_owned(), disk: disk.name.clone(), what, kind };
    if disk.kms_key.is_some() && !keeps_to_nbdssl(words) {
        let what = "it is encrypted, and the reader command does not say transports=nbdssl; nothing was read";
        return Err(failed(what.to_owned(), engine::Kind::Invalid));
    }
    let login = vm_login(session, seen.object().moref());
    let blanks = Blanks {
        vm: &login.vm,
        snapshot: snapshot.object.moref(),
        path: &disk.file_name,
        server: &login.server,
        user: &login.user,
        password: &login.password,
        thumbprint: &login.thumbprint,
        libdir,
    };
    CommandDisk::open(words, &blanks).map_err(|error| failed(error.to_string(), error.kind()))
}
