//! Whatever is encoded decodes to the same, and no bytes make a decoder panic or take more than they are.

use proptest::{collection::vec, prelude::*};

use super::*;

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9 :/ä-ö]{0,30}"
}

fn command() -> impl Strategy<Value = Command> {
    any::<u16>().prop_map(Command::of)
}

fn info() -> impl Strategy<Value = Info> {
    prop_oneof![
        (any::<u64>(), any::<u16>()).prop_map(|(bytes, flags)| Info::Export(ExportAbout { bytes, flags })),
        name().prop_map(Info::Name),
        name().prop_map(Info::Description),
        (0..17_u32, any::<u32>(), 1 << 16_u32..=u32::MAX).prop_map(|(log2, preferred_bytes, max_bytes)| {
            Info::Blocks(BlockSizes { min_bytes: 1 << log2, preferred_bytes, max_bytes })
        }),
    ]
}

proptest! {
    #[test]
    fn options_and_their_replies_come_back(
        export in name(), infos in vec(any::<u16>(), 0..5), queries in vec(name(), 0..4), kind in any::<u32>(), info in info(),
        id in any::<u32>(), which in any::<u32>(),
    ) {
        let asked = ExportAsked { name: export.clone(), infos };
        prop_assert_eq!(ExportAsked::decode(&asked.encode()).unwrap(), asked);
        let contexts = ContextsAsked { export: export.clone(), queries };
        prop_assert_eq!(ContextsAsked::decode(&contexts.encode()).unwrap(), contexts);
        prop_assert_eq!(Info::decode(&info.encode()).unwrap(), info);
        let line = ServerLine { name: export.clone(), description: "text".to_owned() };
        prop_assert_eq!(ServerLine::decode(&line.encode()).unwrap(), line);
        let context = ContextReply { id, name: export };
        prop_assert_eq!(ContextReply::decode(&context.encode()).unwrap(), context);
        let option = OptionHeader::encode(which, b"abc");
        let header = OptionHeader::decode(option.first_chunk().unwrap()).unwrap();
        prop_assert_eq!(header, OptionHeader { option: which, data_bytes: 3 });
        let reply = OptionReplyHeader::encode(which, kind, b"abcd");
        let header = OptionReplyHeader::decode(reply.first_chunk().unwrap(), which).unwrap();
        prop_assert_eq!(header, OptionReplyHeader { option: which, kind, data_bytes: 4 });
        prop_assert!(OptionReplyHeader::decode(reply.first_chunk().unwrap(), which ^ 1).is_err());
    }

    #[test]
    fn requests_and_replies_come_back(
        flags in any::<u16>(), command in command(), cookie in any::<u64>(), offset in any::<u64>(), length in 1..u32::MAX,
        extents in vec((1..u32::MAX, any::<u32>()), 1..9), error in 1..u32::MAX, message in name(),
    ) {
        let request = Request { flags, command, cookie, offset, length };
        prop_assert_eq!(Request::decode(&request.encode()).unwrap(), request);
        let chunk = ChunkHeader { flags, kind: ChunkKind::of(command.number()), cookie, data_bytes: length };
        prop_assert_eq!(ReplyHeader::decode(&chunk.encode()).unwrap(), ReplyHeader::Chunk(chunk));
        let simple = ReplyHeader::encode_simple(error, cookie);
        prop_assert_eq!(ReplyHeader::decode(&simple).unwrap(), ReplyHeader::Simple { error, cookie });
        let hole = HoleAt { offset, bytes: length };
        prop_assert_eq!(HoleAt::decode(&hole.encode()).unwrap(), hole);
        let extents = extents.into_iter().map(|(bytes, status)| Extent { bytes, status }).collect();
        let status = StatusReply { context: error, extents };
        prop_assert_eq!(StatusReply::decode(&status.encode()).unwrap(), status);
        for offset in [None, Some(offset)] {
            let report = ErrorReport { error, message: message.clone(), offset };
            let (kind, data) = report.encode();
            prop_assert_eq!(ErrorReport::decode(kind, &data).unwrap(), report);
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..200), first in any::<[u8; 8]>(), length in any::<u32>()) {
        let _ = (ExportAsked::decode(&bytes), ContextsAsked::decode(&bytes), Info::decode(&bytes));
        let _ = (ServerLine::decode(&bytes), ContextReply::decode(&bytes), ReplyHeader::decode(&bytes));
        let _ = (HoleAt::decode(&bytes), StatusReply::decode(&bytes), DataAt::decode(first, length));
        for kind in [ChunkKind::Error, ChunkKind::ErrorAt, ChunkKind::Other(0x8009)] {
            let _ = ErrorReport::decode(kind, &bytes);
        }
    }

    #[test]
    fn a_cut_message_is_refused(cut in 0..12_usize) {
        let hole = HoleAt { offset: 5, bytes: 6 }.encode();
        prop_assert!(HoleAt::decode(&hole[..cut]).is_err());
        prop_assert!(HoleAt::decode(&[&hole[..], &[0]].concat()).is_err());
    }
}

#[test]
fn a_count_that_promises_more_than_there_is_takes_no_memory() {
    let mut bytes = ContextsAsked { export: "e".to_owned(), queries: Vec::new() }.encode();
    let count = bytes.len() - 4;
    bytes[count..].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(ContextsAsked::decode(&bytes).is_err());
    let long = [&u32::MAX.to_be_bytes()[..], b"name"].concat();
    assert!(ServerLine::decode(&long).is_err());
}

#[test]
fn only_fixed_newstyle_servers_are_spoken_to() {
    let right = Greeting::encode();
    assert!(Greeting::decode(&right).is_ok_and(|greeting| greeting.no_zeroes));
    let with = |at: usize, bytes: &[u8]| {
        let mut wrong = right;
        wrong[at..at + bytes.len()].copy_from_slice(bytes);
        Greeting::decode(&wrong).unwrap_err().to_string()
    };
    assert!(with(8, &0x0000_4202_8186_1253_u64.to_be_bytes()).contains("oldstyle"));
    assert!(with(16, &[0, 2]).contains("fixed newstyle"));
    assert!(with(0, b"X").contains("magic"));
    assert!(ClientFlags::decode([0, 0, 0, 3]).is_ok() && ClientFlags::decode([0, 0, 0, 7]).is_err());
}
