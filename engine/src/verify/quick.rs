//! What can be said without reading packs: which points to look at, and whether every pack is there with its length.

use repo_format::{ChunkId, Class, PackName, PackOrdinal};

use super::{
    VerifyError,
    costs::{Damage, Lost},
    mending::mend,
};
use crate::{
    log::{PackState, PackStatus, PointState},
    mender::Mender,
    problem::Problem,
    repository::Reader,
    store::Name,
};

/// A pack that is to be read whole.
#[derive(Clone, Debug)]
pub(super) struct PackToRead {
    pub(super) ordinal: PackOrdinal,
    pub(super) name: PackName,
    pub(super) class: Class,
    pub(super) bytes: u64,
}

/// The live points, or those of them that were named.
pub(super) fn chosen_points<'r>(reader: &'r Reader, wanted: &[ChunkId]) -> Result<Vec<&'r PointState>, VerifyError> {
    let live = || reader.state().points().iter().filter(|point| point.is_live());
    if let Some(point) = wanted.iter().find(|wanted| live().all(|point| point.id != **wanted)) {
        return Err(VerifyError::Point { point: *point });
    }
    Ok(live().filter(|point| wanted.is_empty() || wanted.contains(&point.id)).collect())
}

/// Packs that something may need: a condemned pack may go at any time.
pub(super) fn packs(reader: &Reader) -> impl Iterator<Item = (PackOrdinal, &PackState)> {
    reader.state().packs().filter(|(_, pack)| !may_be_gone(pack))
}

/// Whether the pack is on its way out, or gone.
pub(super) fn may_be_gone(pack: &PackState) -> bool {
    matches!(pack.status, PackStatus::Deleted | PackStatus::Condemned)
}

/// Asks for every pack's length.
pub(super) fn check_presence(reader: &Reader, mender: Option<&Mender>) -> Result<Damage, VerifyError> {
    let store = &reader.environment().store;
    let mut damage = Damage::default();
    for (ordinal, pack) in packs(reader) {
        let what = match store.size(&Name::pack(pack.name))? {
            Some(bytes) if bytes == pack.bytes => continue,
            Some(bytes) => format!("has {bytes} bytes, {} by the log", pack.bytes),
            None => "is missing".to_owned(),
        };
        let problem = Problem::new(format_args!("pack {}", pack.name), what);
        damage.mend_or_add(ordinal, mend(mender, pack)?, problem, Lost::All);
    }
    Ok(damage)
}

/// All packs that are there as a whole.
pub(super) fn packs_to_read(reader: &Reader, damage: &Damage) -> Vec<PackToRead> {
    let there = packs(reader).filter(|(ordinal, _)| !damage.has(*ordinal));
    there.map(|(ordinal, pack)| PackToRead { ordinal, name: pack.name, class: pack.class, bytes: pack.bytes }).collect()
}
