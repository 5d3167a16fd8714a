//! Disk streams by VMware's Virtual Disk Development Kit, in a process of their own.
//!
//! ```text
//!   the program                                 the process: strongroom vddk-helper
//!   disk ─► process ──control (stdin)─────────► helper ─► library ─► sys ─► libvixDiskLib
//!        └─ engine's NBD client ──nbd.sock────► export ─► worker ───┘
//! ```
//!
//! The library brings its own OpenSSL and C++, has threads, and dies now and then: nothing of it enters the program. VMware
//! makes it for x86-64 Linux; elsewhere the program's side is all there is.

pub mod control;
mod failure;
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    expect(dead_code, reason = "the process keeps lines too")
)]
mod lines;
mod places;
mod process;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod allocated;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod buffer;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod export;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod helper;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod library;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sys;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod worker;

/// The hidden first argument that makes the program the process that holds the library.
pub const HELPER_ARGUMENT: &str = "vddk-helper";
/// Name of the socket that disks are served over, in the process's own folder.
const SOCKET_NAME: &str = "nbd.sock";

pub use failure::{ProcessError, ReadError};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use helper::helper_main;
pub use lines::LibraryLines;
pub(crate) use places::library_files;
pub use process::{Launch, LibraryAbout, OpenedDisk, Process, VmAccess, VmLogin};

/// VMware makes no library for this machine.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub fn helper_main() -> std::process::ExitCode {
    std::process::ExitCode::from(2)
}
