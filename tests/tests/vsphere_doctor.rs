//! `vsphere doctor` and `vsphere inventory` against a vCenter that is a process of its own.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use serde_json::Value;
use strongroom_tests::{Run, Site, Vcenter};
use vsphere::{
    Credentials, Password, Session, SessionPace,
    preflight::{find_proxy, look_for_proxy},
    transport::Proxy,
};

/// A vCenter, and a place that knows user, password and certificate; `None` where there is no Go to build one with.
fn vcenter() -> Option<(Vcenter, Doctor)> {
    vcenter_with(&[])
}

fn vcenter_with(options: &[&str]) -> Option<(Vcenter, Doctor)> {
    if !Vcenter::available() {
        return None;
    }
    let vcenter = Vcenter::start(options);
    let site = Site::bare();
    let libdir = site.path("vddk");
    fs::create_dir_all(libdir.join("lib64")).unwrap();
    fs::write(libdir.join("lib64/libvixDiskLib.so.8.0.2"), "").unwrap();
    std::os::unix::fs::symlink("libvixDiskLib.so.8.0.2", libdir.join("lib64/libvixDiskLib.so.8")).unwrap();
    let doctor = Doctor {
        host: format!("{}:{}", vcenter.host, vcenter.port),
        user: vcenter.user.clone(),
        pin: vcenter.sha256.clone(),
        site,
    };
    doctor.set_password(&vcenter.password);
    Some((vcenter, doctor))
}

struct Doctor {
    site: Site,
    host: String,
    user: String,
    pin: String,
}

impl Doctor {
    fn set_password(&self, password: &str) {
        let path = self.site.path("vcenter-password");
        fs::write(&path, format!("{password}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn run_of(&self, command: &str, pin: Option<&str>, args: &[&str]) -> Run {
        let mut line = vec!["--json", "vsphere", command, "--vcenter", &self.host, "--vcenter-user", &self.user];
        let password = self.site.text("vcenter-password");
        line.extend(["--vcenter-password-file", &password]);
        if let Some(pin) = pin {
            line.extend(["--vcenter-thumbprint", pin]);
        }
        line.extend(args);
        self.site.run(&line)
    }

    /// `vsphere doctor` with a library that is there.
    fn examines(&self, args: &[&str]) -> Found {
        let libdir = self.site.text("vddk");
        let mut all = vec!["--vddk-libdir", &libdir];
        all.extend(args);
        Found::of(self.run_of("doctor", Some(&self.pin), &all))
    }
}

impl Doctor {
    /// `vsphere doctor` for disks that somebody else serves: nothing of this machine plays a part in how it ends.
    fn examines_without_library(&self, args: &[&str]) -> Found {
        let mut all = vec!["--reader", "nbd:nbd://127.0.0.1/{vm}"];
        all.extend(args);
        Found::of(self.run_of("doctor", Some(&self.pin), &all))
    }
}

/// What a run of `vsphere doctor` found.
struct Found {
    run: Run,
    checks: Vec<Value>,
}

impl Found {
    #[track_caller]
    fn of(run: Run) -> Self {
        let checks = run.result()["checks"].as_array().unwrap_or_else(|| panic!("{run:?}")).clone();
        // What the library wants of the machine that the tests run on is no claim of theirs.
        let checks =
            checks.into_iter().filter(|check| !text(check, "found").contains("known to die without it")).collect();
        Self { run, checks }
    }

    /// Ends with this code. A warning of the machine alone makes 3 of 0.
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        let machine = self.run.result()["checks"].as_array().unwrap().len() != self.checks.len();
        let code = if machine && code == 0 { 3 } else { code };
        assert_eq!(self.run.code, code, "{:#?}\n{}", self.checks, self.run.stderr);
        self
    }

    /// The one line that says all these words, less those that are as they should be.
    #[track_caller]
    fn says(&self, id: &str, state: &str, object: &str, words: &[&str]) -> &Value {
        let fits = |check: &&Value| {
            let whole = format!("{} try: {}", text(check, "found"), text(check, "try"));
            text(check, "id") == id
                && text(check, "state") == state
                && text(check, "object").contains(object)
                && words.iter().all(|word| whole.contains(word))
        };
        let found: Vec<&Value> = self.checks.iter().filter(fits).collect();
        assert_eq!(found.len(), 1, "{id} {state} {object} {words:?} in {:#?}", self.checks);
        found[0]
    }

    /// Lines that are neither `ok` nor `note`.
    fn bad(&self) -> Vec<&Value> {
        self.checks.iter().filter(|check| check["ok"] == false).collect()
    }
}

fn text<'v>(check: &'v Value, name: &str) -> &'v str {
    check[name].as_str().unwrap_or_default()
}

