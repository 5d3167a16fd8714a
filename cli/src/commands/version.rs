//! `strongroom version`

use super::Done;
use crate::{failure::Failure, output::VersionResult};

/// Version, formats, features.
pub fn run() -> Result<Done, Failure> {
    let features =
        ["local repositories", "block and fastcdc chunkers", "raw images", "block devices", "VM home documents"];
    Ok(Done::with(VersionResult {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        formats: vec![repo_format::FORMAT],
        features: features.map(str::to_owned).to_vec(),
    }))
}
