//! The C side of VMware's `libvixDiskLib`: declarations, layouts, callbacks, and calls whose arguments cannot be wrong.
//!
//! **Invariant:** the only `unsafe` of the crate. Everything that leaves this file is an owned value: no pointer, no borrowed
//! text. What may be called when (one lock for open and close, one call at a time on a handle) is the business of
//! [`super::library`], whose types allow nothing else.
#![expect(unsafe_code, reason = "the library is foreign: this is the one place where it is called")]

mod layout;

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    path::Path,
    ptr,
    sync::{Arc, OnceLock},
};

use zeroize::Zeroizing;

use super::buffer::Buffer;
use layout::{Block, BlockList, CRED_UID, ConnectParams, Info, LongInfo, SPEC_VMX};

/// What every call answers: 0 is well, the low 16 bits are the code.
pub(super) type VixError = u64;
/// A request was taken; its end is told to the callback.
const VIX_ASYNC: VixError = 25000;
/// Largest number of blocks of a list that is believed.
const BLOCKS_MAX: u32 = 524_288;
/// Longest line of the library that is kept, in bytes.
const LINE_BYTES_MAX: usize = 2000;

type Pointer = *mut c_void;
type Log = unsafe extern "C" fn(*const c_char, *mut c_void);
type Completion = unsafe extern "C" fn(Pointer, VixError);

/// The functions that are used, as found in the library. Those in an `Option` are not in every version.
struct Table {
    init_ex: unsafe extern "C" fn(u32, u32, Log, Log, Log, *const c_char, *const c_char) -> VixError,
    exit: unsafe extern "C" fn(),
    error_text: unsafe extern "C" fn(VixError, *const c_char) -> *mut c_char,
    free_error_text: unsafe extern "C" fn(*mut c_char),
    modes: unsafe extern "C" fn() -> *const c_char,
    allocate_params: Option<unsafe extern "C" fn() -> *mut ConnectParams>,
    free_params: Option<unsafe extern "C" fn(*mut ConnectParams)>,
    prepare: Option<unsafe extern "C" fn(*const ConnectParams, *const c_char) -> VixError>,
    end_access: Option<unsafe extern "C" fn(*const ConnectParams, *const c_char) -> VixError>,
    connect_ex:
        unsafe extern "C" fn(*const ConnectParams, c_char, *const c_char, *const c_char, *mut Pointer) -> VixError,
    disconnect: unsafe extern "C" fn(Pointer) -> VixError,
    open: unsafe extern "C" fn(Pointer, *const c_char, u32, *mut Pointer) -> VixError,
    close: unsafe extern "C" fn(Pointer) -> VixError,
    transport: unsafe extern "C" fn(Pointer) -> *const c_char,
    info: unsafe extern "C" fn(Pointer, *mut *mut Info) -> VixError,
    free_info: unsafe extern "C" fn(*mut Info),
    read: unsafe extern "C" fn(Pointer, u64, u64, *mut u8) -> VixError,
    write: unsafe extern "C" fn(Pointer, u64, u64, *const u8) -> VixError,
    flush: Option<unsafe extern "C" fn(Pointer) -> VixError>,
    read_async: Option<unsafe extern "C" fn(Pointer, u64, u64, *mut u8, Completion, Pointer) -> VixError>,
    write_async: Option<unsafe extern "C" fn(Pointer, u64, u64, *const u8, Completion, Pointer) -> VixError>,
    wait: Option<unsafe extern "C" fn(Pointer) -> VixError>,
    query_blocks: Option<unsafe extern "C" fn(Pointer, u64, u64, u64, *mut *mut BlockList) -> VixError>,
    free_blocks: Option<unsafe extern "C" fn(*mut BlockList) -> VixError>,
    cleanup: Option<unsafe extern "C" fn(*const ConnectParams, *mut u32, *mut u32) -> VixError>,
}

