//! Where the cache and the state of this client go.

use std::{
    env,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;

use crate::failure::Failure;

const OURS: &str = "strongroom";

/// What the environment says; handed in so that the order of precedence can be tested.
pub struct Surroundings<'e> {
    /// An environment variable, if it is set and not empty.
    pub variable: &'e dyn Fn(&str) -> Option<PathBuf>,
    /// The user's folders by the XDG rules: cache, state.
    pub xdg: Option<(PathBuf, PathBuf)>,
}

/// The cache folder; the cache may be deleted at any time.
pub fn cache(flag: Option<&Path>) -> Result<PathBuf, Failure> {
    with_surroundings(|around| pick(flag, "CACHE", around, |xdg| &xdg.0))
}

/// The state folder: session locks and the last head seen.
pub fn state(flag: Option<&Path>) -> Result<PathBuf, Failure> {
    with_surroundings(|around| pick(flag, "STATE", around, |xdg| &xdg.1))
}

fn with_surroundings<T>(ask: impl FnOnce(&Surroundings<'_>) -> T) -> T {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let xdg = etcetera::base_strategy::Xdg::new().ok();
    let xdg = xdg.and_then(|xdg| Some((xdg.cache_dir(), xdg.state_dir()?)));
    ask(&Surroundings { variable: &variable, xdg })
}

/// Flag, then our variable, then systemd's folder, then XDG's.
fn pick(
    flag: Option<&Path>,
    what: &str,
    around: &Surroundings<'_>,
    of_xdg: impl Fn(&(PathBuf, PathBuf)) -> &PathBuf,
) -> Result<PathBuf, Failure> {
    let ours = || (around.variable)(&format!("STRONGROOM_{what}_DIR"));
    // Under systemd it is a list; the first one is ours.
    let systemd = || {
        let folders = (around.variable)(&format!("{what}_DIRECTORY"))?;
        Some(PathBuf::from(folders.to_str()?.split(':').next()?))
    };
    let xdg = || around.xdg.as_ref().map(|xdg| of_xdg(xdg).join(OURS));
    flag.map(Path::to_owned).or_else(ours).or_else(systemd).or_else(xdg).ok_or_else(|| {
        let lower = what.to_lowercase();
        Failure::invalid(
            format!("no {lower} folder: neither --{lower}-dir nor HOME is set"),
            format!("name one: --{lower}-dir FOLDER"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(flag: Option<&str>, variables: &[(&str, &str)], xdg: bool) -> Option<PathBuf> {
        let variable =
            |name: &str| variables.iter().find(|(found, _)| *found == name).map(|(_, value)| PathBuf::from(value));
        let xdg = xdg.then(|| (PathBuf::from("/home/u/.cache"), PathBuf::from("/home/u/.local/state")));
        let around = Surroundings { variable: &variable, xdg };
        pick(flag.map(Path::new), "STATE", &around, |xdg| &xdg.1).ok()
    }

    #[test]
    fn flag_then_variable_then_systemd_then_user() {
        let ours = ("STRONGROOM_STATE_DIR", "/ours");
        let systemd = ("STATE_DIRECTORY", "/var/lib/strongroom:/var/lib/other");
        assert_eq!(picked(Some("/flag"), &[ours, systemd], true), Some("/flag".into()));
        assert_eq!(picked(None, &[ours, systemd], true), Some("/ours".into()));
        assert_eq!(picked(None, &[systemd], true), Some("/var/lib/strongroom".into()));
        assert_eq!(picked(None, &[], true), Some("/home/u/.local/state/strongroom".into()));
        assert_eq!(picked(None, &[], false), None);
    }
}
