//! A `libvixDiskLib` of our own for tests: raw files instead of vSphere, VMware's rules checked, faults on request.
//!
//! It is written from what is known of the interface, and proves that the program keeps the rules we know; no more.

mod log;
mod memory;
mod rules;
mod settings;

use std::{
    ffi::{c_char, c_void},
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use log::{LogFunction, say};
#[cfg(not(feature = "old"))]
use memory::BlockList;
use memory::{ConnectParams, Info, text};
use rules::{INFOS, LISTS, Opening, PARAMS, TEXTS, broken, is_begun};
use settings::{Settings, Struck, strike};

const VIX_ASYNC: u64 = 25000;
const SECTOR: u64 = 512;

struct State {
    settings: Settings,
    folder: PathBuf,
    struck: Mutex<Struck>,
    handles: AtomicI64,
    connections: AtomicI64,
    prepared: AtomicI64,
    hotadd: AtomicBool,
}

static STATE: OnceLock<State> = OnceLock::new();

fn state(function: &str) -> &'static State {
    is_begun(function);
    STATE.get().unwrap_or_else(|| broken("no settings"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// What the settings have in store for this call.
    fn fate(&self, function: &str, start: u64, count: u64) -> u64 {
        let settings = &self.settings;
        for (text, act) in [(&settings.crash, Act::Crash), (&settings.hang, Act::Hang)] {
            if text.as_deref().is_some_and(|text| strike(text).hits(function, start, count)) && self.may_strike() {
                say(&format!("stand-in: {function} at sector {start} will not come back"));
                act.now();
            }
        }
        for text in &settings.fail {
            let strike = strike(text);
            if strike.hits(function, start, count) {
                let mut struck = lock(&self.struck);
                let times = struck.0.entry(text.clone()).or_default();
                if settings.times.is_none_or(|limit| *times < limit) {
                    *times += 1;
                    say(&format!("stand-in: {function} of {count} sectors at {start} fails"));
                    return strike.code;
                }
            }
        }
        0
    }

    /// Counted in a file: a process that crashes cannot remember.
    fn may_strike(&self) -> bool {
        let Some(limit) = self.settings.strikes else { return true };
        let path = self.folder.join("strikes");
        if std::fs::read(&path).map_or(0, |bytes| bytes.len()) >= limit as usize {
            return false;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a file of strikes");
        file.write_all(b"x").expect("a strike");
        true
    }
}

enum Act {
    Crash,
    Hang,
}

impl Act {
    fn now(self) {
        match self {
            // SAFETY: a signal to ourselves, as the real library's crash would be.
            Self::Crash => unsafe {
                libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                libc::raise(libc::SIGSEGV);
            },
            Self::Hang => loop {
                thread::sleep(Duration::from_secs(1000));
            },
        }
    }
}

/// `VixDiskLib_InitEx`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_InitEx(
    major: u32,
    _minor: u32,
    info: Option<LogFunction>,
    warn: Option<LogFunction>,
    panic: Option<LogFunction>,
    libdir: *const c_char,
    config: *const c_char,
) -> u64 {
    rules::begin();
    let (Some(info), Some(_), Some(_)) = (info, warn, panic) else { broken("a callback is NULL") };
    log::set(info);
    let folder = PathBuf::from(text(libdir));
    let told = std::fs::read_to_string(folder.join("stand-in.toml")).expect("stand-in.toml");
    let settings: Settings = toml::from_str(&told).unwrap_or_else(|error| broken(&error.to_string()));
    let state = State {
        settings,
        folder,
        struck: Mutex::default(),
        handles: AtomicI64::new(0),
        connections: AtomicI64::new(0),
        prepared: AtomicI64::new(0),
        hotadd: AtomicBool::new(false),
    };
    let _ = STATE.set(state);
    say(&format!("stand-in: interface {major}, settings in {}", text(config)));
    log::say_numbers();
    say("CEIP: noise that nobody needs");
    0
}

/// `VixDiskLib_Exit`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Exit() {
    let state = state("Exit");
    if state.handles.load(Ordering::SeqCst) != 0 || state.connections.load(Ordering::SeqCst) != 0 {
        broken("Exit with open handles or connections");
    }
    if state.prepared.load(Ordering::SeqCst) != 0 {
        broken("Exit without EndAccess");
    }
    if state.hotadd.load(Ordering::SeqCst) {
        broken("HotAdd without Cleanup");
    }
    [&INFOS, &LISTS, &TEXTS, &PARAMS].iter().for_each(|owed| owed.check());
    rules::end();
}

/// `VixDiskLib_ListTransportModes`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_ListTransportModes() -> *const c_char {
    state("ListTransportModes");
    c"file:san:hotadd:nbdssl:nbd".as_ptr()
}

