//! The rules of the library, and what becomes of a process that breaks one.

use std::{
    io::Write,
    process,
    sync::atomic::{AtomicI64, AtomicU32, Ordering},
};

/// Ends the process: whoever broke the rule must not go on as if nothing had been.
pub fn broken(rule: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "RULE BROKEN: {rule}");
    process::abort();
}

static PROCESS: AtomicU32 = AtomicU32::new(0);
static OPENING: AtomicU32 = AtomicU32::new(0);

/// Things that must be given back.
pub struct Owed {
    what: &'static str,
    count: AtomicI64,
}

pub static INFOS: Owed = Owed { what: "Info", count: AtomicI64::new(0) };
pub static LISTS: Owed = Owed { what: "BlockList", count: AtomicI64::new(0) };
pub static TEXTS: Owed = Owed { what: "ErrorText", count: AtomicI64::new(0) };
pub static PARAMS: Owed = Owed { what: "ConnectParams", count: AtomicI64::new(0) };

impl Owed {
    pub fn give(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    pub fn take_back(&self) {
        if self.count.fetch_sub(1, Ordering::SeqCst) <= 0 {
            broken(&format!("{} freed twice", self.what));
        }
    }

    pub fn check(&self) {
        if self.count.load(Ordering::SeqCst) != 0 {
            broken(&format!("{} not freed", self.what));
        }
    }
}

/// For InitEx: once, on the main thread.
pub fn begin() {
    // SAFETY: no arguments, no memory.
    let (thread, this) = unsafe { (libc::gettid(), libc::getpid()) };
    if thread != this {
        broken("InitEx off the main thread");
    }
    if PROCESS.swap(process::id(), Ordering::SeqCst) != 0 {
        broken("InitEx twice");
    }
}

/// For every other call.
pub fn is_begun(function: &str) {
    match PROCESS.load(Ordering::SeqCst) {
        0 => broken(&format!("{function} before InitEx")),
        id if id != process::id() => broken(&format!("{function} in a forked child")),
        _ => {}
    }
}

/// For Exit: nothing may be called any more.
pub fn end() {
    PROCESS.store(0, Ordering::SeqCst);
}

/// Held while a disk is opened or closed.
pub struct Opening;

impl Opening {
    pub fn begin(function: &str) -> Self {
        if OPENING.fetch_add(1, Ordering::SeqCst) != 0 {
            broken(&format!("{function} while another Open or Close goes on"));
        }
        // Long enough for another thread to be caught.
        std::thread::sleep(std::time::Duration::from_millis(2));
        Self
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        OPENING.fetch_sub(1, Ordering::SeqCst);
    }
}
