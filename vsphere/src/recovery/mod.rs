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
//! | `execute` | the deed: make the VM, fill it, undo it if anything fails |
//!
//! **Invariant:** all but the last three are pure: values in, values out, the same for the same.

mod disks;
mod ending;
mod execute;
mod facts;
mod guards;
mod home;
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

pub use disks::{DiskKeys, DiskPlan, DiskRow};
pub use ending::Ending;
pub use execute::{Powered, RestoreVmError, RestoreVmJob, RestoreVmOptions, RestoredVm, VerifyAfter, restore_vm};
pub use facts::{
    HostCrypto, KeyAnswer, KeyState, MissingPrivilege, NameState, NeededFor, NetworkBacking, ProviderState,
    RegisterHost, ServerKind, TargetFacts, TargetNetwork,
};
pub use home::{HomePlan, HomeRow, KeyStanding};
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