#[test]
fn a_sound_vcenter_has_every_check_and_none_that_is_bad_and_is_as_it_was() {
    let Some((vcenter, doctor)) = vcenter() else { return };
    let before = vcenter.ctl("state");
    vcenter.ctl("calls?clear=true");
    let found = doctor.examines(&[]).ends(0);
    assert_eq!(found.bad(), Vec::<&Value>::new());
    let ids: BTreeSet<&str> = found.checks.iter().map(|check| text(check, "id")).collect();
    assert_eq!(ids, (1..=13).map(|id| format!("P{id}")).collect::<Vec<_>>().iter().map(String::as_str).collect());
    found.says("P1", "ok", "vcenter", &[&vcenter.instance_uuid]);
    found.says("P2", "ok", "vcenter", &[&vcenter.sha256]);
    found.says("P3", "ok", "libvixDiskLib.so.8", &["library 8.0.2"]);
    found.says("P5", "ok", "enc01", &["kms-prod/key-enc01", "1 of 1 disks"]);
    found.says("P5", "ok", "tpm01", &["kms-prod/key-tpm01", "vTPM", "0 of 1 disks"]);
    found.says("P5", "ok", "two01", &["2 of 2 disks"]);
    found.says("P9", "ok", "kms-dr/key-two01-b", &["two01 disk1"]);
    assert_eq!(found.checks.iter().filter(|check| text(check, "id") == "P9").count(), 5, "a line a key");
    found.says("P12", "note", "tmpl01", &["template", "left out"]);
    assert_eq!(doctor.examines_without_library(&[]).ends(0).bad(), Vec::<&Value>::new());
    assert_eq!(vcenter.ctl("state"), before);
    let changing = ["ReconfigVM_Task", "CreateSnapshot_Task", "RemoveSnapshot_Task", "CreateVM_Task", "PUT"];
    let calls = vcenter.calls();
    assert!(calls.iter().all(|call| changing.iter().all(|word| !call.contains(word))), "{calls:?}");
    assert!(calls.iter().any(|call| call == "Logout"), "{calls:?}");
}

#[test]
fn each_right_that_is_missing_is_named_with_its_object() {
    let Some((vcenter, doctor)) = vcenter() else { return };
    let moref = vcenter.info("enc01")["moref"].as_str().unwrap().to_owned();
    for (id, object) in [
        ("VirtualMachine.Config.ChangeTracking", "enc01"),
        ("VirtualMachine.Config.DiskLease", "enc01"),
        ("VirtualMachine.Provisioning.DiskRandomRead", "enc01"),
        ("VirtualMachine.Provisioning.GetVmFiles", "enc01"),
        ("VirtualMachine.State.CreateSnapshot", "enc01"),
        ("VirtualMachine.State.RemoveSnapshot", "enc01"),
        ("Cryptographer.Access", "enc01"),
        ("Global.DisableMethods", "root folder"),
        ("Global.EnableMethods", "root folder"),
        ("StorageProfile.View", "root folder"),
    ] {
        vcenter.ctl(&format!("deny?priv={id}"));
        let found = doctor.examines(&["enc01"]).ends(1);
        let on = if object == "enc01" { moref.as_str() } else { "Folder:" };
        found.says("P4", "problem", object, &[&format!("missing privilege {id} on"), on, &format!("grant {id} to")]);
        assert_eq!(found.bad().len(), 1, "{id}: {:#?}", found.bad());
        vcenter.ctl("allow");
    }
    // What a backup can do without is a warning.
    for (id, object) in
        [("Datastore.FileManagement", "ds1"), ("Datastore.Browse", "ds1"), ("Cryptographer.ReadKeyServersInfo", "root")]
    {
        vcenter.ctl(&format!("deny?priv={id}"));
        let found = doctor.examines_without_library(&["enc01"]).ends(3);
        found.says("P4", "warning", object, &[&format!("missing privilege {id} on")]);
        vcenter.ctl("allow");
    }
    // A VM in the clear is not asked the rights of an encrypted one.
    vcenter.ctl("deny?priv=Cryptographer.Access");
    assert_eq!(doctor.examines(&["clear01"]).ends(0).bad(), Vec::<&Value>::new());
    assert_eq!(doctor.examines(&["tpm01"]).ends(0).bad(), Vec::<&Value>::new(), "home encrypted, disks clear");
}

