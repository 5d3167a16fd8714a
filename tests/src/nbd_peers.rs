//! Other programs that speak NBD, started for a test and ended with it.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::{Site, full_run, run::Run};

const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a program can be run here. `./test` installs all of them; elsewhere a test without its program is skipped.
pub fn has_program(name: &str) -> bool {
    let found = Command::new(name).arg("--version").stdin(Stdio::null()).output().is_ok();
    assert!(found || !full_run(), "{name} is not installed");
    if !found {
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// Runs a program to its end; it must succeed.
#[track_caller]
pub fn succeeds(program: &str, args: &[&str]) -> String {
    let output = outcome(program, args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} {}\n{}\n{}",
        args.join(" "),
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Runs a program to its end.
pub fn outcome(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().unwrap()
}

/// A server of somebody else on a Unix socket.
pub struct Peer {
    child: Child,
    socket: PathBuf,
}

impl Peer {
    /// `nbdkit -f -U SOCKET ARGS`
    pub fn nbdkit(site: &Site, args: &[&str]) -> Self {
        let socket = site.fresh("kit.sock");
        let mut command = Command::new("nbdkit");
        command.args(["-f", "--exit-with-parent", "-U"]).arg(&socket).args(args);
        Self::start(command, socket)
    }

    /// The same on a socket that is known already: a server that comes back.
    pub fn nbdkit_at(socket: &Path, args: &[&str]) -> Self {
        let _ = std::fs::remove_file(socket);
        let mut command = Command::new("nbdkit");
        command.args(["-f", "--exit-with-parent", "-U"]).arg(socket).args(args);
        Self::start(command, socket.to_owned())
    }

    /// `qemu-nbd -t -e 8 -k SOCKET ARGS`
    pub fn qemu_nbd(site: &Site, args: &[&str]) -> Self {
        let socket = site.fresh("qemu.sock");
        let mut command = Command::new("qemu-nbd");
        command.args(["-t", "-e", "8", "-k"]).arg(&socket).args(args);
        Self::start(command, socket)
    }

    fn start(mut command: Command, socket: PathBuf) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut peer = Self { child, socket };
        let begun = Instant::now();
        while UnixStream::connect(&peer.socket).is_err() {
            assert!(peer.child.try_wait().unwrap().is_none(), "{command:?} has ended");
            assert!(begun.elapsed() < PATIENCE, "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        peer
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// URI of one of its exports.
    pub fn uri(&self, export: &str) -> String {
        format!("nbd+unix:///{export}?socket={}", self.socket.display())
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `strongroom serve` that clients can come to.
pub struct Serving {
    child: Option<Child>,
    stdout: BufReader<ChildStdout>,
    line: String,
    /// What it said on standard output when it began to listen.
    pub uris: Vec<String>,
}

impl Serving {
    /// Serves over a new socket and waits until it says where.
    pub fn start(site: &Site, selector: &str, disks: usize, more: &[&str]) -> Self {
        let socket = site.fresh("serve.sock");
        let mut args = vec!["serve", selector, "--socket", socket.to_str().unwrap()];
        args.extend(more);
        Self::start_with(site, &args, disks)
    }

    /// Serves with exactly these arguments.
    pub fn start_with(site: &Site, args: &[&str], lines: usize) -> Self {
        let mut child = site.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let line = format!("strongroom {}", args.join(" "));
        let mut uris = Vec::new();
        for _ in 0..lines {
            let mut text = String::new();
            if stdout.read_line(&mut text).unwrap() == 0 {
                panic!("{line}: {:?}", child.wait_with_output());
            }
            uris.push(text.trim_end().to_owned());
        }
        Self { child: Some(child), stdout, line, uris }
    }

    /// URI of its only export.
    pub fn uri(&self) -> &str {
        &self.uris[0]
    }

    /// Waits for its end.
    pub fn end(mut self) -> Run {
        let child = self.child.take().unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let mut output = child.wait_with_output().unwrap();
        output.stdout = rest.into_bytes();
        Run::of(self.line.clone(), output)
    }

    /// Ctrl-C, and its end.
    pub fn stop(self) -> Run {
        self.signal(rustix::process::Signal::INT);
        self.end()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok());
        let _ = rustix::process::kill_process(id.and_then(rustix::process::Pid::from_raw).unwrap(), signal);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A folder of certificates: `ca-cert.pem`, `server-cert.pem`, `server-key.pem`, and the same again under another authority in
/// `other/`; the server is `localhost`.
pub fn certificates(folder: &Path) {
    for place in [folder.to_owned(), folder.join("other")] {
        std::fs::create_dir_all(&place).unwrap();
        let at = |name: &str| place.join(name).to_str().unwrap().to_owned();
        let (ca_key, ca, key, request, cert) =
            (at("ca-key.pem"), at("ca-cert.pem"), at("server-key.pem"), at("request.pem"), at("server-cert.pem"));
        let elliptic = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256"];
        let mut args = vec!["req", "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", &ca_key, "-out", &ca];
        args.extend(elliptic);
        succeeds("openssl", &args);
        let mut args = vec!["req", "-subj", "/CN=localhost", "-keyout", &key, "-out", &request];
        args.extend(elliptic);
        succeeds("openssl", &args);
        std::fs::write(at("extensions"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
        let extensions = at("extensions");
        succeeds(
            "openssl",
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                &ca,
                "-CAkey",
                &ca_key,
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                &extensions,
                "-out",
                &cert,
            ],
        );
    }
}

/// SHA-256 of a certificate, as openssl prints it.
pub fn fingerprint(certificate: &Path) -> String {
    let text =
        succeeds("openssl", &["x509", "-noout", "-fingerprint", "-sha256", "-in", certificate.to_str().unwrap()]);
    text.trim().rsplit('=').next().unwrap().to_owned()
}
