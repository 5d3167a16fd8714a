//! How the bytes of a Strongroom repository move.
//!
//! | row | rooms |
//! |---|---|
//! | conductors: one walk each, on one screen | `backup`, `restore`, `verify`, `forget`, `prune`, `listing`, `keys_admin` |
//! | roles: what a handle may do | `repository`, `session`, `captured_home`, `verdict`, `retention`, `map_walk` |
//! | stages | `pipeline`, `frame_writer`, `dedup`, `pack_sink`, `source`, `target` |
//! | durable nouns | `pack_reader`, `index`, `index_sync`, `catalog`, `log`, `state_folder`, `read_error` |
//! | ground | `store`, `aligned`, `monitor`, `clock`, `entropy`, `error`, `problem`, `byte_ranges` |
//!
//! **Invariant:** no row imports from a row above it. Nothing here prints, reads a terminal or names VMware.

mod aligned;
mod backup;
mod byte_ranges;
mod captured_home;
mod catalog;
mod clock;
mod dedup;
mod entropy;
mod error;
mod forget;
mod frame_writer;
mod index;
mod index_sync;
mod keys_admin;
mod listing;
mod log;
mod map_walk;
mod monitor;
mod pack_reader;
mod pack_sink;
mod pipeline;
mod problem;
mod prune;
mod read_error;
mod repository;
mod restore;
mod retention;
mod session;
mod source;
mod state_folder;
mod store;
mod target;
#[cfg(test)]
mod test_repository;
mod verdict;
mod verify;

pub use backup::{
    BackupError, BackupJob, BackupOptions, BackupReport, DiskReport, JobDisk, OnBad, backup, rehearse_backup,
};
pub use captured_home::{CapturedHome, HOME_CONTENT_BYTES_MAX, HomeError};
pub use catalog::CatalogError;
pub use clock::{Clock, FixedClock, SystemClock};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy, random};
pub use error::Kind;
pub use forget::{Fate, ForgetError, VmFates, apply_rules, check_mass, forget, hold, named_fates, release};
pub use frame_writer::WriteError;
pub use index::Location;
pub use keys_admin::{KeyError, SlotInfo, add_slot, change_secret, remove_slot, slots};
pub use listing::{
    Diff, DiffError, DiskDiff, HomeChange, HomeSummary, ListedPoint, SecretSummary, ShownPoint, Side, Stats,
    StreamSummary, Totals, VmStats, diff, disk_extents, list, show, stats,
};
pub use log::{
    Appended, CommitDraft, Log, LogError, LogHead, PackState, PackStatus, PointState, PointStatus, Refusal,
    SessionState, SessionStatus, SlotState, State, Surveyed, VoidRecord, decide_close, decide_commit, decide_condemn,
    decide_delete, decide_fence, decide_forget, decide_moved, decide_open, decide_pin,
};
pub use map_walk::{Found, MapWalk, Visitor};
pub use monitor::{Event, Monitor, Silent, Step};
pub use pack_reader::{FrameBuffers, PackError, PackReader};
pub use pack_sink::SinkError;
pub use pipeline::StoreDiskError;
pub use problem::{Cost, Part, Problem};
pub use prune::{PruneError, PruneOptions, PrunePlan, PruneReport, freed_bytes, plan_prune, prune};
pub use read_error::ReadError;
pub use repository::{
    Environment, InitError, InitReport, NewRepository, NewSlotSecret, OpenError, Reader, UnlockError, Writer, init,
    open_reader, open_writer,
};
pub use restore::{
    BadExtents, RestoreError, RestoreHomeError, RestoreJob, RestoreOptions, RestoreReport, RestoredDisk, RestoredHome,
    restore, restore_home,
};
pub use retention::{Candidate, Keep, Period, Reason, Rules, retain};
pub use session::SessionError;
pub use source::{DiskSource, MemorySource, RawImage, SourceError, SourceOpenError};
pub use state_folder::{SessionLock, StateFolder, StateFolderError, VmLock};
pub use store::{
    Caps, Deleted, Listed, LocalStore, MemoryStore, Name, NameKind, Prefix, PutNew, Reaction, ReadOnlyStore, Store,
    StoreError,
};
pub use target::{
    Ending, FileTarget, FileTargetOptions, IfExists, MemoryTarget, NullTarget, Room, Space, Start, Target, TargetError,
    check_file_name,
};
pub use verdict::{NeededKey, Verdict, judge, judge_damaged};
pub use verify::{Depth, Share, VerifyError, VerifyOptions, VerifyReport, verify, verify_without_key};