/// `VixDiskLib_GetErrorText`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_GetErrorText(error: u64, _locale: *const c_char) -> *mut c_char {
    is_begun("GetErrorText");
    TEXTS.give();
    memory::give_text(match error & 0xffff {
        2 => "Memory allocation failed. Out of memory.",
        3 => "One of the parameters supplied is invalid",
        4 => "A file was not found",
        13 => "You do not have access rights to this file",
        16 => "The file read failed",
        14014 => "The server refused connection: host is shutting down",
        14015 => "The server is not available",
        _ => "Unknown error",
    })
}

/// `VixDiskLib_FreeErrorText`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_FreeErrorText(given: *mut c_char) {
    TEXTS.take_back();
    memory::take_text(given);
}

/// `VixDiskLib_AllocateConnectParams`
#[cfg(not(feature = "old"))]
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_AllocateConnectParams() -> *mut ConnectParams {
    is_begun("AllocateConnectParams");
    PARAMS.give();
    memory::give_params()
}

/// `VixDiskLib_FreeConnectParams`
#[cfg(not(feature = "old"))]
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_FreeConnectParams(params: *mut ConnectParams) {
    PARAMS.take_back();
    memory::take_params(params);
}

/// `VixDiskLib_PrepareForAccess`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_PrepareForAccess(params: *const ConnectParams, identity: *const c_char) -> u64 {
    let state = state("PrepareForAccess");
    if memory::server(params).is_empty() || text(identity).is_empty() {
        broken("PrepareForAccess without a server or identity");
    }
    match state.fate("PrepareForAccess", 0, 1) {
        0 => {
            state.prepared.fetch_add(1, Ordering::SeqCst);
            0
        }
        code => code,
    }
}

/// `VixDiskLib_EndAccess`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_EndAccess(params: *const ConnectParams, _identity: *const c_char) -> u64 {
    let state = state("EndAccess");
    let _ = memory::server(params);
    if state.prepared.fetch_sub(1, Ordering::SeqCst) <= 0 {
        broken("EndAccess without PrepareForAccess");
    }
    0
}

/// `VixDiskLib_Cleanup`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Cleanup(params: *const ConnectParams, done: *mut u32, left: *mut u32) -> u64 {
    let state = state("Cleanup");
    let _ = memory::server(params);
    state.hotadd.store(false, Ordering::SeqCst);
    memory::put(done, 1);
    memory::put(left, 0);
    0
}

/// A connection.
pub struct Connection {
    read_only: bool,
    modes: String,
    handles: AtomicI64,
}

/// `VixDiskLib_ConnectEx`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_ConnectEx(
    params: *const ConnectParams,
    read_only: c_char,
    snapshot: *const c_char,
    modes: *const c_char,
    connection: *mut *mut Connection,
) -> u64 {
    let state = state("ConnectEx");
    if modes.is_null() || text(modes).is_empty() {
        broken("ConnectEx without a list of transports");
    }
    let login = memory::login(params);
    if [&login.server, &login.user, &login.thumbprint, &login.vm].iter().any(|text| text.is_empty()) {
        broken("ConnectEx without server, user, thumbprint or VM");
    }
    if !login.vm.starts_with("moref=") {
        broken("the VM is not named by its moref");
    }
    if read_only != 0 && snapshot.is_null() {
        broken("reading without a snapshot");
    }
    if read_only == 0 && snapshot.is_null() && text(modes).split(':').any(|mode| mode == "hotadd") {
        broken("writing by hotadd without a snapshot");
    }
    match state.fate("ConnectEx", 0, 1) {
        0 => {}
        code => return code,
    }
    if state.settings.password.as_ref().is_some_and(|password| *password != login.password) {
        say("stand-in: the password is another");
        return 13;
    }
    let made = Connection { read_only: read_only != 0, modes: text(modes), handles: AtomicI64::new(0) };
    state.connections.fetch_add(1, Ordering::SeqCst);
    memory::put(connection, Box::into_raw(Box::new(made)));
    0
}

/// `VixDiskLib_Disconnect`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Disconnect(connection: *mut Connection) -> u64 {
    let state = state("Disconnect");
    if memory::at(connection).handles.load(Ordering::SeqCst) != 0 {
        broken("Disconnect with open handles");
    }
    memory::free(connection);
    state.connections.fetch_sub(1, Ordering::SeqCst);
    0
}

/// A disk.
pub struct Handle {
    disk: Arc<Disk>,
    connection: *mut Connection,
    busy: AtomicBool,
    flights: Arc<AtomicI64>,
    queue: Sender<Flight>,
}

struct Disk {
    file: File,
    sectors: u64,
    read_only: bool,
    mode: std::ffi::CString,
}

