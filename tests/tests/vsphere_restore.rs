//! VMs come back: through the program, a vCenter that is a process of its own, and a stand-in for VMware's library.

use std::{fs, path::PathBuf};

use serde_json::Value;
use strongroom_tests::{Run, Site, StandIn, Vcenter};
use vsphere::{Credentials, Password, Session, SessionPace, destroy_vm, find_vm};

/// A vCenter with a repository beside it, and the library over its first datastore.
struct World {
    vcenter: Vcenter,
    library: StandIn,
    site: Site,
}

impl World {
    fn new() -> Option<Self> {
        if !Vcenter::available() {
            return None;
        }
        let vcenter = Vcenter::start(&["--disk-mib", "24"]);
        let library = StandIn::over(&vcenter.datastore("ds1"));
        Some(Self { vcenter, library, site: Site::new() })
    }

    /// The same repository before another vCenter of the same key server.
    fn moved(self, options: &[&str]) -> Self {
        let all: Vec<&str> = ["--instance-uuid", "0a1b2c3d-2222-4222-8333-444455556666", "--scenario", "none"]
            .iter()
            .chain(options)
            .copied()
            .collect();
        let vcenter = Vcenter::start(&all);
        let library = StandIn::over(&vcenter.datastore("ds1"));
        Self { vcenter, library, site: self.site }
    }

    fn command(&self, word: &str, args: &[&str]) -> Vec<String> {
        let password = self.site.path("vcenter-password");
        fs::write(&password, &self.vcenter.password).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&password, mode).unwrap();
        let server = format!("{}:{}", self.vcenter.host, self.vcenter.port);
        let mut all: Vec<String> =
            ["vsphere", word, "--vcenter", &server, "--vcenter-user", &self.vcenter.user].map(str::to_owned).to_vec();
        all.extend(["--vcenter-password-file".to_owned(), password.to_str().unwrap().to_owned()]);
        all.extend(["--vcenter-thumbprint".to_owned(), self.vcenter.sha256.clone()]);
        if word == "backup" || word == "restore" {
            all.extend(["--vddk-libdir".to_owned(), self.library.libdir().to_str().unwrap().to_owned()]);
        }
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        all
    }

    fn run(&self, word: &str, args: &[&str]) -> Run {
        let mut all = self.command(word, args);
        all.insert(0, "--json".to_owned());
        all.insert(0, "--yes".to_owned());
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.site.run(&all)
    }

    #[track_caller]
    fn back_up(&self, vm: &str) -> Backup {
        self.run("backup", &[vm]).ends(0);
        let info = self.vcenter.info(vm);
        let disks = info["disks"].as_array().unwrap();
        let contents = disks.iter().map(|disk| fs::read(disk["local"].as_str().unwrap()).unwrap()).collect();
        Backup { info, contents }
    }

    /// Backed up, and then gone.
    #[track_caller]
    fn lost(&self, vm: &str) -> Backup {
        let backup = self.back_up(vm);
        self.vcenter.ctl(&format!("poweroff?vm={vm}"));
        self.destroy(vm);
        backup
    }

    fn destroy(&self, vm: &str) {
        let endpoint = format!("{}:{}", self.vcenter.host, self.vcenter.port).parse().unwrap();
        let password = Password::new(self.vcenter.password.clone());
        let credentials = Credentials { user: self.vcenter.user.clone(), password };
        let pin = self.vcenter.sha256.parse().unwrap();
        let session = Session::login(endpoint, pin, credentials, SessionPace::default()).unwrap();
        destroy_vm(&session, &find_vm(&session, vm).unwrap().vm).unwrap();
    }

    /// Each disk of a VM, byte for byte.
    #[track_caller]
    fn assert_disks(&self, vm: &str, backup: &Backup) {
        let info = self.vcenter.info(vm);
        let disks = info["disks"].as_array().unwrap();
        assert_eq!(disks.len(), backup.contents.len());
        for (disk, content) in disks.iter().zip(&backup.contents) {
            let local = PathBuf::from(disk["local"].as_str().unwrap());
            assert!(fs::read(&local).unwrap() == *content, "{} differs", local.display());
        }
    }

    /// No VM of that name, nothing to undo.
    #[track_caller]
    fn assert_nothing_is_left(&self, vm: &str) {
        let state = self.vcenter.ctl("state").to_string();
        assert!(!state.contains(&format!("\"{vm}\"")), "{vm} is there: {state}");
        let cleanup = self.run("cleanup", &[]).ends(0).result();
        assert_eq!(cleanup["undone"].as_array().unwrap().len(), 0, "{cleanup}");
    }
}

/// What a VM was when it was backed up.
struct Backup {
    info: Value,
    contents: Vec<Vec<u8>>,
}

fn keys_of(info: &Value) -> Vec<Value> {
    let disks = info["disks"].as_array().unwrap().iter().map(|disk| disk["key_id"].clone());
    std::iter::once(info["key_id"].clone()).chain(disks).collect()
}

#[test]
fn an_encrypted_vm_comes_back_under_its_own_keys_and_its_nvram_opens() {
    let Some(world) = World::new() else { return };
    let backup = world.lost("enc01");
    let result = world.run("restore", &["enc01"]).ends(0).result();
    assert_eq!(
        (result["verdict"].as_str(), result["vm"].as_str()),
        (Some("unchanged_needs_key"), Some("enc01")),
        "{result}"
    );
    world.assert_disks("enc01", &backup);
    let info = world.vcenter.info("enc01");
    assert_eq!(keys_of(&info), keys_of(&backup.info));
    assert_eq!(info["policy"], backup.info["policy"]);
    assert_eq!(info["change_tracking"], true);
    let powered = world.vcenter.ctl("poweron?vm=enc01");
    assert_eq!(powered["nvram"], "original", "{powered}");
}
