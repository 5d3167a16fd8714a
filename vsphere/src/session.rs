//! A session with one vCenter: who we are there, kept alive, renewed when it ends.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc},
    thread,
    time::Duration,
};

use engine::Kind;
use zeroize::Zeroizing;

use crate::{
    calls,
    soap::{
        Answer, CallError, Certificate, Client, Element, Endpoint, FaultClass, ManagedObject, Method, Thumbprint,
        TransportError,
    },
    stop::Stop,
};

/// A password: wiped when dropped, never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes over the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Password(…)")
    }
}

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// As vCenter knows the user: `svc@vsphere.local`.
    pub user: String,
    /// The password.
    pub password: Password,
}

/// How long things are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPace {
    /// A sign of life is given this often; a session dies after 30 idle minutes.
    pub keep_alive_every: Duration,
    /// Before a call is made again for the first time; then twice as long each time.
    pub retry_first: Duration,
    /// An object that is busy with something else is waited for so long.
    pub busy_max: Duration,
    /// Between the first two looks at a task; then twice as long each time.
    pub task_look_first: Duration,
    /// At most between two looks at a task.
    pub task_look_max: Duration,
}

impl Default for SessionPace {
    fn default() -> Self {
        Self {
            keep_alive_every: Duration::from_secs(5 * 60),
            retry_first: Duration::from_secs(1),
            busy_max: Duration::from_secs(10 * 60),
            task_look_first: Duration::from_millis(20),
            task_look_max: Duration::from_secs(2),
        }
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// User or password.
    #[error("vcenter {server}: login as {user} refused ({fault})")]
    Refused {
        /// The server.
        server: Endpoint,
        /// Who tried.
        user: String,
        /// The type of the fault.
        fault: String,
    },
    /// It does not know the oldest version that is spoken here.
    #[error("vcenter {server} is older than 6.5, with which VM encryption begins: it is not supported ({fault})")]
    TooOld {
        /// The server.
        server: Endpoint,
        /// What it says.
        fault: String,
    },
    /// There is a server, and it is none of VMware's, or too new to be understood.
    #[error("{server} does not answer as a vCenter does: {what}")]
    NoVcenter {
        /// The server.
        server: Endpoint,
        /// What is missing.
        what: &'static str,
    },
    /// No answer, or another one than expected.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl LoginError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused { .. } => Kind::Failed,
            Self::TooOld { .. } | Self::NoVcenter { .. } => Kind::Invalid,
            Self::Call(error) => error.kind(),
        }
    }
}

impl From<TransportError> for LoginError {
    fn from(error: TransportError) -> Self {
        Self::Call(error.into())
    }
}

/// What a server says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// `VMware vCenter Server 8.0.2 build-…`
    pub full_name: String,
    /// `VirtualCenter`, or `HostAgent` for a host asked directly.
    pub api_type: String,
    /// `8.0.2.0`
    pub api_version: String,
    /// The identity of the vCenter; a host alone has none.
    pub instance_uuid: Option<String>,
}

impl About {
    /// Whether it is a vCenter, and not a host asked directly.
    pub fn is_vcenter(&self) -> bool {
        self.api_type == "VirtualCenter"
    }

    /// Major and minor part of the API's version; `None` if it has none that can be read.
    pub fn api_level(&self) -> Option<(u32, u32)> {
        let mut parts = self.api_version.split('.');
        let major = parts.next()?.parse().ok()?;
        Some((major, parts.next().unwrap_or("0").parse().ok()?))
    }
}

/// The objects of a server by which everything else is found.
#[derive(Clone, Debug)]
pub struct ServiceContent {
    /// What the server is.
    pub about: About,
    /// The folder above all datacenters.
    pub root_folder: ManagedObject,
    /// Reads properties.
    pub property_collector: ManagedObject,
    /// Makes views.
    pub view_manager: ManagedObject,
    /// Logs in and out.
    pub session_manager: ManagedObject,
    /// Knows who may do what.
    pub authorization_manager: ManagedObject,
    /// Finds objects by uuid.
    pub search_index: ManagedObject,
    /// Knows key providers. A server that is too old has none.
    pub crypto_manager: Option<ManagedObject>,
}

/// A session, logged in. Ends when dropped.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    stop: Stop,
    /// The keep-alive thread ends when this does.
    _alive: mpsc::Sender<()>,
}