impl Table {
    fn of(library: &libloading::Library) -> Result<Self, libloading::Error> {
        macro_rules! needed {
            ($name:literal) => {
                // SAFETY: the type of the place it goes to is the one that the library documents for this name, and the
                // library is never unloaded (`Api::load`), so the copy stays good.
                *unsafe { library.get(concat!("VixDiskLib_", $name, "\0").as_bytes()) }?
            };
        }
        macro_rules! optional {
            ($name:literal) => {
                // SAFETY: as above; a version that lacks the function is told by the error.
                unsafe { library.get(concat!("VixDiskLib_", $name, "\0").as_bytes()) }.ok().map(|symbol| *symbol)
            };
        }
        Ok(Self {
            init_ex: needed!("InitEx"),
            exit: needed!("Exit"),
            error_text: needed!("GetErrorText"),
            free_error_text: needed!("FreeErrorText"),
            modes: needed!("ListTransportModes"),
            allocate_params: optional!("AllocateConnectParams"),
            free_params: optional!("FreeConnectParams"),
            prepare: optional!("PrepareForAccess"),
            end_access: optional!("EndAccess"),
            connect_ex: needed!("ConnectEx"),
            disconnect: needed!("Disconnect"),
            open: needed!("Open"),
            close: needed!("Close"),
            transport: needed!("GetTransportMode"),
            info: needed!("GetInfo"),
            free_info: needed!("FreeInfo"),
            read: needed!("Read"),
            write: needed!("Write"),
            flush: optional!("Flush"),
            read_async: optional!("ReadAsync"),
            write_async: optional!("WriteAsync"),
            wait: optional!("Wait"),
            query_blocks: optional!("QueryAllocatedBlocks"),
            free_blocks: optional!("FreeBlockList"),
            cleanup: optional!("Cleanup"),
        })
    }
}

/// Who hears the library's lines.
pub(super) type Listener = Box<dyn Fn(Level, &str) + Send + Sync>;

/// How much a line of the library matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Says what it does.
    Info,
    /// Something is odd.
    Warning,
    /// It cannot go on.
    Panic,
}

static LISTENER: OnceLock<Listener> = OnceLock::new();

// SAFETY: declared as the C library has it; on x86-64 a `va_list` that is an argument is a pointer.
unsafe extern "C" {
    fn vsnprintf(into: *mut c_char, bytes: usize, format: *const c_char, arguments: *mut c_void) -> c_int;
}

fn say(level: Level, format: *const c_char, arguments: *mut c_void) {
    let mut line = [0_u8; LINE_BYTES_MAX];
    if format.is_null() {
        return;
    }
    // SAFETY: the room is as long as said, `vsnprintf` ends it with a zero, and format and arguments come from the library,
    // which passes on what its own `printf` would take.
    let length = unsafe { vsnprintf(line.as_mut_ptr().cast(), line.len(), format, arguments) };
    if length < 0 {
        return;
    }
    let text = CStr::from_bytes_until_nul(&line).unwrap_or_default().to_string_lossy();
    if let Some(listener) = LISTENER.get() {
        for part in text.lines().map(str::trim_end).filter(|part| !part.is_empty()) {
            listener(level, part);
        }
    }
}

extern "C" fn log(format: *const c_char, arguments: *mut c_void) {
    say(Level::Info, format, arguments);
}

extern "C" fn warn(format: *const c_char, arguments: *mut c_void) {
    say(Level::Warning, format, arguments);
}

/// The library gives up: what it holds is not to be relied on any more, and neither is its return from here.
extern "C" fn panic(format: *const c_char, arguments: *mut c_void) {
    say(Level::Panic, format, arguments);
    std::process::abort();
}

/// The library, loaded. There is one in a process.
#[derive(Clone, Copy)]
pub(super) struct Api {
    table: &'static Table,
}

/// Optional functions that the library has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Optional {
    pub(super) block_query: bool,
    pub(super) prepare: bool,
    pub(super) cleanup: bool,
    pub(super) asynchronous: bool,
}

impl Api {
    /// Loads `file`. It is never unloaded: it has threads.
    pub(super) fn load(file: &Path) -> Result<Self, libloading::Error> {
        // SAFETY: running the library's initialisers is what the operator asked for by naming its directory; this process
        // exists for nothing else.
        let library: &'static libloading::Library = Box::leak(Box::new(unsafe { libloading::Library::new(file) }?));
        Ok(Self { table: Box::leak(Box::new(Table::of(library)?)) })
    }

    pub(super) fn optional(self) -> Optional {
        let table = self.table;
        Optional {
            block_query: table.query_blocks.is_some() && table.free_blocks.is_some(),
            prepare: table.prepare.is_some() && table.end_access.is_some(),
            cleanup: table.cleanup.is_some(),
            asynchronous: table.read_async.is_some() && table.write_async.is_some() && table.wait.is_some(),
        }
    }

    pub(super) fn init(self, version: (u32, u32), libdir: &CStr, config: &CStr, listener: Listener) -> VixError {
        let _ = LISTENER.set(listener);
        // SAFETY: texts end with a zero and the callbacks live as long as the program.
        unsafe { (self.table.init_ex)(version.0, version.1, log, warn, panic, libdir.as_ptr(), config.as_ptr()) }
    }

