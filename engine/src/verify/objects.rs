//! The small objects that exist twice: config and key slots; the log, its checkpoints, and its records that broke a rule.

use repo_format::{CONFIG_BYTES, Config, Digest, KeySlot, RepositoryId, SLOT_BYTES, SlotId};

use super::VerifyError;
use crate::{
    problem::Problem,
    repository::Reader,
    store::{Name, Reaction, Store, StoreError},
};

const CONFIG: &str = "config";
const CONFIG_COPY: &str = "config.copy";

/// Checks the log, its checkpoints and voids, config and slots of an open repository. None of these costs a restore point.
pub(super) fn check(reader: &Reader) -> Result<Vec<Problem>, VerifyError> {
    let store = reader.environment().store.as_ref();
    let mut problems: Vec<Problem> = reader
        .log()
        .voids()
        .iter()
        .map(|void| Problem::new("log", format_args!("a record broke a rule and is void: {void}")))
        .collect();
    problems.extend(reader.log().audit()?);
    problems.extend(check_config(store)?.problems);
    for (slot, known) in reader.state().slots() {
        problems.extend(check_slot(store, *slot, Some(&reader.config().repository), Some(&known.digest))?);
    }
    Ok(problems)
}

/// What is to be said of the two copies of the config.
pub(super) struct CheckedConfig {
    pub(super) problems: Vec<Problem>,
    /// A copy that is right: the repository's id and the digest that the log begins from.
    pub(super) good: Option<(RepositoryId, Digest)>,
}

pub(super) fn check_config(store: &dyn Store) -> Result<CheckedConfig, StoreError> {
    let copies = [(CONFIG, Name::config()), (CONFIG_COPY, Name::config_copy())];
    let mut checked = CheckedConfig { problems: Vec::new(), good: None };
    for (object, name) in copies {
        let bytes = match read(store, &name, CONFIG_BYTES)? {
            Ok(bytes) => bytes,
            Err(what) => {
                checked.problems.push(Problem::new(object, what));
                continue;
            }
        };
        match Config::decode(&bytes) {
            Ok(config) => {
                let found = (config.repository(), Digest::of(&bytes));
                if checked.good.is_some_and(|good| good != found) {
                    checked.problems.push(Problem::new(object, "differs from the other copy"));
                }
                checked.good.get_or_insert(found);
            }
            Err(error) => checked.problems.push(Problem::new(object, error)),
        }
    }
    Ok(checked)
}

/// Checks both copies of a slot; `digest` is what the log knows of it.
pub(super) fn check_slot(
    store: &dyn Store,
    slot: SlotId,
    repository: Option<&RepositoryId>,
    digest: Option<&Digest>,
) -> Result<Vec<Problem>, StoreError> {
    let mut problems = Vec::new();
    let mut first: Option<Digest> = digest.copied();
    for copy in 0..2 {
        let name = Name::slot(slot, copy);
        let object = format!("key slot {}", name.as_str());
        let bytes = match read(store, &name, SLOT_BYTES)? {
            Ok(bytes) => bytes,
            Err(what) => {
                problems.push(Problem::new(object, what));
                continue;
            }
        };
        match KeySlot::parse(&bytes) {
            Err(error) => problems.push(Problem::new(object, error)),
            Ok(found) if found.id() != slot => problems.push(Problem::new(object, "is another slot")),
            Ok(found) if repository.is_some_and(|repository| *repository != found.repository()) => {
                problems.push(Problem::new(object, "belongs to another repository"));
            }
            Ok(_) => {
                let found = Digest::of(&bytes);
                if *first.get_or_insert(found) != found {
                    let what = if digest.is_some() {
                        "is not the slot that the log names"
                    } else {
                        "differs from the other copy"
                    };
                    problems.push(Problem::new(object, what));
                }
            }
        }
    }
    Ok(problems)
}

/// The bytes of an object, or why they are not those of one: it is missing, or longer than any may be.
fn read(store: &dyn Store, name: &Name, bytes_max: usize) -> Result<Result<Vec<u8>, String>, StoreError> {
    match store.get(name, bytes_max as u64) {
        Ok(Some(bytes)) => Ok(Ok(bytes)),
        Ok(None) => Ok(Err("is missing".to_owned())),
        Err(error) if error.reaction == Reaction::Damaged => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}
