//! VMs come back: through the program, a vCenter that is a process of its own, and a stand-in for VMware's library.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

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
    fn moved(self) -> Self {
        let vcenter = Vcenter::start(&["--disk-mib", "24", "--instance-uuid", "0a1b2c3d-2222-4222-8333-444455556666"]);
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

#[test]
fn a_clear_vm_a_vm_with_a_vtpm_and_one_with_two_keys_come_back_as_they_were() {
    let Some(world) = World::new() else { return };
    for (vm, verdict, tpm) in
        [("clear01", "unchanged", ""), ("tpm01", "unchanged_needs_key", "kept"), ("two01", "unchanged_needs_key", "")]
    {
        let backup = world.lost(vm);
        let plan = world.run("plan", &[vm]).ends(0).result();
        assert_eq!(plan["verdicts"][0]["verdict"], verdict, "{plan}");
        let result = world.run("restore", &[vm, "--verify-after", "--power-on"]).ends(0).result();
        assert_eq!((&result["verdict"], &result["powered_on"]), (&verdict.into(), &true.into()), "{result}");
        let info = world.vcenter.info(vm);
        assert_eq!(keys_of(&info), keys_of(&backup.info));
        assert_eq!((&info["nvram"], &info["tpm_content"]), (&"original".into(), &tpm.into()), "{info}");
        assert_eq!(info["firmware"], backup.info["firmware"]);
        world.vcenter.ctl(&format!("poweroff?vm={vm}"));
        world.assert_disks(vm, &backup);
    }
}

#[test]
fn what_is_given_up_is_accepted_by_name_and_the_plan_says_what_power_on_then_shows() {
    let Some(world) = World::new() else { return };
    let backup = world.back_up("tpm01");
    let new_keys = ["tpm01", "--name", "new", "--vm-encryption", "new-keys"];
    let refused = world.run("restore", &new_keys).ends(5);
    assert!(refused.document().to_string().contains("--accept-loss nvram,vtpm"), "{}", refused.stdout);
    world.assert_nothing_is_left("new");
    let accepted = [new_keys.as_slice(), &["--accept-loss", "nvram,vtpm"]].concat();
    let result = world.run("restore", &accepted).ends(3).result();
    assert_eq!((&result["verdict"], &result["plan"]["row"]), (&"with_losses".into(), &"D11".into()), "{result}");
    world.assert_disks("new", &backup);
    let powered = world.vcenter.ctl("poweron?vm=new");
    assert_eq!((&powered["nvram"], &powered["tpm_content"]), (&"generic".into(), &"lost".into()), "{powered}");
    assert_ne!(powered["key_id"], backup.info["key_id"]);
    let clear = ["tpm01", "--name", "open", "--vm-encryption", "none", "--accept-loss", "encryption,nvram,vtpm"];
    world.run("restore", &clear).ends(3);
    world.assert_disks("open", &backup);
    let powered = world.vcenter.ctl("poweron?vm=open");
    assert_eq!((&powered["key_id"], &powered["bundle"], &powered["tpm"]), (&"".into(), &"".into(), &false.into()));
}

#[test]
fn a_vm_whose_provider_is_down_is_made_on_wish_only_and_needs_nothing_but_its_key_then() {
    let Some(world) = World::new() else { return };
    let backup = world.back_up("enc01");
    world.vcenter.ctl("kms?up=false&id=kms-prod");
    let refused = world.run("restore", &["enc01", "--name", "back"]).ends(5);
    assert!(refused.stdout.contains("will not power on: key provider kms-prod is not reachable"), "{}", refused.stdout);
    world.assert_nothing_is_left("back");
    let result =
        world.run("restore", &["enc01", "--name", "back", "--allow-unbootable", "--power-on"]).ends(3).result();
    assert_eq!((&result["verdict"], &result["powered_on"]), (&"not_bootable".into(), &false.into()), "{result}");
    assert!(world.vcenter.ctl("poweron?vm=back")["fault"].is_string());
    world.vcenter.ctl("kms?up=true&id=kms-prod");
    assert_eq!(world.vcenter.ctl("poweron?vm=back")["nvram"], "original");
    world.vcenter.ctl("poweroff?vm=back");
    world.assert_disks("back", &backup);
}

#[test]
fn a_lost_key_is_refused_and_so_is_a_key_that_fails_only_when_the_vm_is_made() {
    let Some(world) = World::new() else { return };
    world.back_up("enc01");
    world.vcenter.ctl("fail?method=CreateVM_Task&fault=EncryptionKeyRequired&key=key-enc01&n=1");
    let late = world.run("restore", &["enc01", "--name", "back"]).ends(5);
    assert!(late.stdout.contains("vCenter cannot get key kms-prod/key-enc01"), "{}", late.stdout);
    world.assert_nothing_is_left("back");
    world.vcenter.ctl("losekey?id=kms-prod/key-enc01");
    let lost = world.run("restore", &["enc01", "--name", "back"]).ends(5);
    assert!(lost.stdout.contains("is lost") && lost.stdout.contains("new-keys"), "{}", lost.stdout);
    world.assert_nothing_is_left("back");
}

#[test]
fn another_vcenter_brings_a_vm_back_by_the_name_of_its_provider_and_asks_for_a_policy_that_is_gone() {
    let Some(world) = World::new() else { return };
    let backup = world.back_up("enc01");
    let world = world.moved();
    world.run("restore", &["enc01", "--name", "back"]).ends(0);
    world.assert_disks("back", &backup);
    assert_eq!(world.vcenter.ctl("poweron?vm=back")["nvram"], "original");
    world.vcenter.ctl("policy?del=VM%20Encryption%20Policy");
    world.vcenter.ctl("policy?add=Other&encrypts=true");
    let refused = world.run("restore", &["enc01", "--name", "again"]).ends(2);
    assert!(refused.stdout.contains("Other"), "{}", refused.stdout);
    world.assert_nothing_is_left("again");
    world.run("restore", &["enc01", "--name", "again", "--storage-policy", "Other"]).ends(0);
    world.assert_disks("again", &backup);
    world.vcenter.ctl("provider?add=kms-new&like=kms-prod");
    world.vcenter.ctl("provider?del=kms-prod");
    let stranger = world.run("restore", &["enc01", "--name", "third", "--storage-policy", "Other"]).ends(5);
    assert!(stranger.stdout.contains("kms-prod") && stranger.stdout.contains("kms-new"), "{}", stranger.stdout);
    world.assert_nothing_is_left("third");
}

#[test]
fn a_restore_that_fails_or_is_killed_in_the_middle_leaves_no_vm() {
    let Some(world) = World::new() else { return };
    world.back_up("enc01");
    let datastore = world.vcenter.datastore("ds1");
    world.library.set_over(&datastore, "fail = [\"Write:16\"]\n");
    world.run("restore", &["enc01", "--name", "back"]).ends(1);
    world.assert_nothing_is_left("back");
    world.library.set_over(&datastore, "delay_ms = 3000\n");
    let command = world.command("restore", &["enc01", "--name", "back"]);
    let running = world.site.start(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let begun = Instant::now();
    while !world.vcenter.ctl("state").to_string().contains("\"back\"") {
        assert!(begun.elapsed() < Duration::from_secs(60), "the VM was not made within a minute");
        thread::sleep(Duration::from_millis(20));
    }
    running.signal(rustix::process::Signal::KILL);
    running.end();
    let cleanup = world.run("cleanup", &[]).ends(0).result();
    assert_eq!(cleanup["undone"].as_array().unwrap().len(), 1, "{cleanup}");
    world.assert_nothing_is_left("back");
    world.library.set_over(&datastore, "");
    world.run("restore", &["enc01", "--name", "back"]).ends(0);
}
