//! What is looked at once VMs were backed up and brought back, and the machines a test pretends to be.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;
use vsphere::{Credentials, Password, Session, SessionPace, destroy_vm, find_vm};

use crate::{Run, StandIn, Vcenter, VsphereSite};

/// A VM as it was at a moment: what vCenter said of it, and the bytes of its disks.
pub struct KnownVm {
    /// As the control call `info` has it.
    pub info: Value,
    /// In the order of their keys.
    pub disks: Vec<Vec<u8>>,
}

impl KnownVm {
    /// Home key and the key of each disk, empty where there is none.
    pub fn keys(&self) -> Vec<String> {
        let of = |value: &Value| value["key_id"].as_str().unwrap_or_default().to_owned();
        std::iter::once(of(&self.info)).chain(self.info["disks"].as_array().unwrap().iter().map(of)).collect()
    }

    /// The policy of the home and of each disk.
    pub fn policies(&self) -> Vec<String> {
        let of = |value: &Value| value["policy"].as_str().unwrap_or_default().to_owned();
        std::iter::once(of(&self.info)).chain(self.info["disks"].as_array().unwrap().iter().map(of)).collect()
    }
}

impl VsphereSite {
    /// The same repository before another vCenter.
    #[must_use]
    pub fn moved(self, options: &[&str]) -> Self {
        let vcenter = Vcenter::start(options);
        fs::write(self.site.path("vcenter-password"), format!("{}\n", vcenter.password)).unwrap();
        let library = StandIn::over(&vcenter.datastore("ds1"));
        Self { site: self.site, vcenter, library }
    }

    /// A session of the test's own.
    pub fn session(&self) -> Session {
        let vcenter = &self.vcenter;
        let credentials = Credentials { user: vcenter.user.clone(), password: Password::new(vcenter.password.clone()) };
        let endpoint = format!("{}:{}", vcenter.host, vcenter.port).parse().unwrap();
        Session::login(endpoint, vcenter.sha256.parse().unwrap(), credentials, SessionPace::default()).unwrap()
    }

    /// Powers a VM off and destroys it, as an accident would.
    pub fn destroy(&self, vm: &str) {
        self.vcenter.ctl(&format!("poweroff?vm={vm}"));
        let session = self.session();
        destroy_vm(&session, &find_vm(&session, vm).unwrap().vm).unwrap();
    }

    /// A VM as it is now.
    #[track_caller]
    pub fn known(&self, vm: &str) -> KnownVm {
        let info = self.vcenter.info(vm);
        let disks = info["disks"].as_array().unwrap().iter();
        let disks = disks.map(|disk| fs::read(PathBuf::from(disk["local"].as_str().unwrap())).unwrap()).collect();
        KnownVm { info, disks }
    }

    /// Starts a VM that was off or is switched off first: `original`, `generic`, `locked`, or the type of the fault.
    pub fn boots(&self, vm: &str) -> String {
        self.vcenter.ctl(&format!("poweroff?vm={vm}"));
        let outcome = self.vcenter.ctl(&format!("poweron?vm={vm}"));
        let outcome = outcome.get("fault").or(outcome.get("nvram")).unwrap().as_str().unwrap().to_owned();
        self.vcenter.ctl(&format!("poweroff?vm={vm}"));
        outcome
    }

    /// There is no VM of that name, and no run has left anything to be undone.
    #[track_caller]
    pub fn assert_nothing_is_left(&self, vm: &str) {
        let state = self.vcenter.ctl("state").to_string();
        assert!(!state.contains(&format!("\"{vm}\"")), "{vm} is there: {state}");
        let cleanup = self.json(&["cleanup", "--yes"], 0);
        assert_eq!(cleanup["undone"].as_array().unwrap().len(), 0, "{cleanup}");
    }

    /// `strongroom vsphere WORDS` at a terminal, with these lines typed. Both outputs are on standard output.
    #[track_caller]
    pub fn typed(&self, words: &[&str], lines: &str) -> Run {
        let inner = self.command(words);
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', "'\\''"));
        let line: Vec<String> = std::iter::once(inner.get_program()).chain(inner.get_args()).map(quoted).collect();
        let mut command = Command::new("script");
        self.site.surround(&mut command);
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The end of standard input would be the end of the terminal: it stays open until the program has ended.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(lines.as_bytes()).unwrap();
        let output = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| child.wait_with_output().unwrap());
            waiting.join().unwrap()
        });
        drop(stdin);
        Run::of(format!("at a terminal: strongroom vsphere {}", words.join(" ")), output)
    }

    /// `strongroom vsphere WORDS --json` on a machine that is the VM with this BIOS uuid; `None` where mounts are not permitted.
    #[track_caller]
    pub fn inside(&self, uuid: &str, words: &[&str]) -> Option<Run> {
        let inner = self.command(words);
        let pretend = "mount -t tmpfs none /sys/class && mkdir -p /sys/class/dmi/id /sys/class/scsi_disk \
                       && echo \"$0\" > /sys/class/dmi/id/product_uuid";
        let unshare = ["--user", "--map-root-user", "--mount", "sh", "-c"];
        let probe = Command::new("unshare").args(unshare).args([pretend, uuid]).output();
        if !probe.is_ok_and(|probe| probe.status.success()) {
            eprintln!("skipped: no user namespace with mounts on this machine");
            return None;
        }
        let mut command = Command::new("unshare");
        self.site.surround(&mut command);
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(unshare).args([&format!("{pretend} && exec \"$@\" --json"), uuid]);
        command.arg(inner.get_program()).args(inner.get_args());
        Some(Run::of(format!("in VM {uuid}: strongroom vsphere {}", words.join(" ")), command.output().unwrap()))
    }
}
