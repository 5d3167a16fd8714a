//! How a long run tells of its progress, and is asked to stop. The engine prints nothing.

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A part of the run begins.
    Phase {
        /// Its name.
        name: &'static str,
        /// How much there is to do; 0 if that is not known.
        total_bytes: u64,
    },
    /// A disk begins.
    DiskStarted {
        /// The VM's name.
        vm: &'a str,
        /// The disk's name.
        disk: &'a str,
        /// Its size.
        bytes: u64,
        /// How much of it holds data, as far as that is known.
        data_bytes: Option<u64>,
    },
    /// A disk is done.
    DiskFinished {
        /// The VM's name.
        vm: &'a str,
        /// The disk's name.
        disk: &'a str,
        /// What was read of it.
        read_bytes: u64,
        /// Bytes of the frames that were made of it.
        stored_bytes: u64,
    },
    /// Something that the operator should know and that does not end the run.
    Warning {
        /// For programs.
        code: &'static str,
        /// For people: one sentence.
        message: String,
    },
}

/// Progress since the last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the work that are done.
    pub done_bytes: u64,
    /// Bytes that were new: stored by a backup, written by a restore.
    pub new_bytes: u64,
}

/// Watches a run; called from its worker threads.
pub trait Monitor: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
    /// Work was done.
    fn advance(&self, step: Step);
    /// Whether the run should stop as soon as it cleanly can.
    fn interrupted(&self) -> bool;
}

/// Watches nothing and never stops a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn event(&self, _event: &Event<'_>) {}

    fn advance(&self, _step: Step) {}

    fn interrupted(&self) -> bool {
        false
    }
}