struct Shared {
    client: Client,
    credentials: Credentials,
    content: ServiceContent,
    pace: SessionPace,
    login: Mutex<Login>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, user) = (self.client.endpoint(), &self.credentials.user);
        out.debug_struct("Session").field("server", server).field("user", user).finish_non_exhaustive()
    }
}

/// The current login, of several in the life of a session.
struct Login {
    number: u64,
    key: String,
}

impl Session {
    /// Logs in at `endpoint`, which must have the pinned certificate: nothing is said to any other.
    pub fn login(
        endpoint: Endpoint,
        pin: Thumbprint,
        credentials: Credentials,
        pace: SessionPace,
    ) -> Result<Self, LoginError> {
        let client = Client::new(endpoint, pin, pace.retry_first)?;
        let content = service_content(&client)?;
        client.speak(&content.about.api_version);
        let key = log_in(&client, &content.session_manager, &credentials)?;
        let login = Mutex::new(Login { number: 1, key });
        let shared = Arc::new(Shared { client, credentials, content, pace, login });
        let (_alive, ended) = mpsc::channel();
        let weak = Arc::downgrade(&shared);
        thread::spawn(move || keep_alive(&weak, &ended, pace.keep_alive_every));
        Ok(Self { shared, stop: Stop::default(), _alive })
    }

    /// Waits of this session end early when `stop` says so.
    #[must_use]
    pub fn stopping(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Makes a call.
    ///
    /// If the session has ended, another is begun, once, and the call made again: a call that is refused for want of a session has
    /// done nothing.
    pub fn call(&self, method: Method, on: &ManagedObject, params: &[Element]) -> Result<Answer, CallError> {
        self.shared.logged_in(|client| client.call(method, on, params))
    }

    /// As [`Session::call`], for calls that return exactly one value; `wanted` says in an error what it is.
    pub fn call_for(
        &self,
        method: Method,
        on: &ManagedObject,
        params: &[Element],
        wanted: &'static str,
    ) -> Result<Element, CallError> {
        let answer = self.call(method, on, params)?;
        answer.value().cloned().ok_or_else(|| self.incomplete(method, wanted))
    }

    /// Reads a file of a datastore, at most `bytes_max` of it.
    pub(crate) fn get(&self, path: &str, bytes_max: u64) -> Result<Vec<u8>, CallError> {
        self.shared.logged_in(|client| client.get(path, bytes_max))
    }

    /// Writes a file of a datastore.
    pub(crate) fn put(&self, path: &str, content: &[u8]) -> Result<(), CallError> {
        self.shared.logged_in(|client| client.put(path, content))
    }

    pub(crate) fn incomplete(&self, method: Method, wanted: &'static str) -> CallError {
        CallError::Incomplete { server: self.server().clone(), method: method.name, wanted }
    }

    /// The objects by which everything else is found.
    pub fn content(&self) -> &ServiceContent {
        &self.shared.content
    }

    /// What the server is.
    pub fn about(&self) -> &About {
        &self.content().about
    }

    /// Where it is.
    pub fn server(&self) -> &Endpoint {
        self.shared.client.endpoint()
    }

    /// Who is logged in.
    pub fn credentials(&self) -> &Credentials {
        &self.shared.credentials
    }

    /// Its certificate, with the thumbprint that VDDK wants.
    pub fn certificate(&self) -> Option<Certificate> {
        self.shared.client.certificate()
    }

    /// How long things are waited for.
    pub fn pace(&self) -> SessionPace {
        self.shared.pace
    }

    /// The key of the current login, by which rights are asked for.
    pub fn key(&self) -> String {
        self.shared.login().key.clone()
    }

    /// How often this session was begun: what was made of its cookie before it grew is stale.
    pub fn login_number(&self) -> u64 {
        self.shared.login().number
    }

    /// Logs out. Dropping does the same; here it can be seen to fail.
    pub fn close(self) -> Result<(), CallError> {
        let result = self.shared.log_out();
        // The drop that follows must not log out a second time.
        self.shared.login().number = 0;
        result
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.login_number() != 0 {
            // The server ends it by itself in half an hour.
            let _ = self.shared.log_out();
        }
    }
}

impl Shared {
    fn login(&self) -> MutexGuard<'_, Login> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logged_in<T>(&self, call: impl Fn(&Client) -> Result<T, CallError>) -> Result<T, CallError> {
        let number = self.login().number;
        match call(&self.client) {
            Err(error) if wants_login(&error) => {
                self.log_in_again(number)?;
                call(&self.client)
            }
            result => result,
        }
    }

