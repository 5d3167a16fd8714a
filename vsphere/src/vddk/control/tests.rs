use super::*;

fn requests() -> Vec<Request> {
    vec![
        Request::Init { libdir: "/opt/vddk".to_owned() },
        Request::Login {
            vm: "vm-16".to_owned(),
            server: "vc1".to_owned(),
            port: 443,
            user: "svc".to_owned(),
            password: Zeroizing::new("päss".to_owned()),
            thumbprint: "AA:BB".to_owned(),
        },
        Request::Prepare,
        Request::Connect { write: false, snapshot: Some("snapshot-9".to_owned()), modes: "nbdssl:hotadd".to_owned() },
        Request::Connect { write: true, snapshot: None, modes: "nbdssl".to_owned() },
        Request::Open {
            connection: 0,
            export: "disk0".to_owned(),
            path: "[ds] web01/web01.vmdk".to_owned(),
            allowed: vec!["nbdssl".to_owned()],
        },
        Request::Close { export: "disk0".to_owned() },
        Request::Disconnect { connection: 7 },
        Request::EndAccess,
        Request::Cleanup,
        Request::Exit,
    ]
}

fn replies() -> Vec<Reply> {
    let failure = CallFailure {
        function: "Read".to_owned(),
        code: 16,
        text: "The file read failed".to_owned(),
        lines: vec!["NfcFssrvrProcessErrorMsg".to_owned(); 50],
    };
    vec![
        Reply::Ready { major: 8, modes: "nbdssl:nbd".to_owned(), block_query: true, prepare: false },
        Reply::Done,
        Reply::Connected { connection: 3 },
        Reply::Opened { sectors: 1 << 40, transport: "san".to_owned(), sector_bytes: (512, 4096), uuid: String::new() },
        Reply::Failed(failure.clone()),
        Reply::WrongTransport { transport: "san".to_owned() },
        Reply::NoLibrary { said: vec![] },
        Reply::Cleaned { done: 1, left: 0 },
        Reply::Trouble { export: "disk0".to_owned(), start: 1 << 33, end: u64::MAX, failure },
        Reply::Impossible { what: "no".to_owned() },
    ]
}

#[test]
fn every_message_comes_back_as_it_was() {
    let mut sent = Vec::new();
    requests().iter().for_each(|request| send_request(&mut sent, request).unwrap());
    let mut from = sent.as_slice();
    requests().iter().for_each(|request| assert_eq!(read_request(&mut from).unwrap(), *request));
    assert!(matches!(read_request(&mut from), Err(ControlError::Closed)));

    let mut sent = Vec::new();
    replies().iter().for_each(|reply| send_reply(&mut sent, reply).unwrap());
    let mut from = sent.as_slice();
    replies().iter().for_each(|reply| assert_eq!(read_reply(&mut from).unwrap(), *reply));
}

#[test]
fn a_message_cut_anywhere_or_longer_than_it_is_is_refused() {
    let encoded = requests().iter().map(Request::encode).map(|bytes| (bytes, true));
    for (bytes, is_request) in encoded.chain(replies().iter().map(|reply| (reply.encode(), false))) {
        let refused =
            |bytes: &[u8]| if is_request { Request::decode(bytes).is_err() } else { Reply::decode(bytes).is_err() };
        (0..bytes.len()).for_each(|end| assert!(refused(&bytes[..end]), "{end} bytes of {:?}", &bytes[..]));
        let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        assert!(refused(&longer));
    }
}

#[test]
fn lengths_that_nobody_sends_are_refused_before_there_is_room_for_them() {
    let mut from = [0xff, 0xff, 0xff, 0x7f].as_slice();
    assert!(matches!(read_request(&mut from), Err(ControlError::TooLong { what: "bytes", .. })));
    let text = [[1].as_slice(), &u32::MAX.to_le_bytes()].concat();
    assert!(matches!(Request::decode(&text), Err(ControlError::TooLong { what: "bytes in a text", .. })));
    let list = [[7].as_slice(), &65_u32.to_le_bytes()].concat();
    assert!(matches!(Reply::decode(&list), Err(ControlError::TooLong { what: "texts in a list", .. })));
    let long = Request::Init { libdir: "x".repeat(MESSAGE_BYTES_MAX) };
    assert!(matches!(send_request(&mut Vec::new(), &long), Err(ControlError::TooLong { .. })));
}