struct Flight {
    function: &'static str,
    start: u64,
    count: u64,
    buffer: memory::Foreign,
    complete: extern "C" fn(*mut c_void, u64),
    data: memory::Foreign,
}

/// Marks a handle as being called.
struct Call<'h>(&'h Handle);

impl<'h> Call<'h> {
    fn alone(handle: *mut Handle, function: &str) -> Self {
        let call = Self::begin(handle, function);
        if call.0.flights.load(Ordering::SeqCst) != 0 {
            broken(&format!("{function} while requests are on their way"));
        }
        call
    }

    fn begin(handle: *mut Handle, function: &str) -> Self {
        state(function);
        let handle = memory::at(handle);
        if handle.busy.swap(true, Ordering::SeqCst) {
            broken(&format!("{function}: two calls at once on a handle"));
        }
        Self(handle)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::SeqCst);
    }
}

/// `VixDiskLib_Open`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Open(
    connection: *mut Connection,
    path: *const c_char,
    flags: u32,
    handle: *mut *mut Handle,
) -> u64 {
    let state = state("Open");
    let _opening = Opening::begin("Open");
    let connected = memory::at(connection);
    match state.fate("Open", 0, 1) {
        0 => {}
        code => return code,
    }
    if state.settings.max_open.is_some_and(|most| state.handles.load(Ordering::SeqCst) >= most) {
        say("NfcFssrvr: no buffers are left for another disk");
        return 2;
    }
    let path = text(path);
    let Some(inside) = path.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map(|(_, inside)| inside) else {
        return 3;
    };
    let is_encrypted = state.settings.encrypted.iter().any(|encrypted| encrypted == inside);
    if is_encrypted && state.settings.access.as_deref() == Some("denied") {
        return 13;
    }
    let read_only = connected.read_only || flags & 4 != 0;
    let file = state.settings.root.join(inside);
    let Ok(file) = OpenOptions::new().read(true).write(!read_only).open(file) else { return 4 };
    let sectors = file.metadata().expect("a file").len() / SECTOR;
    let first = connected.modes.split(':').next().unwrap_or_default().to_owned();
    let mode = state.settings.mode.clone().unwrap_or(first);
    if mode == "hotadd" {
        state.hotadd.store(true, Ordering::SeqCst);
        if !read_only && inside.contains("-00000") {
            broken("hotadd writes a disk that lies above a snapshot");
        }
    }
    if is_encrypted && mode == "san" {
        say("stand-in: an encrypted disk over san: reading it is a broken rule");
    }
    let mode = std::ffi::CString::new(mode).expect("a mode");
    let disk = Arc::new(Disk { file, sectors, read_only, mode });
    let flights = Arc::new(AtomicI64::new(0));
    let (queue, inbox) = mpsc::channel::<Flight>();
    let (of_thread, ended) = (Arc::clone(&disk), Arc::clone(&flights));
    thread::spawn(move || {
        for flight in inbox {
            let answer = transfer(&of_thread, flight.function, flight.start, flight.count, flight.buffer.0.cast());
            ended.fetch_sub(1, Ordering::SeqCst);
            (flight.complete)(flight.data.0, answer);
        }
    });
    let made = Handle { disk, connection, busy: AtomicBool::new(false), flights, queue };
    connected.handles.fetch_add(1, Ordering::SeqCst);
    state.handles.fetch_add(1, Ordering::SeqCst);
    memory::put(handle, Box::into_raw(Box::new(made)));
    0
}

/// `VixDiskLib_Close`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Close(handle: *mut Handle) -> u64 {
    let state = state("Close");
    let _opening = Opening::begin("Close");
    std::mem::forget(Call::alone(handle, "Close"));
    memory::at(memory::at(handle).connection).handles.fetch_sub(1, Ordering::SeqCst);
    memory::free(handle);
    state.handles.fetch_sub(1, Ordering::SeqCst);
    0
}

/// `VixDiskLib_GetTransportMode`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_GetTransportMode(handle: *mut Handle) -> *const c_char {
    Call::begin(handle, "GetTransportMode").0.disk.mode.as_ptr()
}

/// `VixDiskLib_GetInfo`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_GetInfo(handle: *mut Handle, info: *mut *mut Info) -> u64 {
    let call = Call::begin(handle, "GetInfo");
    match state("GetInfo").fate("GetInfo", 0, 1) {
        0 => {}
        code => return code,
    }
    INFOS.give();
    memory::put(info, memory::give_info(call.0.disk.sectors));
    0
}

/// `VixDiskLib_FreeInfo`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_FreeInfo(info: *mut Info) {
    INFOS.take_back();
    memory::take_info(info);
}

