//! Calls: envelope out, envelope or fault back, again where that is safe. Knows no object of any server.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use engine::Kind;
use ureq::http;
use zeroize::Zeroizing;

use super::{
    certificate::{Certificate, Thumbprint, Trust},
    fault::{Fault, FaultClass},
    http::{ANSWER_BYTES_MAX, Endpoint, Http, HttpAnswer, HttpRequest, Sent, TransportError},
    managed_object::ManagedObject,
    xml::{Document, Element, XmlError, escaped},
};

/// The cookie by which a server knows a session.
const SESSION_COOKIE: &str = "vmware_soap_session";
/// How often a call marked so is made once more.
const TRIES_AGAIN: u32 = 3;

/// Which service is asked. Both know the session, each by other means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `/sdk`: vCenter itself. The session is a cookie.
    Vim,
    /// `/pbm`: storage policies. The session is a header of the envelope, and a cookie would be another session.
    Pbm,
}

/// Whether a call may be made once more when nobody knows what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It only asks.
    Yes,
    /// It changes something: state is read first.
    No,
}

/// A call that a server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    pub(crate) name: &'static str,
    pub(crate) door: Door,
    pub(crate) again: Again,
}

impl Method {
    /// Its name in the API.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// An answer that no SOAP server gives.
    #[error("vcenter {server}: {what}: HTTP status {status}")]
    Status {
        /// The server.
        server: Endpoint,
        /// What was asked.
        what: String,
        /// The status.
        status: u16,
    },
    /// An answer that cannot be read.
    #[error("vcenter {server}: {method}: {source}")]
    Xml {
        /// The server.
        server: Endpoint,
        /// The call.
        method: &'static str,
        /// Why not.
        source: XmlError,
    },
    /// A well-formed answer that lacks what the call is made for.
    #[error("vcenter {server}: {method}: the answer has no {wanted}")]
    Incomplete {
        /// The server.
        server: Endpoint,
        /// The call.
        method: &'static str,
        /// What is not there.
        wanted: &'static str,
    },
    /// The server says no.
    #[error("{method} on {on}: {fault}")]
    Fault {
        /// The call.
        method: &'static str,
        /// On what.
        on: ManagedObject,
        /// Why.
        fault: Box<Fault>,
    },
    /// The session ended, and no other could be begun.
    #[error("the session ended and could not be renewed: {0}")]
    SessionLost(Box<crate::session::LoginError>),
}

impl CallError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Transport(error) => error.kind(),
            Self::Status { status, .. } => match status {
                404 => Kind::Missing,
                429 | 502..=504 => Kind::Unavailable,
                _ => Kind::Failed,
            },
            Self::Xml { .. } | Self::Incomplete { .. } => Kind::Failed,
            Self::Fault { fault, .. } => fault.kind(),
            Self::SessionLost(error) => error.kind(),
        }
    }

    /// The server's reason, if it gave one.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault { fault, .. } => Some(fault),
            _ => None,
        }
    }

    /// What the server's reason means, if it gave one.
    pub fn class(&self) -> Option<FaultClass> {
        self.fault().map(Fault::class)
    }

    /// Whether the call may have had its effect although it has no result.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Transport(TransportError::Connection { sent, .. }) => *sent == Sent::Perhaps,
            Self::Transport(TransportError::TooLarge { .. }) | Self::Xml { .. } | Self::Incomplete { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Transport(_) | Self::Fault { .. } | Self::SessionLost(_) => false,
        }
    }

    fn was_not_sent(&self) -> bool {
        matches!(self, Self::Transport(TransportError::Connection { sent: Sent::No, .. }))
    }

    fn is_passing(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_passing(),
            Self::Status { .. } => self.kind() == Kind::Unavailable,
            Self::Fault { fault, .. } => fault.class() == FaultClass::HostUnreachable,
            _ => false,
        }
    }
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct Answer {
    document: Document,
}

impl Answer {
    fn response(&self) -> &Element {
        let body = self.document.root().child("Body").and_then(|body| body.children().first());
        body.unwrap_or_else(|| self.document.root())
    }

    /// The one value it returns, or the first of several.
    pub fn value(&self) -> Option<&Element> {
        self.response().child("returnval")
    }

    /// All values it returns: a list has no element of its own around it, and an empty one is nothing.
    pub fn values(&self) -> impl Iterator<Item = &Element> {
        self.response().all("returnval")
    }

    /// The whole answer, of which values can be had byte for byte.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The whole answer.
    pub fn into_document(self) -> Document {
        self.document
    }
}

