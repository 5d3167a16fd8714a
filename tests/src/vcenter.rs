//! A vCenter that is a process of its own: `tests/vcenter-sim`, built once, started for a test and ended with it.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::full_run;

const PATIENCE: Duration = Duration::from_secs(60);

/// Where Debian's package has govmomi.
const GOPATH: &str = "/usr/share/gocode";

/// A vCenter with the VMs `clear01`, `enc01`, `tpm01`, `two01`, `off01` and the template `tmpl01`.
pub struct Vcenter {
    child: Child,
    // Closing it ends the simulator.
    stdin: Option<ChildStdin>,
    folder: TempDir,
    /// `https://127.0.0.1:PORT`
    pub url: String,
    /// `http://127.0.0.1:PORT`, the same without TLS.
    pub plain_url: String,
    /// Address of both.
    pub host: String,
    /// TLS port.
    pub port: u16,
    /// Port without TLS; `/ctl/` is only here.
    pub plain_port: u16,
    /// SHA-256 of its certificate, `AA:BB:…`
    pub sha256: String,
    /// SHA-1 of its certificate, `AA:BB:…`
    pub sha1: String,
    /// The only user.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// `about.instanceUuid`
    pub instance_uuid: String,
    /// Inventory path of the only datacenter.
    pub datacenter: String,
}

impl Vcenter {
    /// Whether it can be built here. `./test` installs what it needs; elsewhere a test without it is skipped.
    pub fn available() -> bool {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| {
            let go = Command::new("go").arg("version").stdin(Stdio::null()).output().is_ok();
            let govmomi = Path::new(GOPATH).join("src/github.com/vmware/govmomi/simulator").is_dir();
            assert!(go && govmomi || !full_run(), "golang-go or golang-github-vmware-govmomi-dev is not installed");
            if !(go && govmomi) {
                eprintln!("skipped: golang-go or golang-github-vmware-govmomi-dev is not installed");
            }
            go && govmomi
        })
    }

    /// Starts one with the usual VMs. Options are those of `tests/vcenter-sim/main.go`, such as `--seed vc2`.
    pub fn start(options: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("strongroom-vcenter-").tempdir().unwrap();
        let mut child = Command::new(simulator())
            .arg("--root")
            .arg(folder.path())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("vcenter-sim says {line:?}: {error}"));
        let text = |name: &str| ready[name].as_str().unwrap_or_else(|| panic!("no {name} in {ready}")).to_owned();
        let port = |name: &str| ready[name].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap();
        Self {
            url: text("url"),
            plain_url: text("plain_url"),
            host: text("host"),
            port: port("port"),
            plain_port: port("plain_port"),
            sha256: text("sha256"),
            sha1: text("sha1"),
            user: text("user"),
            password: text("password"),
            instance_uuid: text("instance_uuid"),
            datacenter: text("datacenter"),
            child,
            stdin,
            folder,
        }
    }

    /// Folder with the files of a datastore, `ds1` or `ds2`: `[ds1] enc01/enc01.vmdk` is `enc01/enc01.vmdk` in it, raw.
    pub fn datastore(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file behind a path like `[ds1] enc01/enc01.vmdk`.
    pub fn file(&self, path: &str) -> PathBuf {
        let (datastore, name) = path.trim_start_matches('[').split_once("] ").unwrap();
        self.datastore(datastore).join(name)
    }

    /// A control call, such as `kms?up=false&id=kms-prod`. `tests/vcenter-sim/README.md` lists them.
    #[track_caller]
    pub fn ctl(&self, call: &str) -> Value {
        let (status, body) = self.post(&format!("/ctl/{call}"), "", "");
        assert_eq!(status, 200, "{call}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{call}: {error}: {body}"))
    }

    /// What it knows of a VM.
    #[track_caller]
    pub fn info(&self, vm: &str) -> Value {
        self.ctl(&format!("info?vm={vm}"))
    }

    /// SOAP methods and `/folder` requests so far, in their order.
    pub fn calls(&self) -> Vec<String> {
        let calls = self.ctl("calls");
        calls.as_array().unwrap().iter().map(|call| call.as_str().unwrap().to_owned()).collect()
    }

    /// POSTs over the plain port: status and body. `headers` are whole lines.
    pub fn post(&self, path: &str, headers: &str, body: &str) -> (u16, String) {
        let (status, _, body) = self.exchange("POST", path, headers, body);
        (status, body)
    }

    /// One HTTP request over the plain port: status, head and body.
    pub fn exchange(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect((self.host.as_str(), self.plain_port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: no HTTP in {text:?}"));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
        let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            unchunked(body)
        } else {
            body.to_owned()
        };
        (status, head.to_owned(), body)
    }
}

impl Drop for Vcenter {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unchunked(mut text: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        text = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// Path of the simulator: `STRONGROOM_TEST_VCENTER`, or what Go makes of its source, once. Go keeps what it compiled below
/// the target folder: the first time takes minutes on a slow machine, every other a few seconds.
fn simulator() -> &'static Path {
    static SIMULATOR: OnceLock<PathBuf> = OnceLock::new();
    SIMULATOR.get_or_init(|| match env::var_os("STRONGROOM_TEST_VCENTER") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

fn build() -> PathBuf {
    // target/PROFILE/deps/this-test
    let here = env::current_exe().unwrap();
    let folder = here.ancestors().nth(3).unwrap().join("vcenter-sim");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("vcenter-sim");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("vcenter-sim"))
        .env("GO111MODULE", "off")
        .env("GOPATH", GOPATH)
        .env("GOCACHE", folder.join("go-cache"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(built.status.success(), "vcenter-sim does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    program
}
