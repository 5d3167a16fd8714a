//! SIGINT and SIGTERM ask the work to stop; SIGUSR1 asks for one line of progress.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGUSR1},
    flag,
};

use crate::exit::Exit;

/// Which of the two signals came; 0: none.
static STOP: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);
static REPORT: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

const INT: usize = 2;
const TERM: usize = 15;

/// Begins to listen. A second SIGINT or SIGTERM ends the program at once: nothing that is committed depends on a clean end.
pub fn listen() {
    let second = Arc::new(AtomicBool::new(false));
    for (signal, number) in [(SIGINT, INT), (SIGTERM, TERM)] {
        let exit = if number == INT { Exit::Interrupted } else { Exit::Terminated };
        // In this order: the first signal finds `second` unset, then sets it.
        let _ = flag::register_conditional_shutdown(signal, exit.code().into(), Arc::clone(&second));
        let _ = flag::register(signal, Arc::clone(&second));
        let _ = flag::register_usize(signal, Arc::clone(&STOP), number);
    }
    let _ = flag::register(SIGUSR1, Arc::clone(&REPORT));
}

/// Has somebody asked to stop?
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed) != 0
}

/// Has somebody asked for a line of progress since the last question?
pub fn report_wanted() -> bool {
    REPORT.swap(false, Ordering::Relaxed)
}

/// How an interrupted run ends.
pub fn interrupted_exit() -> Exit {
    if STOP.load(Ordering::Relaxed) == TERM { Exit::Terminated } else { Exit::Interrupted }
}
