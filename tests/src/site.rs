//! A folder of its own for each test: repository, cache, state, password, images.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{program, run::Run};

/// The password of every repository here.
pub const PASSWORD: &str = "correct horse battery staple 7";

/// A place where the program runs without meeting anybody else.
pub struct Site {
    folder: TempDir,
}

impl Site {
    /// A place without a repository.
    pub fn bare() -> Self {
        let folder = tempfile::Builder::new().prefix("strongroom-test-").tempdir().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        Self { folder }
    }

    /// A place with a repository of the usual kind.
    pub fn new() -> Self {
        Self::with(&["--chunker", "block"])
    }

    /// A place with a repository made with these options. Guessing its password is cheap: tests are quick.
    pub fn with(options: &[&str]) -> Self {
        let site = Self::bare();
        let recovery = site.path("recovery-key");
        let mut args = vec!["init", "--kdf-memory", "32K", "--recovery-key-out", recovery.to_str().unwrap()];
        args.extend(options);
        site.run(&args).ends(0);
        site
    }

    /// A path in the place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in the place that nothing has yet.
    pub fn fresh(&self, name: &str) -> PathBuf {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        self.path(&format!("{}-{name}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The repository.
    pub fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    /// The program with this command line, nothing of the caller's environment but `PATH`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        self.surround(&mut command).args(args);
        command
    }

    /// Sets folders, repository and password for a command.
    pub fn surround<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TZ", "UTC")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("STRONGROOM_REPOSITORY", self.repository())
            .env("STRONGROOM_PASSWORD_FILE", self.path("password"))
            .env("STRONGROOM_PROGRESS", "none")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(format!("strongroom {}", args.join(" ")), self.command(args).output().unwrap())
    }

    /// Runs it with `--json`: it must succeed, and gives its result.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let mut with_json = vec!["--json"];
        with_json.extend(args);
        self.run(&with_json).ends(0).result()
    }

    /// Starts the program.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::of(&mut self.command(args), format!("strongroom {}", args.join(" ")))
    }

    /// Backs up one image as `vm`; its result.
    #[track_caller]
    pub fn back_up(&self, vm: &str, image: &Path) -> Value {
        self.json(&["backup", "--vm", vm, image.to_str().unwrap()])
    }

    /// Restores the only disk of what `selector` names into a new file and compares it.
    #[track_caller]
    pub fn assert_restores(&self, selector: &str, image: &Path) {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        let target = folder.path().join("back.img");
        let to = format!("disk0={}", target.display());
        self.run(&["restore", selector, "--disk", &to]).ends(0);
        assert!(crate::is_same(&target, image), "{selector} is not {}", image.display());
    }

    /// All files of the repository, by their names in it, sorted.
    pub fn objects(&self) -> Vec<String> {
        let root = self.repository();
        let (mut folders, mut found) = (vec![root.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// Names of the packs.
    pub fn packs(&self) -> Vec<String> {
        self.objects().into_iter().filter(|name| name.starts_with("packs/")).collect()
    }

    /// Waits until there are this many packs.
    pub fn wait_for_packs(&self, count: usize) {
        let begun = Instant::now();
        while self.packs().len() < count {
            assert!(begun.elapsed() < Duration::from_secs(60), "no {count} packs within a minute");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// Every file below a folder; none if there is no such folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.into_iter().flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// A run that goes on.
pub struct Running {
    child: Child,
    line: String,
}

impl Running {
    /// Starts `command`, which is told as `line`.
    pub fn of(command: &mut Command, line: String) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, line }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal. It may have ended.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        let _ = rustix::process::kill_process(id, signal);
    }

    /// Whether it goes on.
    pub fn goes_on(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn end(self) -> Run {
        let Self { child, line } = self;
        Run::of(line, child.wait_with_output().unwrap())
    }
}

/// Runs a shell script where `mount` is allowed; `None` if this machine does not permit that.
pub fn in_namespace(site: &Site, script: &str) -> Option<Run> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        site.surround(&mut command).env("S", program()).env("HERE", site.path("")).args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
        ]);
        command.output()
    };
    fs::create_dir_all(site.path("probe")).unwrap();
    let permitted = unshare("mount -t tmpfs none \"$HERE/probe\"").is_ok_and(|output| output.status.success());
    if !permitted {
        eprintln!("skipped: no user namespace with mounts on this machine");
        return None;
    }
    Some(Run::of(format!("in a namespace: {script}"), unshare(script).unwrap()))
}
