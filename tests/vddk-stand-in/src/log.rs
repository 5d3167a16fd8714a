//! Lines through the caller's callback, with a `va_list` as the processor's convention has it.

use std::{
    ffi::{CString, c_char, c_void},
    sync::OnceLock,
};

/// `void (const char *format, va_list arguments)`
pub type LogFunction = extern "C" fn(*const c_char, *mut c_void);

static LOG: OnceLock<LogFunction> = OnceLock::new();

/// A `va_list` of x86-64: all arguments in memory, none in registers.
#[repr(C)]
struct Arguments {
    general_offset: u32,
    float_offset: u32,
    in_memory: *const u64,
    in_registers: *const u64,
}

pub fn set(log: LogFunction) {
    let _ = LOG.set(log);
}

/// A line as one `%s`.
pub fn say(line: &str) {
    let line = CString::new(line).unwrap_or_default();
    call(c"%s\n".as_ptr(), &[line.as_ptr() as u64]);
}

/// A line of several arguments of several kinds.
pub fn say_numbers() {
    call(c"stand-in: %d of %llu, %s, 0x%x\n".as_ptr(), &[7, u64::MAX, c"text".as_ptr() as u64, 0xbeef]);
}

fn call(format: *const c_char, arguments: &[u64]) {
    let registers = [0_u64; 22];
    // 48 and 176: the ends of the two parts of the register area, so every argument is taken from memory.
    let mut list = Arguments {
        general_offset: 48,
        float_offset: 176,
        in_memory: arguments.as_ptr(),
        in_registers: registers.as_ptr(),
    };
    if let Some(log) = LOG.get() {
        log(format, (&raw mut list).cast());
    }
}
