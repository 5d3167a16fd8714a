//! The product's vCenter client against a vCenter that is a process of its own.

use repo_format::{PolicyEncrypts, StoragePolicy};
use strongroom_tests::Vcenter;
use vsphere::{
    ChangeBase, Credentials, ENCRYPTED_NBDSSL_VM, FullReadReason, LoginError, POLICY_ROOT, Password, Policies,
    PolicyOf, PowerState, Quiesce, Removed, Session, SessionPace, SnapshotTag, ToRead, VmSummary, capture_properties,
    changed_since, check_privileges, create_snapshot, datacenter_of, enable_change_tracking, find_by_bios_uuid,
    find_vm, inventory_path, key_providers, key_states, list_vms, our_snapshots, read_nvram,
    recovery::KeyState,
    remove_snapshot, snapshot_config,
    soap::{Endpoint, FaultClass, Thumbprint, first_sight},
    vm_home::VmConfig,
    write_datastore_file,
};

fn endpoint(vcenter: &Vcenter) -> Endpoint {
    format!("{}:{}", vcenter.host, vcenter.port).parse().unwrap()
}

fn login_with(vcenter: &Vcenter, pin: Thumbprint, password: &str) -> Result<Session, LoginError> {
    let credentials = Credentials { user: vcenter.user.clone(), password: Password::new(password.to_owned()) };
    Session::login(endpoint(vcenter), pin, credentials, SessionPace::default())
}

/// A vCenter and a session with it; `None` where there is no Go to build one with.
fn session() -> Option<(Vcenter, Session)> {
    if !Vcenter::available() {
        return None;
    }
    let vcenter = Vcenter::start(&[]);
    let session = login_with(&vcenter, vcenter.sha256.parse().unwrap(), &vcenter.password).unwrap();
    Some((vcenter, session))
}

#[test]
fn a_vcenter_is_known_by_its_certificate_and_lets_in_who_knows_the_password() {
    let Some((vcenter, session)) = session() else { return };
    let seen = first_sight(&endpoint(&vcenter)).unwrap();
    assert_eq!((seen.sha256.to_string(), &seen.sha1), (vcenter.sha256.clone(), &vcenter.sha1));
    assert!(session.about().is_vcenter());
    assert_eq!(session.about().instance_uuid.as_deref(), Some(vcenter.instance_uuid.as_str()));
    let refused = login_with(&vcenter, seen.sha256, "wrong").unwrap_err();
    assert!(matches!(refused, LoginError::Refused { .. }), "{refused}");
    let calls = vcenter.calls().len();
    let other = login_with(&vcenter, Thumbprint::new([7; 32]), &vcenter.password).unwrap_err().to_string();
    assert!(other.contains(&format!("certificate SHA-256 is {}", vcenter.sha256)), "{other}");
    assert_eq!(vcenter.calls().len(), calls, "something was said to a server that was not the pinned one");
    session.close().unwrap();
}

#[test]
fn vms_are_found_with_their_place_their_disks_and_their_keys() {
    let Some((vcenter, session)) = session() else { return };
    let list = list_vms(&session).unwrap();
    let names: Vec<_> = list.vms.iter().map(|vm| vm.name.as_str()).collect();
    assert_eq!(names, ["clear01", "enc01", "off01", "tmpl01", "tpm01", "two01"]);
    assert!(list.unreadable.is_empty());
    let of = |name: &str| -> VmSummary { list.vms.iter().find(|vm| vm.name == name).unwrap().clone() };
    assert!(of("tmpl01").is_template && of("enc01").kms_key.is_some() && of("clear01").kms_key.is_none());
    assert_eq!((of("clear01").power_state, of("off01").power_state), (PowerState::On, PowerState::Off));
    let enc = of("enc01");
    let path = inventory_path(&session, &enc.vm).unwrap();
    assert_eq!(path.dc_path().unwrap(), vcenter.datacenter);
    for wanted in ["enc01", enc.vm.moref(), enc.instance_uuid.as_deref().unwrap(), &path.text()] {
        assert_eq!(find_vm(&session, wanted).unwrap(), enc, "{wanted}");
    }
    assert_eq!(find_by_bios_uuid(&session, enc.bios_uuid.as_deref().unwrap()).unwrap(), Some(enc.vm.clone()));
    let captured = capture_properties(&session, &enc.vm).unwrap();
    let config = captured.require("config").unwrap();
    assert!(config.all("extraConfig").any(|option| option.text_at("key") == Some("encryption.bundle")));
    let raw = String::from_utf8(captured.raw("config").unwrap().to_vec()).unwrap();
    assert!(raw.starts_with("<val") && raw.ends_with("</val>") && raw.contains("encryption.bundle"));
    let disks = VmConfig::read(config).unwrap().disks;
    assert!(!disks.is_empty() && disks.iter().all(|disk| disk.kms_key.is_some() && disk.readable().is_ok()));
}