#[test]
fn a_key_that_is_not_to_be_had_is_told_and_what_it_costs() {
    let Some((vcenter, doctor)) = vcenter() else { return };
    vcenter.ctl("kms?up=false&id=kms-prod");
    let found = doctor.examines_without_library(&["enc01"]).ends(3);
    found.says("P9", "warning", "key provider kms-prod", &["does not reach"]);
    let words = ["key provider kms-prod is not reachable", "a same-keys restore would fail today", "try: make key"];
    found.says("P9", "warning", "kms-prod/key-enc01", &words);
    vcenter.ctl("kms?up=true&id=kms-prod");

    vcenter.ctl("losekey?id=kms-prod/key-enc01");
    let found = doctor.examines_without_library(&["enc01"]).ends(3);
    let words = ["does not have it any more", "a same-keys restore would fail today", "key server's own backup"];
    found.says("P9", "warning", "kms-prod/key-enc01", &words);
    // Disks are stored decrypted: a disk's key alone loses nothing.
    vcenter.ctl("losekey?id=kms-dr/key-two01-b");
    let found = doctor.examines_without_library(&["two01"]).ends(3);
    found.says("P9", "warning", "kms-dr/key-two01-b", &["its disks a new key"]);
    found.says("P9", "ok", "kms-prod/key-two01-a", &["can be had now"]);
    // The provider is gone altogether.
    vcenter.ctl("provider?del=kms-prod");
    let found = doctor.examines_without_library(&["tpm01"]).ends(3);
    found.says("P9", "warning", "kms-prod/key-tpm01", &["not known to this vCenter", "under the same name"]);
}

#[test]
fn what_a_backup_would_meet_is_told_vm_by_vm() {
    let Some((vcenter, doctor)) = vcenter() else { return };
    for call in [
        "config?vm=enc01&extra=encryption.bundle",
        "config?vm=tpm01&nvram=delete",
        "config?vm=clear01&consolidation=true",
        "config?vm=off01&connection=disconnected",
        "addvm?name=indep01&disks=8&mode=independent_persistent",
        "addvm?name=shared01&disks=8&sharing=sharingMultiWriter",
        "addvm?name=fcd01&disks=8&fcd=true",
        "snapshot?vm=two01&name=strongroom%20r1&description=repo%3Da%20run%3Dr1%20host%3Db1",
    ] {
        vcenter.ctl(call);
    }
    let found = doctor.examines_without_library(&[]).ends(1);
    found.says("P5", "warning", "enc01", &["encryption.bundle is not in config.extraConfig", "NVRAM", "unusable"]);
    found.says("P10", "warning", "tpm01", &["there is no NVRAM file", "vTPM"]);
    found.says("P11", "warning", "indep01 disk0", &["skipped", "independent_persistent"]);
    found.says("P11", "problem", "indep01", &["none of its disks"]);
    found.says("P11", "warning", "shared01 disk0", &["skipped", "sharingMultiWriter"]);
    found.says("P11", "note", "fcd01 disk0", &["First Class Disk"]);
    found.says("P12", "warning", "clear01", &["wait to be joined"]);
    found.says("P12", "problem", "off01", &["connection state disconnected"]);
    found.says("P12", "warning", "two01", &["strongroom r1", "strongroom vsphere cleanup"]);
    // Alone, a host that does not answer is a matter of time, and a template a mistake.
    doctor.examines_without_library(&["off01"]).ends(6);
    doctor.examines_without_library(&["tmpl01"]).ends(2).says(
        "P12",
        "problem",
        "tmpl01",
        &["templates are not backed up"],
    );
    // Its configuration may not be read.
    vcenter.ctl("hide?vm=enc01&path=config");
    let found = doctor.examines_without_library(&[]).ends(1);
    found.says("P5", "problem", vcenter.info("enc01")["moref"].as_str().unwrap(), &["not readable", "System.Read"]);
}

