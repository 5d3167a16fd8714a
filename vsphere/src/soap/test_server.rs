//! A server for tests, in this process: HTTPS with a certificate of its own, answers from a table, every request kept.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned, crypto,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{Document, Endpoint, Thumbprint, first_sight};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `POST /sdk`
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The SOAP call; of other requests the request line.
    pub(crate) fn call(&self) -> String {
        match Document::read(self.body.clone()) {
            Ok(document) => document.root().child("Body").unwrap().children()[0].name().to_owned(),
            Err(_) => self.line.clone(),
        }
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Http {
        status: u16,
        headers: Vec<String>,
        body: Vec<u8>,
    },
    /// The connection ends without an answer.
    HangUp,
}

impl Reply {
    pub(crate) fn http(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Http { status, headers: Vec::new(), body: body.into() }
    }

    /// The response to a call, with this inside.
    pub(crate) fn response(call: &str, inside: &str) -> Self {
        Self::http(
            200,
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
                 xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
                 <soapenv:Body><{call}Response xmlns=\"urn:vim25\">{inside}</{call}Response></soapenv:Body></soapenv:Envelope>"
            ),
        )
    }

    /// A fault of this type.
    pub(crate) fn fault(fault_type: &str, message: &str) -> Self {
        Self::fault_with(fault_type, message, "")
    }

    pub(crate) fn fault_with(fault_type: &str, message: &str, inside: &str) -> Self {
        Self::http(
            500,
            format!(
                "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsi=\"x\"><soapenv:Body>\
                 <soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{message}</faultstring><detail>\
                 <{fault_type}Fault xmlns=\"urn:vim25\" xsi:type=\"{fault_type}\">{inside}</{fault_type}Fault></detail>\
                 </soapenv:Fault></soapenv:Body></soapenv:Envelope>"
            ),
        )
    }

    pub(crate) fn with_header(self, line: &str) -> Self {
        match self {
            Self::Http { status, mut headers, body } => {
                headers.push(line.to_owned());
                Self::Http { status, headers, body }
            }
            Self::HangUp => self,
        }
    }
}

/// The value of the cookie that the n-th login sets.
pub(crate) fn cookie_of_login(number: usize) -> String {
    format!("vmware_soap_session=\"c00c1e-{number}==\"")
}

pub(crate) struct TestServer {
    pub(crate) endpoint: Endpoint,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl TestServer {
    /// Every request is answered by `answer`.
    pub(crate) fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("127.0.0.1:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let (config, answer, seen) = (tls(), Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let stream = StreamOwned::new(session, stream.unwrap());
                let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                thread::spawn(move || serve(BufReader::new(stream), &*answer, &kept));
            }
        });
        Self { endpoint, seen }
    }

    /// A vCenter that can be logged in to; everything else is answered by `answer`, with the call's name and how often it was
    /// made before.
    pub(crate) fn vcenter(answer: impl Fn(&str, usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let counts: Mutex<std::collections::BTreeMap<String, usize>> = Mutex::default();
        Self::start(move |seen| {
            let call = seen.call();
            let number = {
                let mut counts = counts.lock().unwrap();
                let count = counts.entry(call.clone()).or_default();
                *count += 1;
                *count - 1
            };
            match call.as_str() {
                "RetrieveServiceContent" => Reply::response(&call, SERVICE_CONTENT),
                "Login" => Reply::response(&call, "<returnval><key>52-key</key><userName>svc</userName></returnval>")
                    .with_header(&format!("Set-Cookie: {}; Path=/; HttpOnly; Secure", cookie_of_login(number + 1))),
                "Logout" | "DestroyView" => Reply::response(&call, ""),
                _ => answer(&call, number, seen),
            }
        })
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often a call was made.
    pub(crate) fn count(&self, call: &str) -> usize {
        self.seen().iter().filter(|seen| seen.call() == call).count()
    }

    pub(crate) fn pin(&self) -> Thumbprint {
        first_sight(&self.endpoint).unwrap().sha256
    }
}

const SERVICE_CONTENT: &str = "<returnval><rootFolder type=\"Folder\">group-d1</rootFolder>\
    <propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>\
    <viewManager type=\"ViewManager\">ViewManager</viewManager>\
    <about><name>VMware vCenter Server</name><fullName>VMware vCenter Server 8.0.2 build-1</fullName>\
    <apiType>VirtualCenter</apiType><apiVersion>8.0.2.0</apiVersion>\
    <instanceUuid>dbed6e0c-bd88-4ef6-b594-21283e1c677f</instanceUuid></about>\
    <sessionManager type=\"SessionManager\">SessionManager</sessionManager>\
    <authorizationManager type=\"AuthorizationManager\">AuthorizationManager</authorizationManager>\
    <searchIndex type=\"SearchIndex\">SearchIndex</searchIndex>\
    <cryptoManager type=\"CryptoManagerKmip\">CryptoManager</cryptoManager></returnval>";

fn serve(
    mut stream: BufReader<StreamOwned<ServerConnection, std::net::TcpStream>>,
    answer: &dyn Fn(&Seen) -> Reply,
    kept: &Mutex<Vec<Seen>>,
) {
    while let Some(seen) = read_request(&mut stream) {
        // The look at the certificate is no call.
        let reply = match seen.line.starts_with("GET /sdk/") {
            true => Reply::http(404, ""),
            false => {
                kept.lock().unwrap().push(seen.clone());
                answer(&seen)
            }
        };
        let Reply::Http { status, headers, body } = reply else { return };
        let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|line| head.push_str(&format!("{line}\r\n")));
        head.push_str("\r\n");
        let stream = stream.get_mut();
        if stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&body))
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
    }
}

fn read_request(stream: &mut impl BufRead) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.first()?.rsplit_once(' ')?.0.to_owned();
    let headers: Vec<(String, String)> = lines
        .iter()
        .skip(1)
        .map(|line| line.split_once(':').map(|(key, value)| (key.to_owned(), value.trim().to_owned())).unwrap())
        .collect();
    let mut seen = Seen { line, headers, body: Vec::new() };
    let length = seen.header("Content-Length").map_or(0, |length| length.parse().unwrap());
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body).ok()?;
    Some(seen)
}

/// One key and certificate for all servers of a test run would be one pin for all: each has its own.
fn tls() -> Arc<ServerConfig> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let certificate = CertificateDer::from(self_signed(&key));
    let pkcs8 = key.to_pkcs8v1().unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()));
    let builder = ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => out.push(length),
        Ok(length) => out.extend([0x81, length]),
        Err(_) => {
            out.push(0x82);
            out.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        }
    }
    out.extend(content);
    out
}

/// A certificate of version 3 over a P-256 key, signed by itself.
fn self_signed(key: &EcdsaKeyPair) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    let algorithm = der(SEQUENCE, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
    let name = der(SEQUENCE, &[&der(0x31, &[&der(SEQUENCE, &[&[6, 3, 0x55, 4, 3], &der(0x0c, &[b"vc-test"])])])]);
    let validity = der(SEQUENCE, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"491231235959Z"])]);
    let curve: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let public = der(SEQUENCE, &[&der(SEQUENCE, &[curve]), &der(3, &[&[0], key.public_key().as_ref()])]);
    let version = der(0xa0, &[&[2, 1, 2]]);
    let signed = der(SEQUENCE, &[&version, &[2, 1, 1], &algorithm, &name, &validity, &name, &public]);
    let signature = key.sign(&SystemRandom::new(), &signed).unwrap();
    der(SEQUENCE, &[&signed, &algorithm, &der(3, &[&[0], signature.as_ref()])])
}