#[test]
fn policies_rights_keys_and_nvram_are_asked_for() {
    let Some((vcenter, session)) = session() else { return };
    let enc = find_vm(&session, "enc01").unwrap();
    let policies = Policies::of(&session).unwrap();
    let all = policies.all().unwrap();
    let home = policies.associated(&PolicyOf::Home { vm: &enc.vm }).unwrap();
    let policy = all.iter().find(|policy| home.contains(&policy.id)).unwrap();
    let encrypts = |policy: &StoragePolicy| policy.encrypts == PolicyEncrypts::Yes;
    assert!(encrypts(policy) && all.iter().any(|policy| !encrypts(policy)), "{all:?}");
    assert_eq!(policies.associated(&PolicyOf::Disk { vm: &enc.vm, key: 2000 }).unwrap(), home);

    let root = session.content().root_folder.clone();
    let wanted = [(enc.vm.clone(), ENCRYPTED_NBDSSL_VM), (root, POLICY_ROOT)];
    assert_eq!(check_privileges(&session, &wanted).unwrap().missing, []);
    vcenter.ctl("deny?priv=Cryptographer.Access");
    let missing = check_privileges(&session, &wanted).unwrap().missing;
    assert_eq!(missing.iter().map(|missing| missing.id).collect::<Vec<_>>(), ["Cryptographer.Access"]);
    vcenter.ctl("allow");

    let key = enc.kms_key.clone().unwrap();
    let state = || {
        let providers = key_providers(&session).unwrap();
        key_states(&session, &providers, std::slice::from_ref(&key)).unwrap()
    };
    assert_eq!(state(), [KeyState::Usable]);
    vcenter.ctl(&format!("kms?up=false&id={}", key.provider.as_deref().unwrap()));
    assert_eq!(state(), [KeyState::Down]);
    vcenter.ctl(&format!("kms?up=true&id={}", key.provider.as_deref().unwrap()));
    vcenter.ctl(&format!("losekey?id={}", key.id));
    assert_eq!(state(), [KeyState::Lost]);

    let (_, dc_path) = datacenter_of(&session, &enc.vm).unwrap();
    let captured = capture_properties(&session, &enc.vm).unwrap();
    let (place, content) = read_nvram(&session, &dc_path, &captured).unwrap().unwrap();
    assert_eq!(content, std::fs::read(vcenter.file(&place.to_string())).unwrap());
    write_datastore_file(&session, &dc_path, &place.folder().join("copy.nvram"), &content).unwrap();
    assert_eq!(std::fs::read(vcenter.file(&place.folder().join("copy.nvram").to_string())).unwrap(), content);
}

#[test]
fn a_night_knows_what_changed_and_leaves_no_snapshot() {
    let Some((vcenter, session)) = session() else { return };
    let vm = find_vm(&session, "clear01").unwrap();
    enable_change_tracking(&session, &vm.vm).unwrap();
    let tag = |run: &str| SnapshotTag { repository: "7f3c".to_owned(), run: run.to_owned(), host: "b1".to_owned() };
    let night = |run: &str, base: Option<&ChangeBase>| {
        let snapshot = create_snapshot(&session, &vm.vm, &tag(run), Quiesce::No).unwrap();
        let ours = our_snapshots(&session, &vm.vm).unwrap();
        assert_eq!(ours.iter().map(|ours| &ours.snapshot).collect::<Vec<_>>(), [&snapshot]);
        let disk = VmConfig::read(&snapshot_config(&session, &snapshot).unwrap()).unwrap().disks.remove(0);
        let uuid = vm.instance_uuid.as_deref();
        let read = changed_since(&session, &vm.vm, uuid, &snapshot, &disk, base).unwrap();
        assert_eq!(remove_snapshot(&session, &vm.vm, &snapshot, &tag(run)).unwrap(), Removed::Now);
        assert_eq!(our_snapshots(&session, &vm.vm).unwrap(), []);
        let base = ChangeBase {
            change_id: disk.change_id.unwrap(),
            capacity_bytes: disk.capacity_bytes,
            disk_uuid: disk.uuid,
            instance_uuid: vm.instance_uuid.clone(),
        };
        (read, base)
    };
    let (read, base) = night("r1", None);
    assert_eq!(read, ToRead::All(FullReadReason::NoBase));
    vcenter.ctl("write?vm=clear01&off=131072&len=4096");
    // The session ends between two nights, and nobody notices.
    vcenter.ctl("expire");
    let (read, base) = night("r2", Some(&base));
    let ToRead::Changed(areas) = read else { panic!("{read:?}") };
    assert_eq!((areas.ranges().len(), &areas.ranges()[0]), (1, &(131_072..196_608)));
    assert_eq!(session.login_number(), 2);
    vcenter.ctl("ctkreset?vm=clear01");
    let (read, _) = night("r3", Some(&base));
    assert!(matches!(read, ToRead::All(FullReadReason::Reset { .. })), "{read:?}");
}

#[test]
fn a_fault_of_the_server_comes_through_with_its_meaning() {
    let Some((vcenter, session)) = session() else { return };
    let vm = find_vm(&session, "clear01").unwrap();
    vcenter.ctl("fail?method=CreateSnapshot_Task&fault=FilesystemQuiesceFault&n=1");
    let tag = SnapshotTag { repository: "7f3c".to_owned(), run: "r1".to_owned(), host: "b1".to_owned() };
    let error = create_snapshot(&session, &vm.vm, &tag, Quiesce::FileSystem).unwrap_err();
    assert!(matches!(error, vsphere::SnapshotError::NotQuiesced(_)), "{error}");
    vcenter.ctl("fail?method=ReconfigVM_Task&fault=NoPermission&n=1");
    let error = enable_change_tracking(&session, &vm.vm).unwrap_err();
    assert!(matches!(error.class(), Some(FaultClass::NoPermission { .. })), "{error}");
}