    pub(super) fn exit(self) {
        // SAFETY: no arguments; `library` calls it once, when nothing is open.
        unsafe { (self.table.exit)() }
    }

    pub(super) fn modes(self) -> String {
        // SAFETY: no arguments; the answer is the library's own text or NULL.
        owned(unsafe { (self.table.modes)() })
    }

    pub(super) fn error_text(self, error: VixError) -> String {
        // SAFETY: NULL asks for the usual language.
        let text = unsafe { (self.table.error_text)(error, ptr::null()) };
        let said = owned(text);
        if !text.is_null() {
            // SAFETY: the library gave it, it was copied, and it is given back once.
            unsafe { (self.table.free_error_text)(text) };
        }
        said
    }

    pub(super) fn connect(
        self,
        params: &Params,
        read_only: bool,
        snapshot: Option<&CStr>,
        modes: &CStr,
    ) -> Result<Connected, VixError> {
        let mut connection = ptr::null_mut();
        let snapshot = snapshot.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: the parameters and all they point to live in `params`; the other texts for the length of the call.
        let error = unsafe {
            (self.table.connect_ex)(params.raw, c_char::from(read_only), snapshot, modes.as_ptr(), &raw mut connection)
        };
        well(error)?;
        Ok(Connected { api: self, connection })
    }

    pub(super) fn prepare(self, params: &Params, identity: &CStr) -> Result<(), VixError> {
        let Some(prepare) = self.table.prepare else { return Ok(()) };
        // SAFETY: as for `connect`.
        well(unsafe { prepare(params.raw, identity.as_ptr()) })
    }

    pub(super) fn end_access(self, params: &Params, identity: &CStr) -> Result<(), VixError> {
        let Some(end_access) = self.table.end_access else { return Ok(()) };
        // SAFETY: as for `connect`.
        well(unsafe { end_access(params.raw, identity.as_ptr()) })
    }

    /// What was cleaned up, and what is left.
    pub(super) fn cleanup(self, params: &Params) -> Result<(u32, u32), VixError> {
        let Some(cleanup) = self.table.cleanup else { return Ok((0, 0)) };
        let (mut done, mut left) = (0, 0);
        // SAFETY: as for `connect`; both numbers live for the length of the call.
        well(unsafe { cleanup(params.raw, &raw mut done, &raw mut left) })?;
        Ok((done, left))
    }
}

fn well(error: VixError) -> Result<(), VixError> {
    if error == 0 { Ok(()) } else { Err(error) }
}

fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not NULL, and texts of the library end with a zero.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Whom to connect to, in the library's own form. Wiped when dropped.
pub(super) struct Params {
    api: Api,
    raw: *mut ConnectParams,
    /// What `raw` points to.
    _texts: [Zeroizing<Vec<u8>>; 5],
}

// SAFETY: nobody else has the pointer, and the library takes the parameters from any thread.
unsafe impl Send for Params {}

impl Params {
    /// `vmx_spec`, server, thumbprint, user, password. `None`: the library has no memory.
    pub(super) fn new(api: Api, texts: [&str; 5], port: u32) -> Option<Self> {
        let raw = match api.table.allocate_params {
            // SAFETY: no arguments.
            Some(allocate) => unsafe { allocate() },
            None => Box::into_raw(Box::new(ConnectParams {
                vmx_spec: ptr::null_mut(),
                server_name: ptr::null_mut(),
                thumbprint: ptr::null_mut(),
                reserved_1: 0,
                cred_type: 0,
                creds: [ptr::null_mut(); 3],
                port: 0,
                nfc_host_port: 0,
                reserved_2: [ptr::null_mut(); 3],
                spec: [ptr::null_mut(); 3],
                spec_type: 0,
            })),
        };
        if raw.is_null() {
            return None;
        }
        let mut texts = texts.map(|text| {
            let mut bytes = Vec::with_capacity(text.len() + 1);
            bytes.extend(text.bytes().filter(|byte| *byte != 0));
            bytes.push(0);
            Zeroizing::new(bytes)
        });
        let [vmx_spec, server_name, thumbprint, user, password] =
            texts.each_mut().map(|text| text.as_mut_ptr().cast::<c_char>());
        // SAFETY: the struct is allocated and ours alone; a newer library's is longer, and its rest stays as it was made. The
        // texts are on the heap: moving their owners into `Self` does not move them.
        unsafe {
            (*raw).vmx_spec = vmx_spec;
            (*raw).server_name = server_name;
            (*raw).thumbprint = thumbprint;
            (*raw).cred_type = CRED_UID;
            (*raw).creds = [user, password, ptr::null_mut()];
            (*raw).port = port;
            (*raw).spec_type = SPEC_VMX;
        }
        Some(Self { api, raw, _texts: texts })
    }
}

