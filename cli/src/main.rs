//! `strongroom`: what a person types and reads.
//!
//! | room | what is in it |
//! |---|---|
//! | `args` | the command line; the only user of clap |
//! | `commands` | one conductor per command: from arguments over the engine to a result |
//! | `opening` | repository, secrets and folders brought together |
//! | `output` | the two forms of every result: a document for programs, text for people |
//! | `selector`, `units`, `secrets`, `vm_home_file`, `folders` | one notation each |
//! | `progress`, `signals` | what happens while the engine works |
//! | `failure`, `nbd_failure`, `exit` | what went wrong, and the number it ends with |

#![forbid(unsafe_code)]

mod args;
mod changed_areas;
mod commands;
mod exit;
mod failure;
mod folders;
mod hardening;
mod nbd_failure;
mod opening;
mod output;
mod progress;
mod runner;
mod secrets;
mod selector;
mod signals;
mod sources;
mod terminal;
mod units;
mod vm_home_file;

fn main() -> std::process::ExitCode {
    hardening::harden();
    // Before there is any thread: VMware's library wants a process to itself.
    if std::env::args_os().nth(1).is_some_and(|first| first == vsphere::vddk::HELPER_ARGUMENT) {
        return vsphere::vddk::helper_main();
    }
    runner::run(std::env::args_os().collect()).into()
}