#[test]
fn a_transport_that_would_be_refused_is_refused_before_a_disk_is_opened() {
    let Some((_vcenter, doctor)) = vcenter() else { return };
    let found = doctor.examines(&["--transport", "san", "enc01"]).ends(2);
    found.says("P7", "problem", "enc01 disk0", &["san is refused: the disk is encrypted", "--transport nbdssl"]);
    doctor.examines(&["--transport", "san", "tpm01"]).ends(0);
    doctor.examines(&["--transport", "nbd", "clear01"]).ends(2).says("P7", "problem", "clear01", &["in the clear"]);
    // Tests do not run in a VM of this vCenter: hotadd is dropped with a note, and fails where it is the only way.
    doctor.examines(&["--transport", "hotadd,nbdssl", "enc01"]).ends(0).says(
        "P8",
        "note",
        "this machine",
        &["hotadd is not used"],
    );
    doctor.examines(&["--transport", "hotadd", "enc01"]).ends(1).says(
        "P7",
        "problem",
        "enc01 disk0",
        &["hotadd is refused"],
    );
    doctor.run_of("doctor", Some(&doctor.pin), &["--transport", "carrier-pigeon"]).ends(2);
    // Without the library nobody can say that disks will be read.
    let found = Found::of(doctor.run_of("doctor", Some(&doctor.pin), &["enc01"]).ends(3));
    found.says("P3", "warning", "library", &["no --vddk-libdir", "--reader nbd:TEMPLATE"]);
    let empty = doctor.site.text("cache");
    let found = Found::of(doctor.run_of("doctor", Some(&doctor.pin), &["--vddk-libdir", &empty, "enc01"]).ends(2));
    found.says("P3", "problem", &empty, &["there is no libvixDiskLib.so"]);
    doctor.examines_without_library(&["enc01"]).ends(0).says("P7", "note", "reader", &["not checked"]);
}