    /// Begins another session in place of the login `ended`, unless somebody else has done so meanwhile.
    fn log_in_again(&self, ended: u64) -> Result<(), CallError> {
        let mut login = self.login();
        if login.number == ended {
            let key = log_in(&self.client, &self.content.session_manager, &self.credentials);
            login.key = key.map_err(|error| CallError::SessionLost(Box::new(error)))?;
            login.number += 1;
        }
        Ok(())
    }

    fn log_out(&self) -> Result<(), CallError> {
        self.client.call(calls::LOGOUT, &self.content.session_manager, &[]).map(|_| ())
    }
}

fn wants_login(error: &CallError) -> bool {
    match error {
        CallError::Status { status, .. } => *status == 401,
        error => error.class() == Some(FaultClass::NotAuthenticated),
    }
}

fn keep_alive(session: &Weak<Shared>, ended: &mpsc::Receiver<()>, every: Duration) {
    while ended.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
        let Some(session) = session.upgrade() else { return };
        // A failure is not lost: whoever calls next has it too, and can say what it was about.
        let _ = session.logged_in(|client| client.call(calls::CURRENT_TIME, &service_instance(), &[]));
    }
}

fn service_instance() -> ManagedObject {
    ManagedObject::new("ServiceInstance", "ServiceInstance")
}

fn log_in(client: &Client, manager: &ManagedObject, credentials: &Credentials) -> Result<String, LoginError> {
    let server = || client.endpoint().clone();
    let answer = match client.log_in(calls::LOGIN, manager, &credentials.user, credentials.password.expose()) {
        Ok(answer) => answer,
        Err(CallError::Fault { fault, .. })
            if matches!(fault.class(), FaultClass::LoginRefused | FaultClass::NoPermission { .. }) =>
        {
            let (user, fault) = (credentials.user.clone(), fault.fault_type().to_owned());
            return Err(LoginError::Refused { server: server(), user, fault });
        }
        Err(error) => return Err(error.into()),
    };
    let key = answer.value().and_then(|session| session.text_at("key"));
    key.map(str::to_owned).ok_or(LoginError::NoVcenter { server: server(), what: "the session has no key" })
}

/// The first call is made in the oldest version that is spoken here: whoever does not know that one is older.
fn too_old(client: &Client, error: CallError) -> LoginError {
    match &error {
        CallError::Fault { fault, .. } if fault.message().contains("Unsupported version URI") => {
            LoginError::TooOld { server: client.endpoint().clone(), fault: fault.message().to_owned() }
        }
        _ => error.into(),
    }
}

fn service_content(client: &Client) -> Result<ServiceContent, LoginError> {
    let missing = |what| LoginError::NoVcenter { server: client.endpoint().clone(), what };
    let answer = client.call(calls::RETRIEVE_SERVICE_CONTENT, &service_instance(), &[]);
    let answer = answer.map_err(|error| too_old(client, error))?;
    let content = answer.value().ok_or(missing("no service content"))?;
    let object = |name: &'static str| content.child(name).and_then(ManagedObject::of).ok_or(missing(name));
    let about = content.child("about").ok_or(missing("about"))?;
    let text = |name: &str| about.text_at(name).unwrap_or_default().to_owned();
    Ok(ServiceContent {
        about: About {
            full_name: text("fullName"),
            api_type: text("apiType"),
            api_version: text("apiVersion"),
            instance_uuid: about.text_at("instanceUuid").filter(|uuid| !uuid.is_empty()).map(str::to_owned),
        },
        root_folder: object("rootFolder")?,
        property_collector: object("propertyCollector")?,
        view_manager: object("viewManager")?,
        session_manager: object("sessionManager")?,
        authorization_manager: object("authorizationManager")?,
        search_index: object("searchIndex")?,
        crypto_manager: content.child("cryptoManager").and_then(ManagedObject::of),
    })
}

#[cfg(test)]
mod tests;