/// Calls to one server, in one session at a time.
pub(crate) struct Client {
    http: Http,
    /// `vmware_soap_session="…"` as the server set it, quotes and all.
    cookie: Mutex<Option<Zeroizing<String>>>,
    api_version: Mutex<String>,
    retry_first: Duration,
}

impl Client {
    /// `retry_first` is waited for before the first repetition, twice as long before the next.
    pub(crate) fn new(endpoint: Endpoint, pin: Thumbprint, retry_first: Duration) -> Result<Self, TransportError> {
        let http = Http::new(endpoint, Trust::Pinned(pin))?;
        let api_version = Mutex::new("6.5".to_owned());
        Ok(Self { http, cookie: Mutex::new(None), api_version, retry_first })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.http.endpoint()
    }

    pub(crate) fn certificate(&self) -> Option<Certificate> {
        self.http.certificate()
    }

    /// What is said in `SOAPAction` from now on.
    pub(crate) fn speak(&self, api_version: &str) {
        api_version.clone_into(&mut self.api_version.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn cookie(&self) -> Option<Zeroizing<String>> {
        self.cookie.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The value of the session's cookie, without quotes.
    pub(crate) fn cookie_value(&self) -> Option<Zeroizing<String>> {
        let cookie = self.cookie()?;
        let (_, value) = cookie.split_once('=')?;
        Some(Zeroizing::new(value.trim_matches('"').to_owned()))
    }

    pub(crate) fn call(&self, method: Method, on: &ManagedObject, params: &[Element]) -> Result<Answer, CallError> {
        let params: String = params.iter().map(Element::to_xml).collect();
        self.with_patience(method.again, || {
            self.call_once(method, on, &params, self.cookie()).map(|(answer, _)| answer)
        })
    }

    /// A call that begins a session: without a cookie, and what it sets is kept from then on. The password stands nowhere but in
    /// the request.
    pub(crate) fn log_in(
        &self,
        method: Method,
        on: &ManagedObject,
        user: &str,
        password: &str,
    ) -> Result<Answer, CallError> {
        let password = Zeroizing::new(escaped(password));
        let params = Zeroizing::new(format!(
            "{}<password>{}</password>",
            Element::text_of("userName", user).to_xml(),
            password.as_str()
        ));
        let (answer, cookie) = self.with_patience(method.again, || self.call_once(method, on, &params, None))?;
        let missing = || CallError::Incomplete {
            server: self.endpoint().clone(),
            method: method.name,
            wanted: "cookie vmware_soap_session",
        };
        *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = Some(cookie.ok_or_else(missing)?);
        Ok(answer)
    }

    /// Reads a file of a datastore: `path` and query, percent-encoded.
    pub(crate) fn get(&self, path: &str, bytes_max: u64) -> Result<Vec<u8>, CallError> {
        self.with_patience(Again::Yes, || self.file(http::Method::GET, path, &[], bytes_max).map(|answer| answer.body))
    }

    /// Writes a file of a datastore, as [`Client::get`] reads it.
    pub(crate) fn put(&self, path: &str, content: &[u8]) -> Result<(), CallError> {
        self.with_patience(Again::Yes, || self.file(http::Method::PUT, path, content, ANSWER_BYTES_MAX).map(|_| ()))
    }

    /// What was never sent is sent again whatever it is: a server that is being restarted refuses connections.
    fn with_patience<T>(&self, again: Again, call: impl Fn() -> Result<T, CallError>) -> Result<T, CallError> {
        let mut pause = self.retry_first;
        for _ in 0..TRIES_AGAIN {
            match call() {
                Err(error) if error.is_passing() && (again == Again::Yes || error.was_not_sent()) => {
                    thread::sleep(pause)
                }
                result => return result,
            }
            pause = pause.saturating_mul(2);
        }
        call()
    }

    fn call_once(
        &self,
        method: Method,
        on: &ManagedObject,
        params: &str,
        cookie: Option<Zeroizing<String>>,
    ) -> Result<(Answer, Option<Zeroizing<String>>), CallError> {
        let (path, namespace, action) = match method.door {
            Door::Vim => {
                let version = self.api_version.lock().unwrap_or_else(PoisonError::into_inner);
                ("/sdk", "urn:vim25", format!("urn:vim25/{version}"))
            }
            Door::Pbm => ("/pbm", "urn:pbm", "urn:pbm/".to_owned()),
        };
        let in_envelope = match method.door {
            Door::Vim => None,
            Door::Pbm => self.cookie_value(),
        };
        let body = envelope(method.name, namespace, on, params, in_envelope.as_deref().map(String::as_str));
        let mut headers = vec![("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", action.as_str())];
        if let (Door::Vim, Some(cookie)) = (method.door, &cookie) {
            headers.push(("Cookie", cookie.as_str()));
        }
        let request = HttpRequest {
            method: http::Method::POST,
            path,
            headers: &headers,
            body: body.as_bytes(),
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let answer = self.http.ask(&request)?;
        let cookie = answer.cookie(SESSION_COOKIE).map(|cookie| Zeroizing::new(cookie.to_owned()));
        Ok((self.understood(method, on, answer)?, cookie))
    }

    fn understood(&self, method: Method, on: &ManagedObject, answer: HttpAnswer) -> Result<Answer, CallError> {
        let server = || self.endpoint().clone();
        if !matches!(answer.status, 200 | 500) {
            return Err(CallError::Status { server: server(), what: method.name.to_owned(), status: answer.status });
        }
        let status = answer.status;
        let document = match Document::read(answer.body) {
            Ok(document) => document,
            // A proxy's or a servlet's page of an error, in HTML.
            Err(_) if status == 500 => {
                return Err(CallError::Status { server: server(), what: method.name.to_owned(), status });
            }
            Err(source) => return Err(CallError::Xml { server: server(), method: method.name, source }),
        };
        let response = document.root().child("Body").and_then(|body| body.children().first());
        let response = response.filter(|_| document.root().name() == "Envelope");
        let Some(response) = response else {
            return Err(CallError::Incomplete { server: server(), method: method.name, wanted: "SOAP body" });
        };
        if response.name() == "Fault" {
            let fault = Box::new(Fault::of_answer(response));
            return Err(CallError::Fault { method: method.name, on: on.clone(), fault });
        }
        if response.name().strip_suffix("Response") != Some(method.name) || status != 200 {
            return Err(CallError::Incomplete {
                server: server(),
                method: method.name,
                wanted: "response to this call",
            });
        }
        Ok(Answer { document })
    }

    fn file(&self, method: http::Method, path: &str, body: &[u8], bytes_max: u64) -> Result<HttpAnswer, CallError> {
        let cookie = self.cookie();
        let mut headers = Vec::new();
        if method == http::Method::PUT {
            headers.push(("Content-Type", "application/octet-stream"));
        }
        if let Some(cookie) = &cookie {
            headers.push(("Cookie", cookie.as_str()));
        }
        let what = format!("{method} {}", path.split('?').next().unwrap_or_default());
        let request = HttpRequest { method, path, headers: &headers, body, answer_bytes_max: bytes_max };
        let answer = self.http.ask(&request)?;
        match answer.status {
            200..300 => Ok(answer),
            status => Err(CallError::Status { server: self.endpoint().clone(), what, status }),
        }
    }
}

/// Never the cookie.
impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("endpoint", self.endpoint()).finish_non_exhaustive()
    }
}

fn envelope(
    method: &str,
    namespace: &str,
    on: &ManagedObject,
    params: &str,
    session: Option<&str>,
) -> Zeroizing<String> {
    let header = match session {
        Some(session) => {
            let cookie = Element::text_of("vcSessionCookie", session).to_xml();
            format!("<soapenv:Header>{cookie}</soapenv:Header>")
        }
        None => String::new(),
    };
    Zeroizing::new(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         {header}<soapenv:Body><{method} xmlns=\"{namespace}\">{}{params}</{method}></soapenv:Body></soapenv:Envelope>",
        on.element("_this").to_xml()
    ))
}

/// Looks at the certificate of a server, to whom nothing is said but "good day". For the first use: it is shown to the operator and
/// pinned from then on.
pub fn first_sight(endpoint: &Endpoint) -> Result<Certificate, TransportError> {
    let http = Http::new(endpoint.clone(), Trust::Anybody)?;
    let request = HttpRequest {
        method: http::Method::GET,
        path: "/sdk/vimServiceVersions.xml",
        headers: &[],
        body: &[],
        answer_bytes_max: 1 << 20,
    };
    match http.ask(&request) {
        Ok(_) | Err(TransportError::TooLarge { .. }) => {}
        Err(error) => return Err(error),
    }
    http.certificate().ok_or_else(|| TransportError::Setup("the handshake showed no certificate".to_owned()))
}

#[cfg(test)]
mod tests;
