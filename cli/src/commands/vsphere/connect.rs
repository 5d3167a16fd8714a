//! Logging in at the vCenter that the command line names; its certificate is pinned from the first contact on.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use vsphere::{
    Credentials, LoginError, Password, Session, SessionPace, Stop,
    soap::{CallError, Endpoint, Thumbprint, TransportError, first_sight},
};

use crate::{
    args::{GlobalArgs, VcenterArgs},
    commands::warning,
    exit::Exit,
    failure::Failure,
    folders,
    output::WarningLine,
    secrets, signals,
};

/// A session, and what a person should know about how it came about.
pub struct Connected {
    /// The session.
    pub session: Session,
    /// Warnings.
    pub warnings: Vec<WarningLine>,
}

/// Logs in.
pub fn connect(global: &GlobalArgs, args: &VcenterArgs) -> Result<Connected, Failure> {
    let endpoint: Endpoint =
        args.vcenter.parse().map_err(|error| Failure::invalid(error, "--vcenter vcenter.example.net"))?;
    let pins = Pins::at(&folders::state(global.state_dir.as_deref())?);
    let mut warnings = Vec::new();
    let pin = match &args.vcenter_thumbprint {
        Some(text) => text.parse().map_err(|error| Failure::invalid(error, "--vcenter-thumbprint AA:BB:.."))?,
        None => match pins.known(&endpoint)? {
            Some(pin) => pin,
            None => {
                let seen = first_sight(&endpoint)
                    .map_err(|error| Failure::of(&error, error.kind(), format!("vcenter {endpoint}")))?
                    .sha256;
                let text = format!(
                    "vcenter {endpoint}: first contact; its certificate has SHA-256 {seen} and is pinned from now on: \
                     compare it with what the vCenter shows"
                );
                warnings.push(warning("first_contact", text));
                seen
            }
        },
    };
    let (password, about_password) = secrets::read_vcenter_password(&args.secrets())?;
    warnings.extend(about_password.into_iter().map(|text| warning("secret", text)));
    let credentials =
        Credentials { user: args.vcenter_user.clone(), password: Password::new(password.as_str().to_owned()) };
    let session = Session::login(endpoint.clone(), pin, credentials, SessionPace::default())
        .map_err(|error| login_failure(&error, &endpoint))?
        .stopping(Stop::when(signals::stopped));
    pins.remember(&endpoint, pin)?;
    Ok(Connected { session, warnings })
}

fn login_failure(error: &LoginError, endpoint: &Endpoint) -> Failure {
    let failure = Failure::of(error, error.kind(), format!("vcenter {endpoint}"));
    match error {
        LoginError::Refused { .. } => failure.with_advice("check user and password"),
        LoginError::Call(CallError::Transport(TransportError::Certificate { found, .. })) => {
            failure.with_advice(format!("if it was renewed: --vcenter-thumbprint {found}"))
        }
        LoginError::TooOld { .. } => failure.with_advice("upgrade the vCenter to 6.5 or newer"),
        LoginError::Call(_) | LoginError::NoVcenter { .. } => failure,
    }
}

/// Certificates of vCenters that were logged in to, a file each in the state folder.
struct Pins {
    folder: PathBuf,
}

impl Pins {
    fn at(state: &Path) -> Self {
        Self { folder: state.join("vcenters") }
    }

    fn path(&self, endpoint: &Endpoint) -> PathBuf {
        // A host's name and a port: nothing in it leaves the folder.
        self.folder.join(format!("{}_{}", endpoint.host().replace(':', "-"), endpoint.port()))
    }

    fn known(&self, endpoint: &Endpoint) -> Result<Option<Thumbprint>, Failure> {
        let path = self.path(endpoint);
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|error| {
                Failure::new(
                    Exit::Failed,
                    error,
                    path.display(),
                    "give --vcenter-thumbprint: it replaces what is there",
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrong(&error, &path)),
        }
    }

    fn remember(&self, endpoint: &Endpoint, pin: Thumbprint) -> Result<(), Failure> {
        if self.known(endpoint).is_ok_and(|known| known == Some(pin)) {
            return Ok(());
        }
        let path = self.path(endpoint);
        let write = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            writeln!(file, "{pin}")?;
            file.as_file().sync_all()?;
            file.persist(&path).map(|_| ()).map_err(|error| error.error)
        };
        write().map_err(|error: io::Error| wrong(&error, &path))
    }
}

fn wrong(error: &io::Error, path: &Path) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the certificate's pin cannot be kept: {error}"),
        path.display(),
        "check --state-dir and its permissions",
    )
}