/// One request, on whatever thread.
fn transfer(disk: &Disk, function: &str, start: u64, count: u64, buffer: *mut u8) -> u64 {
    let state = state(function);
    if count == 0 || start.checked_add(count).is_none_or(|end| end > disk.sectors) {
        return 3;
    }
    if state.settings.max_request.is_some_and(|most| count > most) {
        say(&format!("Failed to allocate the requested {} bytes", count * SECTOR));
        return 2;
    }
    if disk.mode.to_str() == Ok("san") && !state.settings.encrypted.is_empty() {
        broken("an encrypted disk was read over san");
    }
    thread::sleep(Duration::from_millis(state.settings.delay_ms));
    match state.fate(function, start, count) {
        0 => {}
        code => return code,
    }
    let bytes = memory::bytes(buffer, count * SECTOR);
    let done = match function {
        "Read" => disk.file.read_exact_at(bytes, start * SECTOR),
        _ if disk.read_only => return 13,
        _ => disk.file.write_all_at(bytes, start * SECTOR),
    };
    if done.is_ok() { 0 } else { 16 }
}

/// `VixDiskLib_Read`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Read(handle: *mut Handle, start: u64, count: u64, buffer: *mut u8) -> u64 {
    let call = Call::alone(handle, "Read");
    transfer(&call.0.disk, "Read", start, count, buffer)
}

/// `VixDiskLib_Write`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Write(handle: *mut Handle, start: u64, count: u64, buffer: *const u8) -> u64 {
    let call = Call::alone(handle, "Write");
    transfer(&call.0.disk, "Write", start, count, buffer.cast_mut())
}

fn launch(
    handle: *mut Handle,
    function: &'static str,
    range: (u64, u64),
    buffer: *mut u8,
    complete: extern "C" fn(*mut c_void, u64),
    data: *mut c_void,
) -> u64 {
    let call = Call::begin(handle, function);
    if call.0.flights.fetch_add(1, Ordering::SeqCst) >= 4 {
        broken("more than 4 requests on their way");
    }
    let (buffer, data) = (memory::Foreign(buffer.cast()), memory::Foreign(data));
    let flight = Flight { function, start: range.0, count: range.1, buffer, complete, data };
    call.0.queue.send(flight).expect("the handle's thread");
    VIX_ASYNC
}

/// `VixDiskLib_ReadAsync`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_ReadAsync(
    handle: *mut Handle,
    start: u64,
    count: u64,
    buffer: *mut u8,
    complete: extern "C" fn(*mut c_void, u64),
    data: *mut c_void,
) -> u64 {
    launch(handle, "Read", (start, count), buffer, complete, data)
}

/// `VixDiskLib_WriteAsync`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_WriteAsync(
    handle: *mut Handle,
    start: u64,
    count: u64,
    buffer: *const u8,
    complete: extern "C" fn(*mut c_void, u64),
    data: *mut c_void,
) -> u64 {
    launch(handle, "Write", (start, count), buffer.cast_mut(), complete, data)
}

/// `VixDiskLib_Wait`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Wait(handle: *mut Handle) -> u64 {
    let call = Call::begin(handle, "Wait");
    while call.0.flights.load(Ordering::SeqCst) != 0 {
        thread::sleep(Duration::from_millis(1));
    }
    0
}

/// `VixDiskLib_Flush`
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Flush(handle: *mut Handle) -> u64 {
    let call = Call::alone(handle, "Flush");
    match state("Flush").fate("Flush", 0, 1) {
        0 => u64::from(call.0.disk.file.sync_all().is_err()),
        code => code,
    }
}

/// `VixDiskLib_QueryAllocatedBlocks`
#[cfg(not(feature = "old"))]
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_QueryAllocatedBlocks(
    handle: *mut Handle,
    start: u64,
    count: u64,
    chunk: u64,
    list: *mut *mut BlockList,
) -> u64 {
    let call = Call::alone(handle, "QueryAllocatedBlocks");
    if chunk < 128 || !start.is_multiple_of(chunk) || !count.is_multiple_of(chunk) || count == 0 {
        broken("unaligned QueryAllocatedBlocks");
    }
    if count / chunk > 524_288 || start + count > call.0.disk.sectors {
        broken("QueryAllocatedBlocks of too much");
    }
    match state("QueryAllocatedBlocks").fate("QueryAllocatedBlocks", start, count) {
        0 => {}
        code => return code,
    }
    LISTS.give();
    let blocks = memory::allocated(&call.0.disk.file, start * SECTOR..(start + count) * SECTOR, chunk * SECTOR);
    memory::put(list, memory::give_list(&blocks));
    0
}

/// `VixDiskLib_FreeBlockList`
#[cfg(not(feature = "old"))]
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_FreeBlockList(list: *mut BlockList) -> u64 {
    LISTS.take_back();
    memory::take_list(list);
    0
}
