//! Bringing a VM back: first a decision, then a specification, then the deed.
//!
//! | room | what it does |
//! |---|---|
//! | `wish`, `map_file` | what the operator asks for |
//! | `facts` | what the target is like, as others found out |
//! | `plan` | [`decide`]: guards, then exactly one row for the home, one for each disk, one for the vTPM |
//! | `home`, `disks`, `policy`, `guards` | the tables, one room each |
//! | `reason`, `loss`, `note`, `verdict`, `ending` | what a decision says, and how a run ends by it |
//! | `spec` | the `ConfigSpec` of a decision, elements in wire order |
//! | `text` | what a person reads |
//! | `saved_point` | a restore point, read out of the repository |
//! | `target` | where the VM goes, and the facts of that place; asks, changes nothing |
//! | `write_disks`, `write_snapshot` | disks of a powered-off VM, written and read back; by HotAdd under a snapshot |
//! | `execute` | the deed: make the VM, fill it, undo it if anything fails |
//! | `in_place` | disks of a VM that is there, changed where they lie |
//!
//! **Invariant:** all but the last six are pure: values in, values out, the same for the same.

mod disks;
mod ending;
mod execute;
mod facts;
mod guards;
mod home;
mod in_place;
mod loss;
mod map_file;
mod note;
mod plan;
mod policy;
mod reason;
mod saved_point;
mod spec;
mod target;
#[cfg(test)]
mod tests;
mod text;
mod verdict;
mod wish;
mod write_disks;
mod write_snapshot;

pub use disks::{DiskKeys, DiskPlan, DiskRow};
pub use ending::Ending;
pub use execute::{Powered, RestoreVmError, RestoreVmJob, RestoreVmOptions, RestoredVm, VerifyAfter, restore_vm};
pub use facts::{
    HostCrypto, KeyAnswer, KeyState, NameState, NeededFor, NetworkBacking, PrivilegeGap, ProviderState, RegisterHost,
    ServerKind, TargetFacts, TargetNetwork,
};
pub use home::{HomePlan, HomeRow, KeyStanding};
pub use in_place::{InPlaceError, InPlaceJob, InPlacePlan, RestoredInPlace, plan_in_place, restore_in_place};
pub use loss::{Loss, LossLine};
pub use map_file::{MapFile, MapFileError, Placement, PolicyEntry};
pub use note::Note;
pub use plan::{Asked, Decision, NvramPlan, Power, Question, Recovery, Refused, VtpmRow, decide, keys_to_ask};
pub use policy::{ChosenBy, PolicyChoice, SAMPLE_POLICY_ID, SAMPLE_POLICY_NAME};
pub use reason::{Part, Reason};
pub use saved_point::{SavedPoint, SavedPointError};
pub use spec::{ConfigSpec, RUN_OPTION, SpecError, config_spec};
pub use target::{PlaceError, Target, TargetInventory, TargetPlace};
pub use text::{ReasonText, decision_lines, loss_lines, plan_lines, question_text, reason_texts};
pub use verdict::PlanVerdict;
pub use wish::{Consents, EncryptionWish, Operator, PolicyWish, PowerOn, Purpose, Unbootable, Wish};
pub use write_disks::WriteDisksError;
