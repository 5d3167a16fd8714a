//! The protocol of log and prune as a small model, explored in full: every order in which writers, prunes, restores, forget
//! and fence can take their steps. SPEC.md sections 17 and 18 are the rules; `docs/reliability.md` has the figures.
//!
//! A world ([`World`]) is what the log says, what lies in the store, and how far everybody is. A step ([`Step`]) is what one
//! of them does next: look at a head, decide an entry from it, create it, store a pack, remove one. A decision and the entry
//! it leads to are two steps, and whatever comes between makes the entry late. A crash is an actor that takes no further
//! step, a pause one that takes none for long: both are among the orders explored.
//!
//! | module | mirrors |
//! |---|---|
//! | [`log`] | `engine/src/log/state.rs`, `rules.rs` |
//! | [`writer`] | `engine/src/session.rs`, `dedup.rs` |
//! | [`pruner`] | `engine/src/prune.rs`, `prune/{survey,plan,confirm,repack,orphans,sweep}.rs`, `log/deciders.rs` |
//! | [`world`] | the store, forget, fence, restores with a pin, damage |
//! | [`invariant`] | I1–I6 |
//! | [`production`] | the engine's own `State` and deciders, which go along with every step and must say the same |
//!
//! **Not in the model:** chunks are atoms (map nodes are chunks like others), one pack a run, a listing that shows
//! everything. A listing that shows less means fewer packs adopted and fewer orphans removed.

pub mod action;
pub mod invariant;
pub mod log;
pub mod production;
pub mod pruner;
pub mod rule;
pub mod scope;
pub mod scopes;
pub mod search;
pub mod set;
pub mod world;
pub mod writer;

pub use action::Step;
pub use invariant::Watch;
pub use production::Production;
pub use rule::{Rule, Rules};
pub use search::{Counterexample, Explored, Reached, explore};
pub use world::World;
