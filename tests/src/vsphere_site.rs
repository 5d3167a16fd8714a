//! A place with a repository, a vCenter and a library that serves its datastore.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use serde_json::Value;

use crate::{Run, Running, Site, StandIn, Vcenter};

/// All three.
pub struct VsphereSite {
    /// The place with the repository.
    pub site: Site,
    /// The vCenter.
    pub vcenter: Vcenter,
    /// The library, serving `ds1`.
    pub library: StandIn,
}

impl VsphereSite {
    /// With the usual VMs. `None` where no vCenter can be built.
    pub fn new() -> Option<Self> {
        Self::with(&["--disk-mib", "8"])
    }

    /// With a vCenter of these options.
    pub fn with(options: &[&str]) -> Option<Self> {
        if !Vcenter::available() {
            return None;
        }
        let site = Site::new();
        let vcenter = Vcenter::start(options);
        let password = site.path("vcenter-password");
        fs::write(&password, format!("{}\n", vcenter.password)).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let library = StandIn::over(&vcenter.datastore("ds1"));
        Some(Self { site, vcenter, library })
    }

    /// `strongroom vsphere WORDS`, with vCenter and library named.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.site.command(&["vsphere"]);
        command
            .args(words)
            .env("STRONGROOM_VCENTER", format!("{}:{}", self.vcenter.host, self.vcenter.port))
            .env("STRONGROOM_VCENTER_USER", &self.vcenter.user)
            .env("STRONGROOM_VCENTER_PASSWORD_FILE", self.site.path("vcenter-password"))
            .env("STRONGROOM_VCENTER_THUMBPRINT", &self.vcenter.sha256)
            .env("STRONGROOM_VDDK_LIBDIR", self.library.libdir());
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Run {
        Run::of(format!("strongroom vsphere {}", words.join(" ")), self.command(words).output().unwrap())
    }

    /// Runs it with `--json`: it must end with `exit`, and gives its result.
    #[track_caller]
    pub fn json(&self, words: &[&str], exit: i32) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        self.run(&words).ends(exit).result()
    }

    /// Starts it.
    pub fn start(&self, words: &[&str]) -> Running {
        Running::of(&mut self.command(words), format!("strongroom vsphere {}", words.join(" ")))
    }

    /// The raw file of a disk of a VM, by its device key, as the VM writes it now.
    #[track_caller]
    pub fn disk_file(&self, vm: &str, key: u64) -> PathBuf {
        let info = self.vcenter.info(vm);
        let disk = info["disks"].as_array().unwrap().iter().find(|disk| disk["key"] == key).cloned();
        PathBuf::from(disk.unwrap_or_else(|| panic!("{vm} has no disk {key}: {info}"))["local"].as_str().unwrap())
    }
}
