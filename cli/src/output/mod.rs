//! What a run says in the end: one document for programs, or text for people; errors in three labels.
//!
//! **Invariant:** standard output carries the result and nothing else; everything else goes to standard error.

mod audit;
mod copy;
mod envelope;
mod errors;
mod human;
mod repair;
mod results;
mod retention;
mod schema;
mod serve_result;
mod vsphere;

use std::io::{self, Write};

pub use audit::{AuditLine, ShowAudit};
pub use copy::{CopiedLine, CopyResult, SkippedLine, UncopiedLine};
pub use envelope::{Ending, Envelope, HeadLine, RepositoryLine, WarningLine};
pub use errors::{Palette, render_failure, render_warning};
pub use repair::{HealedLine, RebuiltLine, RepairResult, show_healed};
pub use results::{
    BackupDisk, BackupResult, CompletionsResult, CostLine, DemoResult, DemoStep, DiffDisk, DiffResult, ExtentLine,
    GenerateResult, HomeChangeLine, HomeDisk, HomeLine, InitResult, KeyResult, ListResult, PointLine, PolicyLine,
    ProblemLine, RangeLine, RestoreDisk, RestoreResult, SecretLine, ShowDisk, ShowPoint, ShowResult, SlotLine,
    StatsResult, StatsTotals, StatsVm, StreamLine, VerdictLine, VerifyResult, VersionResult,
};
pub use retention::{FateLine, ForgetResult, HeldLine, HoldResult, PruneDoneLine, PrunePlanLine, PruneResult};
pub use schema::write_schemas;
pub use serve_result::{ServeResult, ServeUri};
pub use vsphere::{
    CheckLine, CleanupResult, DoctorResult, InventoryResult, InventoryVm, PlanLine, PlanResult, VsphereBackupResult,
    VsphereRestoreResult, VsphereRun,
};

/// A result: one struct, two forms.
pub trait Report {
    /// As a person reads it.
    fn human(&self, out: &mut dyn Write) -> io::Result<()>;
    /// As a program reads it.
    fn json(&self, ending: &Ending<'_>, out: &mut dyn Write) -> io::Result<()>;
}

/// How a result is shown to people; the document form follows from the struct.
pub trait Human {
    /// As a person reads it.
    fn show(&self, out: &mut dyn Write) -> io::Result<()>;
}

impl<T: Human + serde::Serialize> Report for T {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        self.show(out)
    }

    fn json(&self, ending: &Ending<'_>, out: &mut dyn Write) -> io::Result<()> {
        envelope::write(ending, Some(self), out)
    }
}

/// The document of a run that has no result.
pub fn json_without_result(ending: &Ending<'_>, out: &mut dyn Write) -> io::Result<()> {
    envelope::write::<()>(ending, None, out)
}