#[test]
fn a_proxy_finds_itself_by_its_uuid_in_either_byte_order() {
    let Some((vcenter, _doctor)) = vcenter() else { return };
    let credentials = Credentials { user: vcenter.user.clone(), password: Password::new(vcenter.password.clone()) };
    let endpoint = format!("{}:{}", vcenter.host, vcenter.port).parse().unwrap();
    let session =
        Session::login(endpoint, vcenter.sha256.parse().unwrap(), credentials, SessionPace::default()).unwrap();
    let uuid = |vm: &str| vcenter.info(vm)["uuid"].as_str().unwrap().to_owned();
    let swapped = |uuid: &str| {
        let mut bytes: Vec<String> =
            uuid.replace('-', "").as_bytes().chunks(2).map(|pair| String::from_utf8(pair.to_vec()).unwrap()).collect();
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        let digits = bytes.concat();
        [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
    };
    for (vm, proxy) in [("enc01", Proxy::EncryptedVm), ("clear01", Proxy::ClearVm)] {
        for uuid in [uuid(vm), swapped(&uuid(vm))] {
            assert_eq!(find_proxy(&session, Some(&uuid)), proxy, "{vm} {uuid}");
            assert_eq!(look_for_proxy(&session, &uuid).unwrap().unwrap().name, vm);
        }
    }
    assert_eq!(find_proxy(&session, Some("00000000-0000-0000-0000-000000000001")), Proxy::Elsewhere);
    assert_eq!(find_proxy(&session, None), Proxy::Elsewhere);
}

#[test]
fn a_changed_certificate_and_a_wrong_password_stop_at_the_door_and_no_secret_is_said() {
    let Some((vcenter, doctor)) = vcenter() else { return };
    // Nothing is pinned yet: the first contact is told, and kept once the login has worked.
    let first = doctor.run_of("doctor", None, &["clear01"]);
    assert!(first.stdout.contains("first_contact") && first.stdout.contains(&vcenter.sha256), "{}", first.stdout);
    let second = doctor.run_of("doctor", None, &["clear01"]);
    assert!(!second.stdout.contains("first_contact"), "{}", second.stdout);
    let pins: Vec<_> = fs::read_dir(doctor.site.path("state/strongroom/vcenters")).unwrap().collect();
    let [Ok(pin)] = pins.as_slice() else { panic!("{pins:?}") };
    let other = [0xab_u8; 32].map(|byte| format!("{byte:02X}")).join(":");
    fs::write(pin.path(), format!("{other}\n")).unwrap();
    vcenter.ctl("calls?clear=true");
    let changed = doctor.run_of("doctor", None, &["clear01"]).ends(1);
    let wanted = format!("certificate SHA-256 is {}, pinned is {other}", vcenter.sha256);
    assert!(changed.stdout.contains(&wanted), "{}", changed.stdout);
    assert!(changed.stdout.contains(&format!("--vcenter-thumbprint {}", vcenter.sha256)), "{}", changed.stdout);
    assert_eq!(vcenter.calls(), Vec::<String>::new(), "something was said to a server that was not the pinned one");

    let canary = "canary-9f1c77";
    doctor.set_password(canary);
    let refused = doctor.run_of("doctor", Some(&doctor.pin), &["clear01"]).ends(1);
    assert!(refused.stdout.contains(&format!("login as {} refused", doctor.user)), "{}", refused.stdout);
    assert!(refused.stdout.contains("check user and password"), "{}", refused.stdout);
    let words = [&vcenter.password, canary, "vmware_soap_session"];
    for run in [&first, &second, &changed, &refused] {
        for said in [&run.stdout, &run.stderr] {
            assert!(words.iter().all(|word| !said.contains(*word)), "{said}");
        }
    }
}

#[test]
fn the_inventory_tells_what_is_encrypted_by_which_key_and_the_last_point() {
    let Some((vcenter, doctor)) = vcenter() else { return };
    let run = doctor.run_of("inventory", Some(&doctor.pin), &[]).ends(0);
    let result = run.result();
    let vms = result["vms"].as_array().unwrap();
    let row = |name: &str| vms.iter().find(|vm| vm["name"] == name).unwrap_or_else(|| panic!("{name}: {vms:#?}"));
    for (name, encrypted, vtpm, key, disks) in [
        ("clear01", "clear", false, Value::Null, 1),
        ("enc01", "disks", false, "key-enc01".into(), 1),
        ("tpm01", "home", true, "key-tpm01".into(), 1),
        ("two01", "disks", false, "key-two01".into(), 2),
        ("tmpl01", "clear", false, Value::Null, 1),
    ] {
        let vm = row(name);
        let found = (vm["encrypted"].as_str().unwrap(), vm["vtpm"].as_bool().unwrap(), &vm["kms_key_id"]);
        assert_eq!(found, (encrypted, vtpm, &key), "{name}");
        assert_eq!(vm["disks"], disks, "{name}");
        let info = vcenter.info(name);
        let bytes: u64 = info["disks"].as_array().unwrap().iter().map(|disk| disk["capacity"].as_u64().unwrap()).sum();
        assert_eq!(vm["disk_bytes"], bytes, "{name}");
        assert_eq!((&vm["moref"], &vm["instance_uuid"]), (&info["moref"], &info["instance_uuid"]), "{name}");
        assert_eq!(vm["path"], format!("{}/vm/{name}", vcenter.datacenter), "{name}");
    }
    assert_eq!(row("enc01")["storage_policy"], "VM Encryption Policy");
    assert_eq!((&row("off01")["power"], &row("tmpl01")["template"]), (&"off".into(), &true.into()));
    assert!(run.stdout.contains("no_points"), "a repository that was named and is not there is told: {}", run.stdout);
    assert!(vms.iter().all(|vm| vm["last_point"].is_null()));
    assert!(!run.stdout.contains(&vcenter.password) && !run.stderr.contains(&vcenter.password));
    let one = doctor.run_of("inventory", Some(&doctor.pin), &["two01"]).ends(0).result();
    assert_eq!(one["vms"].as_array().unwrap().len(), 1);
    doctor.run_of("inventory", Some(&doctor.pin), &["web99"]).ends(1);
}