impl Drop for Params {
    fn drop(&mut self) {
        // SAFETY: still ours alone. The texts are ours to free: the library's own function must not find them. What was
        // allocated by whom is freed by the same.
        unsafe {
            (*self.raw).vmx_spec = ptr::null_mut();
            (*self.raw).server_name = ptr::null_mut();
            (*self.raw).thumbprint = ptr::null_mut();
            (*self.raw).creds = [ptr::null_mut(); 3];
            match (self.api.table.allocate_params, self.api.table.free_params) {
                (Some(_), Some(free)) => free(self.raw),
                (Some(_), None) => {}
                (None, _) => drop(Box::from_raw(self.raw)),
            }
        }
    }
}

/// A connection of the library.
pub(super) struct Connected {
    api: Api,
    connection: Pointer,
}

// SAFETY: the library lets a connection be used by any thread, one at a time; `library` has the lock.
unsafe impl Send for Connected {}

impl Connected {
    pub(super) fn disconnect(self) -> Result<(), VixError> {
        // SAFETY: `connect` gave it, and it goes with this call.
        well(unsafe { (self.api.table.disconnect)(self.connection) })
    }

    pub(super) fn open(&self, path: &CStr, flags: u32) -> Result<Opened, VixError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the connection is alive and the text ends with a zero.
        well(unsafe { (self.api.table.open)(self.connection, path.as_ptr(), flags, &raw mut handle) })?;
        Ok(Opened { api: self.api, handle })
    }
}

/// An open disk of the library. Its methods take it for themselves: one call at a time.
pub(super) struct Opened {
    api: Api,
    handle: Pointer,
}

// SAFETY: the library lets a handle be used by any thread, one at a time; `&mut self` sees to that.
unsafe impl Send for Opened {}

/// What a disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// In sectors of 512 bytes.
    pub(super) sectors: u64,
    pub(super) uuid: String,
    /// Logical and physical, where the library tells.
    pub(super) sector_bytes: Option<(u32, u32)>,
}

/// A request of its own thread in the library, and who is told of its end.
struct Flight {
    buffer: Buffer,
    landed: Box<dyn FnOnce(Buffer, Result<(), VixError>) + Send>,
}

/// The library calls it from a thread of its own, once for each request that it took.
extern "C" fn land(data: Pointer, error: VixError) {
    // SAFETY: it is the pointer that `Opened::launch` made of a box, and comes back once.
    let flight = unsafe { Box::from_raw(data.cast::<Flight>()) };
    (flight.landed)(flight.buffer, well(error));
}

impl Opened {
    pub(super) fn close(self) -> Result<(), VixError> {
        // SAFETY: `open` gave it, and it goes with this call.
        well(unsafe { (self.api.table.close)(self.handle) })
    }

    pub(super) fn transport(&mut self) -> String {
        // SAFETY: the handle is open; the answer is the library's own text or NULL.
        owned(unsafe { (self.api.table.transport)(self.handle) })
    }

    /// `has_sector_sizes`: the library is of major 7 or later, whose struct is 8 bytes longer.
    pub(super) fn about(&mut self, has_sector_sizes: bool) -> Result<About, VixError> {
        let mut info: *mut Info = ptr::null_mut();
        // SAFETY: the handle is open and the place lives for the length of the call.
        well(unsafe { (self.api.table.info)(self.handle, &raw mut info) })?;
        if info.is_null() {
            return Err(1);
        }
        // SAFETY: the library filled it; its longer form is read only where its version has it. Given back once, after
        // everything was copied.
        unsafe {
            let sizes = has_sector_sizes.then(|| {
                let sizes = &(*info.cast::<LongInfo>()).sizes;
                (sizes.logical, sizes.physical)
            });
            let about = About { sectors: (*info).capacity, uuid: owned((*info).uuid), sector_bytes: sizes };
            (self.api.table.free_info)(info);
            Ok(about)
        }
    }

    pub(super) fn read(&mut self, sector: u64, buffer: &mut Buffer) -> Result<(), VixError> {
        let (sectors, bytes) = (buffer.sectors(), buffer.bytes_mut().as_mut_ptr());
        // SAFETY: the buffer is as long as so many sectors, and ours for the length of the call.
        well(unsafe { (self.api.table.read)(self.handle, sector, sectors, bytes) })
    }

