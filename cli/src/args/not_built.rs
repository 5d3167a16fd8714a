//! Words of the contract that this version has not built. They answer with one clear message, and exit 14.

use crate::failure::Failure;

const COMMANDS: [&str; 4] = ["report", "profiles", "hooks", "mount"];
const KEY_COMMANDS: [&str; 2] = ["rotate", "test"];
const GENERATE: [&str; 3] = ["man", "config", "systemd"];
const OPTIONS: [&str; 13] = [
    "--since-head",
    "--boot",
    "--max-age",
    "--problems",
    "--config",
    "--profile",
    "--limit-upload",
    "--limit-download",
    "--memory",
    "--metrics-file",
    "--copy-chunker-from",
    "--by",
    "--reseal",
];
const VARIABLES: [&str; 6] = [
    "STRONGROOM_CONFIG",
    "STRONGROOM_PROFILE",
    "STRONGROOM_LIMIT_UPLOAD",
    "STRONGROOM_LIMIT_DOWNLOAD",
    "STRONGROOM_MEMORY",
    "STRONGROOM_METRICS_FILE",
];

/// The word as it should be named, if it belongs to the contract but not to this version.
pub fn word(word: &str, typed: &[&str]) -> Option<String> {
    let bare = word.split(['=', ' ']).next().unwrap_or(word);
    let under = |parent: &str| typed.contains(&parent);
    if KEY_COMMANDS.contains(&bare) && under("key") {
        return Some(format!("key {bare}"));
    }
    if GENERATE.contains(&bare) && under("generate") {
        return Some(format!("generate {bare}"));
    }
    (COMMANDS.contains(&bare) || OPTIONS.contains(&bare)).then(|| bare.to_owned())
}

/// A variable that would be obeyed later is not passed over in silence now.
pub fn variables(is_set: &dyn Fn(&str) -> bool) -> Result<(), Failure> {
    match VARIABLES.iter().find(|name| is_set(name)) {
        Some(name) => Err(Failure::not_built(name).with_advice(format!("unset {name}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_obeyed_is_named() {
        assert!(variables(&|_| false).is_ok());
        assert_eq!(variables(&|name| name == "STRONGROOM_MEMORY").unwrap_err().exit.code(), 14);
    }

    #[test]
    fn key_words_count_only_under_key() {
        assert_eq!(word("rotate", &["key", "rotate"]).as_deref(), Some("key rotate"));
        assert_eq!(word("rotate", &["rotate"]), None);
        assert_eq!(word("--max-age=3d", &[]).as_deref(), Some("--max-age"));
    }
}
