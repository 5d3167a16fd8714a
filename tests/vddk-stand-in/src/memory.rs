//! Memory that goes over the border, and comes back.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    fs::File,
    ops::Range,
    os::fd::AsRawFd,
    ptr,
};

/// A pointer of the caller's that goes to a thread and back.
pub struct Foreign(pub *mut c_void);

// SAFETY: the caller keeps what it points to until it hears of the request's end.
unsafe impl Send for Foreign {}

/// A text of the caller's; NULL is empty.
pub fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not NULL, and it ends with a zero by the interface.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

pub fn put<T>(place: *mut T, value: T) {
    // SAFETY: by the interface it is a place for the answer.
    unsafe { place.write(value) };
}

pub fn at<'v, T>(thing: *mut T) -> &'v T {
    // SAFETY: what we gave and have not taken back; handles and connections are made by `Box::into_raw`.
    unsafe { &*thing }
}

pub fn free<T>(thing: *mut T) {
    // SAFETY: as above, and given back once.
    drop(unsafe { Box::from_raw(thing) });
}

pub fn bytes<'b>(buffer: *mut u8, length: u64) -> &'b mut [u8] {
    // SAFETY: by the interface the buffer is as long as the request.
    unsafe { std::slice::from_raw_parts_mut(buffer, usize::try_from(length).expect("a length")) }
}

pub fn give_text(text: &str) -> *mut c_char {
    CString::new(text).expect("a text").into_raw()
}

pub fn take_text(text: *mut c_char) {
    // SAFETY: `give_text` gave it.
    drop(unsafe { CString::from_raw(text) });
}

/// 128 bytes; the places that are used.
#[repr(C)]
pub struct ConnectParams {
    vmx_spec: *const c_char,
    server: *const c_char,
    thumbprint: *const c_char,
    reserved: u64,
    cred_type: i32,
    creds: [*const c_char; 3],
    port: u32,
    nfc_port: u32,
    rest: [u64; 7],
}

const _: () = assert!(size_of::<ConnectParams>() == 128);

#[cfg(not(feature = "old"))]
pub fn give_params() -> *mut ConnectParams {
    let (none, rest) = (ptr::null(), [0; 7]);
    Box::into_raw(Box::new(ConnectParams {
        vmx_spec: none,
        server: none,
        thumbprint: none,
        reserved: 0,
        cred_type: 0,
        creds: [none; 3],
        port: 0,
        nfc_port: 0,
        rest,
    }))
}

#[cfg(not(feature = "old"))]
pub fn take_params(params: *mut ConnectParams) {
    free(params);
}

/// Who wants in.
pub struct Login {
    pub vm: String,
    pub server: String,
    pub thumbprint: String,
    pub user: String,
    pub password: String,
}

pub fn login(params: *const ConnectParams) -> Login {
    let params = at(params.cast_mut());
    if params.cred_type != 1 || params.port == 0 {
        crate::rules::broken("credentials are not those of a user, or there is no port");
    }
    Login {
        vm: text(params.vmx_spec),
        server: text(params.server),
        thumbprint: text(params.thumbprint),
        user: text(params.creds[0]),
        password: text(params.creds[1]),
    }
}

pub fn server(params: *const ConnectParams) -> String {
    login(params).server
}

/// As of version 7; `v6` gives no more room than 56 bytes.
#[repr(C)]
pub struct Info {
    bios: [u32; 3],
    physical: [u32; 3],
    capacity: u64,
    adapter: i32,
    links: i32,
    parent: *const c_char,
    uuid: *mut c_char,
    #[cfg(not(feature = "v6"))]
    sector_bytes: [u32; 2],
}

const _: () = assert!(size_of::<Info>() == if cfg!(feature = "v6") { 56 } else { 64 });

pub fn give_info(sectors: u64) -> *mut Info {
    Box::into_raw(Box::new(Info {
        bios: [0; 3],
        physical: [0; 3],
        capacity: sectors,
        adapter: 3,
        links: 1,
        parent: ptr::null(),
        uuid: give_text("60 00 C2 9a"),
        #[cfg(not(feature = "v6"))]
        sector_bytes: [512, 4096],
    }))
}

pub fn take_info(info: *mut Info) {
    take_text(at(info).uuid);
    free(info);
}

/// A count, and so many `{offset, length}` behind it: as words, so that all of it is one piece of memory.
#[cfg(not(feature = "old"))]
pub type BlockList = u64;

#[cfg(not(feature = "old"))]
pub fn give_list(blocks: &[(u64, u64)]) -> *mut BlockList {
    let mut words = vec![blocks.len() as u64];
    blocks.iter().for_each(|(start, length)| words.extend([*start, *length]));
    Box::into_raw(words.into_boxed_slice()).cast()
}

#[cfg(not(feature = "old"))]
pub fn take_list(list: *mut BlockList) {
    let words = usize::try_from(*at(list)).expect("a count") * 2 + 1;
    // SAFETY: `give_list` made it of so many words.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(list, words)) });
}

/// Chunks of a file that hold data, as sectors.
#[cfg(not(feature = "old"))]
pub fn allocated(file: &File, range: Range<u64>, chunk: u64) -> Vec<(u64, u64)> {
    let seek = |from: u64, whence| {
        // SAFETY: no memory; the descriptor is open.
        let found = unsafe { libc::lseek(file.as_raw_fd(), i64::try_from(from).expect("an offset"), whence) };
        u64::try_from(found).ok()
    };
    let mut blocks: Vec<(u64, u64)> = Vec::new();
    let mut at = range.start;
    while let Some(data) = seek(at, libc::SEEK_DATA).filter(|data| *data < range.end) {
        let hole = seek(data, libc::SEEK_HOLE).unwrap_or(range.end).min(range.end);
        let (start, end) = (data - data % chunk, hole.next_multiple_of(chunk).min(range.end));
        match blocks.last_mut() {
            Some((last, length)) if *last + *length >= start => *length = end - *last,
            _ => blocks.push((start, end - start)),
        }
        at = end;
    }
    blocks.into_iter().map(|(start, length)| (start / 512, length / 512)).collect()
}

#[cfg(feature = "old")]
const _: fn(&File, Range<u64>) -> i32 = |file, _| file.as_raw_fd();
