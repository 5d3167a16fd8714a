use super::*;
use crate::{
    soap::test_server::{Reply, TestServer, cookie_of_login},
    test_session::{login, pace},
};

#[test]
fn a_session_knows_the_server_and_ends_with_a_logout() {
    let server = TestServer::vcenter(|_, _, _| Reply::HangUp);
    let session = login(&server, pace()).unwrap();
    assert!(session.about().is_vcenter());
    assert_eq!(session.about().api_level(), Some((8, 0)));
    assert_eq!(session.certificate().unwrap().sha1.len(), 59);
    assert_eq!(session.key(), "52-key");
    drop(session);
    assert_eq!(server.count("Logout"), 1);
    login(&server, pace()).unwrap().close().unwrap();
    assert_eq!(server.count("Logout"), 2);
}

#[test]
fn an_ended_session_is_renewed_once_by_whoever_comes_first() {
    let server = TestServer::vcenter(|call, _, seen| match seen.header("Cookie") == Some(&cookie_of_login(1)) {
        true => Reply::fault("NotAuthenticated", "The session is not authenticated."),
        false => Reply::response(call, "<returnval>now</returnval>"),
    });
    let session = login(&server, pace()).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| session.call(calls::CURRENT_TIME, &service_instance(), &[]).unwrap());
        }
    });
    assert_eq!((server.count("Login"), session.login_number()), (2, 2));
}

#[test]
fn a_change_refused_for_want_of_a_session_is_made_after_the_renewal() {
    let server = TestServer::vcenter(|call, number, _| match number {
        0 => Reply::fault("NotAuthenticated", ""),
        _ => Reply::response(call, "<returnval type=\"Task\">task-1</returnval>"),
    });
    let session = login(&server, pace()).unwrap();
    let vm = ManagedObject::new("VirtualMachine", "vm-16");
    session.call(calls::CREATE_SNAPSHOT, &vm, &[]).unwrap();
    assert_eq!(server.count("CreateSnapshot_Task"), 2);
}

#[test]
fn a_server_that_knows_no_session_ever_is_not_asked_for_ever() {
    let server = TestServer::vcenter(|_, _, _| Reply::fault("NotAuthenticated", ""));
    let session = login(&server, pace()).unwrap();
    let error = session.call(calls::CURRENT_TIME, &service_instance(), &[]).unwrap_err();
    assert_eq!((error.class(), server.count("Login")), (Some(FaultClass::NotAuthenticated), 2));
}

#[test]
fn a_file_asked_for_without_session_is_asked_for_again_with_one() {
    let server = TestServer::vcenter(|_, number, _| match number {
        0 => Reply::http(401, ""),
        _ => Reply::http(200, "nvram"),
    });
    let session = login(&server, pace()).unwrap();
    assert_eq!(session.get("/folder/a?dcPath=d&dsName=s", 100).unwrap(), b"nvram");
    assert_eq!(server.count("Login"), 2);
}

#[test]
fn an_idle_session_gives_signs_of_life() {
    let server = TestServer::vcenter(|call, _, _| Reply::response(call, "<returnval>now</returnval>"));
    let session = login(&server, SessionPace { keep_alive_every: Duration::from_millis(5), ..pace() }).unwrap();
    while server.count("CurrentTime") < 3 {
        thread::sleep(Duration::from_millis(5));
    }
    drop(session);
}

#[test]
fn a_refused_login_names_user_and_reason_and_never_the_password() {
    let server = TestServer::start(|seen| match seen.call().as_str() {
        "Login" => Reply::fault("InvalidLogin", "Cannot complete login due to an incorrect user name or password."),
        call => Reply::response(
            call,
            "<returnval><rootFolder type=\"Folder\">g</rootFolder><propertyCollector type=\"P\">p</propertyCollector>\
             <viewManager type=\"V\">v</viewManager><about/><sessionManager type=\"S\">s</sessionManager>\
             <authorizationManager type=\"A\">a</authorizationManager><searchIndex type=\"X\">x</searchIndex></returnval>",
        ),
    });
    let error = login(&server, pace()).unwrap_err();
    let said = "login as svc refused (InvalidLogin)";
    assert_eq!(error.to_string(), format!("vcenter {}: {said}", server.endpoint));
    assert!(!format!("{error:?}").contains("canary"));
}

#[test]
fn nothing_that_is_printed_shows_password_or_cookie() {
    let server = TestServer::vcenter(|_, _, _| Reply::HangUp);
    let session = login(&server, pace()).unwrap();
    let printed = format!("{session:?} {:?} {:?}", session.credentials(), session.content());
    assert!(!printed.contains("canary") && !printed.contains("c00c1e"), "{printed}");
}
