//! A session with a server of this process, for tests.

use std::time::Duration;

use crate::{
    session::{Credentials, LoginError, Password, Session, SessionPace},
    soap::{
        ManagedObject,
        test_server::{Reply, Seen, TestServer},
    },
};

/// Nothing is waited for longer than a test can bear.
pub(crate) fn pace() -> SessionPace {
    let short = Duration::from_millis(1);
    let keep_alive_every = Duration::from_secs(600);
    let busy_max = Duration::from_secs(2);
    SessionPace { keep_alive_every, retry_first: short, busy_max, task_look_first: short, task_look_max: short }
}

pub(crate) fn login(server: &TestServer, pace: SessionPace) -> Result<Session, LoginError> {
    let credentials = Credentials { user: "svc".to_owned(), password: Password::new("canary-pw".to_owned()) };
    Session::login(server.endpoint.clone(), server.pin(), credentials, pace)
}

/// A session with a vCenter that answers like this.
pub(crate) fn session(answer: impl Fn(&str, usize, &Seen) -> Reply + Send + Sync + 'static) -> (TestServer, Session) {
    let server = TestServer::vcenter(answer);
    let session = login(&server, pace()).unwrap();
    (server, session)
}

pub(crate) fn vm() -> ManagedObject {
    ManagedObject::new("VirtualMachine", "vm-16")
}

/// `<propSet>` of a property.
pub(crate) fn property(name: &str, value: &str) -> String {
    format!("<propSet><name>{name}</name><val>{value}</val></propSet>")
}

/// `<objects>` of an object with these parts.
pub(crate) fn object(kind: &str, moref: &str, parts: &str) -> String {
    format!("<objects><obj type=\"{kind}\">{moref}</obj>{parts}</objects>")
}

/// The answer to RetrievePropertiesEx.
pub(crate) fn found(objects: &str) -> Reply {
    Reply::response("RetrievePropertiesEx", &format!("<returnval>{objects}</returnval>"))
}

/// A task that has been begun.
pub(crate) fn begun(call: &str) -> Reply {
    Reply::response(call, "<returnval type=\"Task\">task-7</returnval>")
}

/// What is found when the task that [`begun`] names is looked at.
pub(crate) fn task(state: &str, more: &str) -> Reply {
    found(&object("Task", "task-7", &format!("{}{more}", property("info.state", state))))
}
