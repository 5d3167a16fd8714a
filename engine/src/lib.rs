//! How the bytes of a Strongroom repository move.
//!
//! | row | rooms |
//! |---|---|
//! | conductors: one walk each, on one screen | `backup`, `restore`, `serve`, `verify`, `forget`, `prune`, `copy`, `repair`, `listing`, `keys_admin` |
//! | roles: what a handle may do | `repository`, `session`, `pinned_reader`, `captured_home`, `verdict`, `retention`, `map_walk`, `map_edit`, `stored_disk` |
//! | stages | `pipeline`, `splice`, `audit`, `run_cutter`, `read_plan`, `frame_writer`, `dedup`, `pack_sink`, `mender`, `source`, `target` |
//! | durable nouns | `pack_reader`, `index`, `index_sync`, `catalog`, `log`, `state_folder`, `job_journal`, `heartbeat`, `read_error` |
//! | ground | `store`, `nbd`, `aligned`, `monitor`, `clock`, `entropy`, `error`, `problem`, `byte_ranges`, `changed_areas` |
//!
//! **Invariant:** no row imports from a row above it. Nothing here prints, reads a terminal or names VMware.

mod aligned;
mod audit;
mod backup;
mod byte_ranges;
mod captured_home;
mod catalog;
mod changed_areas;
mod clock;
mod copy;
mod dedup;
mod entropy;
mod error;
mod forget;
mod frame_writer;
mod heartbeat;
mod index;
mod index_sync;
mod job_journal;
mod keys_admin;
mod listing;
mod log;
mod map_edit;
mod map_walk;
mod mender;
mod monitor;
mod nbd;
mod pack_reader;
mod pack_sink;
mod pinned_reader;
mod pipeline;
mod problem;
mod prune;
mod read_error;
mod read_plan;
mod repair;
mod repository;
mod restore;
mod retention;
mod run_cutter;
mod serve;
mod session;
mod source;
mod splice;
mod state_folder;
mod store;
mod stored_disk;
mod target;
#[cfg(test)]
mod test_repository;
mod verdict;
mod verify;

pub use audit::AuditShare;
pub use backup::{
    AuditReport, BackupError, BackupJob, BackupOptions, BackupReport, Changes, DiskReport, FullRead, HowRead, JobDisk,
    OnBad, Recorded, backup, rehearse_backup,
};
pub use captured_home::{CapturedHome, HOME_CONTENT_BYTES_MAX, HomeError, HomeSource, HomeSourceError};
pub use catalog::CatalogError;
pub use changed_areas::{ChangedAreas, ChangedAreasError};
pub use clock::{Clock, FixedClock, SystemClock};
pub use copy::{
    CopiedPoint, CopyError, CopyOptions, CopyPlan, CopyPointError, CopyReport, UncopiedPoint, copy, plan_copy,
};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy, random};
pub use error::Kind;
pub use forget::{Fate, ForgetError, VmFates, apply_rules, check_mass, forget, hold, named_fates, release};
pub use frame_writer::WriteError;
pub use index::Location;
pub use job_journal::JobJournal;
pub use keys_admin::{KeyError, SlotInfo, add_slot, change_secret, remove_slot, slots};
pub use listing::{
    Diff, DiffError, DiskDiff, HomeChange, HomeSummary, ListedPoint, SecretSummary, ShownPoint, Side, Stats,
    StreamSummary, Totals, VmStats, diff, disk_extents, list, show, stats,
};
pub use log::{
    Appended, CheckpointError, CheckpointState, CommitDraft, Log, LogError, LogHead, PackState, PackStatus, PointState,
    PointStatus, Refusal, SessionState, SessionStatus, SlotState, State, Surveyed, VoidRecord, decide_close,
    decide_commit, decide_condemn, decide_delete, decide_fence, decide_forget, decide_moved, decide_open, decide_pin,
};
pub use map_walk::{Found, MapWalk, Visitor};
pub use mender::MendedFrom;
pub use monitor::{Event, Monitor, Silent, Step};
pub use nbd::{
    Answer, Ask, Channel, Chosen, Endpoint, Expecting, Export, Fault, Listen, ListenError, Listener, NbdClient,
    NbdError, NbdOptions, NbdUri, Negotiated, Piece, Progress, ReplyError, ServerLimits, ServerTls, ServerTlsFiles,
    SessionEnd, Shared, Socket, Ticket, TlsError, Trust, UriError, Wanted, ZeroHow, negotiate, offer, read_reply,
    serve_client, serve_requests, wire as nbd_wire,
};
pub use pack_reader::{FrameBuffers, PackError, PackReader};
pub use pack_sink::SinkError;
pub use pinned_reader::PinnedReader;
pub use pipeline::StoreDiskError;
pub use problem::{Cost, Part, Problem};
pub use prune::{PruneError, PruneOptions, PrunePlan, PruneReport, freed_bytes, plan_prune, prune};
pub use read_error::ReadError;
pub use repair::{
    Healed, HealedFrom, RebuildError, RebuildReport, RepairError, RepairMode, RepairOptions, RepairReport,
    RepairSources, rebuild_index, rebuild_log, repair,
};
pub use repository::{
    Environment, InitError, InitReport, NewRepository, NewSlotSecret, OpenError, Reader, UnlockError, Writer, init,
    open_reader, open_writer,
};
pub use restore::{
    BadExtents, RestoreBase, RestoreError, RestoreHomeError, RestoreJob, RestoreOptions, RestoreReport, RestoredDisk,
    RestoredHome, RestoredHomeParts, restore, restore_home, restore_home_parts,
};
pub use retention::{Candidate, Keep, Period, Reason, Rules, retain};
pub use serve::{
    OverlayError, OverlayPlace, ServeError, ServeJob, ServeOptions, ServeReport, ServeUntil, Served, Trouble, serve,
};
pub use session::SessionError;
pub use source::{DiskSource, MemorySource, NbdSource, RawImage, SourceError, SourceOpenError};
pub use splice::splice_segment;
pub use state_folder::{SessionLock, StateFolder, StateFolderError, VmLock};
pub use store::{
    Caps, Deleted, Listed, LocalStore, MemoryStore, Name, NameKind, Prefix, PutNew, Reaction, ReadOnlyStore, Store,
    StoreError,
};
pub use target::{
    Ending, FileTarget, FileTargetOptions, IfExists, MemoryTarget, NbdTarget, NullTarget, Room, Space, Start, Target,
    TargetError, UnwrittenTarget, check_file_name,
};
pub use verdict::{NeededKey, Verdict, judge, judge_damaged};
pub use verify::{Depth, Share, VerifyError, VerifyOptions, VerifyReport, verify, verify_and_mend, verify_without_key};
