//! The engine on a site's repository: for sources that no file can be.

use std::sync::Arc;

use engine::{
    BackupError, BackupJob, BackupOptions, BackupReport, DiskSource, Environment, JobDisk, LocalStore, OnBad, Reader,
    Silent, StateFolder, SystemClock, SystemEntropy, Writer, backup, open_reader, open_writer,
};
use repo_format::{Compression, Consistency, SlotSecret, VmIdentity};

use crate::{PASSWORD, Site};

/// The site's repository, for adding to it.
pub fn open_for_writing(site: &Site) -> Writer {
    open_writer(environment(site), &secret()).unwrap()
}

/// The site's repository, for reading.
pub fn open_for_reading(site: &Site) -> Reader {
    open_reader(environment(site), &secret()).unwrap()
}

/// Backs up these disks as `vm`.
pub fn back_up(
    site: &Site,
    vm: &str,
    disks: Vec<(&str, Box<dyn DiskSource>)>,
    threads: usize,
    on_bad: OnBad,
) -> Result<BackupReport, BackupError> {
    let disk = |(name, source): (&str, _)| JobDisk {
        name: name.to_owned(),
        uuid: None,
        change_id: None,
        read_whole: None,
        source,
    };
    let job = BackupJob {
        identity: VmIdentity::named(vm).unwrap(),
        vm_name: vm.to_owned(),
        disks: disks.into_iter().map(disk).collect(),
        changes: None,
        home: None,
        tag: None,
        hold: None,
        consistency: Consistency::Unknown,
        recorded: None,
    };
    let options = BackupOptions { threads, compression: Compression::Zstd(1), on_bad };
    backup(&mut open_for_writing(site), &job, &options, &Silent)
}

fn secret() -> SlotSecret {
    SlotSecret::password(PASSWORD.to_owned().into()).unwrap()
}

fn environment(site: &Site) -> Environment {
    Environment {
        store: Arc::new(LocalStore::at(&site.repository())),
        cache: None,
        // The same as the program's: both see one another's sessions and heads.
        state: StateFolder::at(&site.path("state/strongroom")),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        host: "host".to_owned(),
        program: "strongroom-tests".to_owned(),
        accept_rollback: None,
    }
}