    pub(super) fn write(&mut self, sector: u64, buffer: &Buffer) -> Result<(), VixError> {
        // SAFETY: as for `read`.
        well(unsafe { (self.api.table.write)(self.handle, sector, buffer.sectors(), buffer.bytes().as_ptr()) })
    }

    /// Begins to read; `landed` is called when it has ended, maybe before this returns, maybe from another thread. Where the
    /// library has no such function it is read here and now.
    pub(super) fn start_read(
        &mut self,
        sector: u64,
        mut buffer: Buffer,
        landed: impl FnOnce(Buffer, Result<(), VixError>) + Send + 'static,
    ) {
        let Some(read) = self.api.table.read_async.filter(|_| self.api.table.wait.is_some()) else {
            let outcome = self.read(sector, &mut buffer);
            return landed(buffer, outcome);
        };
        let handle = self.handle;
        launch(buffer, landed, |sectors, bytes, data| {
            // SAFETY: the buffer lives in the box behind `data` until the callback takes it back.
            unsafe { read(handle, sector, sectors, bytes, land, data) }
        });
    }

    /// Begins to write; else as `start_read`.
    pub(super) fn start_write(
        &mut self,
        sector: u64,
        buffer: Buffer,
        landed: impl FnOnce(Buffer, Result<(), VixError>) + Send + 'static,
    ) {
        let Some(write) = self.api.table.write_async.filter(|_| self.api.table.wait.is_some()) else {
            let outcome = self.write(sector, &buffer);
            return landed(buffer, outcome);
        };
        let handle = self.handle;
        launch(buffer, landed, |sectors, bytes, data| {
            // SAFETY: as for `start_read`.
            unsafe { write(handle, sector, sectors, bytes, land, data) }
        });
    }

    /// All requests that were begun have ended.
    pub(super) fn wait(&mut self) -> Result<(), VixError> {
        let Some(wait) = self.api.table.wait else { return Ok(()) };
        // SAFETY: the handle is open.
        well(unsafe { wait(self.handle) })
    }

    pub(super) fn flush(&mut self) -> Result<(), VixError> {
        let Some(flush) = self.api.table.flush else { return Ok(()) };
        // SAFETY: the handle is open.
        well(unsafe { flush(self.handle) })
    }

    /// Allocated blocks, each from a sector so many. `None`: the library cannot tell.
    pub(super) fn query_blocks(
        &mut self,
        sector: u64,
        sectors: u64,
        chunk_sectors: u64,
    ) -> Option<Result<Vec<(u64, u64)>, VixError>> {
        let (query, free) = (self.api.table.query_blocks?, self.api.table.free_blocks?);
        let mut list: *mut BlockList = ptr::null_mut();
        // SAFETY: the handle is open and the place lives for the length of the call.
        let error = unsafe { query(self.handle, sector, sectors, chunk_sectors, &raw mut list) };
        if let Err(error) = well(error) {
            return Some(Err(error));
        }
        if list.is_null() {
            return Some(Err(1));
        }
        // SAFETY: the library filled the list with as many blocks as it says, bounded all the same; copied before it is given
        // back, once.
        unsafe {
            let count = usize::try_from((*list).count.min(BLOCKS_MAX)).unwrap_or(0);
            let first = (&raw const (*list).blocks).cast::<Block>();
            let blocks = std::slice::from_raw_parts(first, count).iter().map(|block| (block.offset, block.length));
            let blocks = blocks.collect();
            free(list);
            Some(Ok(blocks))
        }
    }
}

fn launch(
    buffer: Buffer,
    landed: impl FnOnce(Buffer, Result<(), VixError>) + Send + 'static,
    begin: impl FnOnce(u64, *mut u8, Pointer) -> VixError,
) {
    let mut flight = Box::new(Flight { buffer, landed: Box::new(landed) });
    // The bytes are on the heap of their own: they stay where they are, whoever has the box.
    let (sectors, bytes) = (flight.buffer.sectors(), flight.buffer.bytes_mut().as_mut_ptr());
    let flight = Box::into_raw(flight);
    let error = begin(sectors, bytes, flight.cast());
    if error != VIX_ASYNC {
        // SAFETY: the library did not take the request, so no callback comes for it.
        let flight = unsafe { Box::from_raw(flight) };
        (flight.landed)(flight.buffer, well(error));
    }
}

/// `None`: a zero byte inside.
pub(super) fn c_text(text: &str) -> Option<CString> {
    CString::new(text).ok()
}

/// Keeps the compiler honest about what crosses threads.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Params>();
    is_send::<Connected>();
    is_send::<Opened>();
    is_send::<Arc<Listener>>();
};
