use std::time::Duration;

use super::*;
use crate::{
    calls,
    soap::test_server::{Reply, Seen, TestServer, cookie_of_login},
};

fn client(server: &TestServer) -> Client {
    Client::new(server.endpoint.clone(), server.pin(), Duration::from_millis(1)).unwrap()
}

fn logged_in(server: &TestServer) -> Client {
    let client = client(server);
    client.log_in(calls::LOGIN, &ManagedObject::new("SessionManager", "SessionManager"), "svc", "p<&>w").unwrap();
    client
}

fn vm() -> ManagedObject {
    ManagedObject::new("VirtualMachine", "vm-16")
}

fn service() -> ManagedObject {
    ManagedObject::new("ServiceInstance", "ServiceInstance")
}

fn time_answer(call: &str, _: usize, _: &Seen) -> Reply {
    Reply::response(call, "<returnval>2026-11-24T16:00:00Z</returnval>")
}

#[test]
fn the_cookie_of_the_login_is_sent_verbatim_and_no_other() {
    let server = TestServer::vcenter(time_answer);
    let client = logged_in(&server);
    client.call(calls::CURRENT_TIME, &service(), &[]).unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].header("Cookie"), None);
    assert!(seen[0].text().contains("<password>p&lt;&amp;&gt;w</password>"));
    assert_eq!(seen[1].header("Cookie"), Some(cookie_of_login(1).as_str()));
    assert_eq!(client.cookie_value().unwrap().as_str(), "c00c1e-1==");
}

#[test]
fn the_version_of_the_server_is_spoken_once_it_is_known() {
    let server = TestServer::vcenter(time_answer);
    let client = client(&server);
    client.call(calls::CURRENT_TIME, &service(), &[]).unwrap();
    client.speak("8.0.2.0");
    client.call(calls::CURRENT_TIME, &service(), &[]).unwrap();
    let actions: Vec<_> = server.seen().iter().map(|seen| seen.header("SOAPAction").unwrap().to_owned()).collect();
    assert_eq!(actions, ["urn:vim25/6.5", "urn:vim25/8.0.2.0"]);
}

#[test]
fn policies_are_asked_with_the_session_in_the_envelope_and_no_cookie() {
    let server = TestServer::vcenter(|call, _, _| Reply::response(call, "<returnval/>"));
    let client = logged_in(&server);
    client.call(calls::PBM_RETRIEVE_SERVICE_CONTENT, &service(), &[]).unwrap();
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.line, "POST /pbm");
    assert_eq!(seen.header("Cookie"), None);
    assert!(seen.text().contains("<soapenv:Header><vcSessionCookie>c00c1e-1==</vcSessionCookie></soapenv:Header>"));
    assert!(seen.text().contains("xmlns=\"urn:pbm\""));
}

#[test]
fn only_calls_that_ask_are_made_again() {
    let server = TestServer::vcenter(|call, number, seen| match number {
        0 | 1 => Reply::HangUp,
        _ => time_answer(call, number, seen),
    });
    let client = client(&server);
    assert!(client.call(calls::CURRENT_TIME, &service(), &[]).is_ok());
    assert_eq!(server.count("CurrentTime"), 3);
    let error = client.call(calls::CREATE_SNAPSHOT, &vm(), &[]).unwrap_err();
    assert_eq!(server.count("CreateSnapshot_Task"), 1);
    assert!(error.may_have_happened(), "{error}");
}

#[test]
fn a_host_that_cannot_be_reached_is_asked_again_and_then_named() {
    let server = TestServer::vcenter(|_, _, _| Reply::fault("HostCommunication", "no way"));
    let error = client(&server).call(calls::QUERY_CHANGED_DISK_AREAS, &vm(), &[]).unwrap_err();
    assert_eq!(server.count("QueryChangedDiskAreas"), 4);
    assert_eq!(error.to_string(), "QueryChangedDiskAreas on VirtualMachine:vm-16: HostCommunication: no way");
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[test]
fn any_other_fault_is_final() {
    let server = TestServer::vcenter(|_, _, _| Reply::fault("FileFault", "no"));
    let error = client(&server).call(calls::QUERY_CHANGED_DISK_AREAS, &vm(), &[]).unwrap_err();
    assert_eq!((server.count("QueryChangedDiskAreas"), error.class()), (1, Some(FaultClass::File)));
}

#[test]
fn another_certificate_than_the_pinned_one_is_told_and_nothing_is_said() {
    let server = TestServer::vcenter(time_answer);
    let (found, pinned) = (server.pin(), Thumbprint::new([0xbb; 32]));
    let client = Client::new(server.endpoint.clone(), pinned, Duration::from_millis(1)).unwrap();
    let error = client.call(calls::CURRENT_TIME, &service(), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("vcenter {}: certificate SHA-256 is {found}, pinned is {pinned}", server.endpoint)
    );
    assert_eq!((error.kind(), server.seen().len()), (Kind::Failed, 0));
}

#[test]
fn nobody_at_the_port_is_unavailable_and_nothing_has_happened() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint: Endpoint = format!("127.0.0.1:{free}").parse().unwrap();
    let client = Client::new(endpoint, Thumbprint::new([0; 32]), Duration::ZERO).unwrap();
    let error = client.call(calls::DESTROY, &vm(), &[]).unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Unavailable, false), "{error}");
}

#[test]
fn an_answer_that_no_soap_server_gives_is_an_error_of_its_own() {
    for (reply, said) in [
        (Reply::http(503, "<html>"), "HTTP status 503"),
        (Reply::http(500, "<html>"), "HTTP status 500"),
        (Reply::http(302, ""), "HTTP status 302"),
        (Reply::http(200, "<html>"), "is not XML"),
        (Reply::http(200, "<html/>"), "has no SOAP body"),
        (Reply::response("Login", ""), "has no response to this call"),
    ] {
        let server = TestServer::start(move |_| reply.clone());
        let error = client(&server).call(calls::LOGOUT, &service(), &[]).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_file_larger_than_asked_for_is_refused() {
    let server = TestServer::vcenter(|_, _, _| Reply::http(200, vec![7; 1000]));
    let client = logged_in(&server);
    assert_eq!(client.get("/folder/a/a.nvram?dcPath=DC1&dsName=ds", 1000).unwrap().len(), 1000);
    let error = client.get("/folder/a/a.nvram?dcPath=DC1&dsName=ds", 999).unwrap_err().to_string();
    assert!(error.ends_with("/folder/a/a.nvram: the answer has more than 999 bytes"), "{error}");
}
