//! Mends damaged packs: shards whose check is wrong are taken from another copy, or made anew from the parity.
//!
//! **Invariant:** what comes out bears the name that was asked for. A repair that is wrong cannot be.

use super::{
    footer::{FIXED_BYTES, Footer, footer_bytes},
    parity,
};
use crate::{ids::PackName, pack::head::PACK_MAGIC};

/// Packs begin where some unit of this length begins.
const GRID_BYTES: usize = 1024;
/// What a disk loses at once; two damaged footers are put together from pieces of this length.
const SECTOR_BYTES: usize = 512;
/// Pieces in which two damaged footers differ, at most: each doubles the ways to put them together.
const SECTORS_TRIED_MAX: usize = 12;
/// Places at which a footer may begin, looked at in one copy.
const PLACES_TRIED_MAX: usize = 16;
/// The longest shard that a config can ask for.
const SHARD_BYTES_MAX: usize = 1 << 20;

/// Why a pack cannot be mended from what there is of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmendable {
    /// Nothing says which of its shards are right.
    #[error("neither of its footers can be read")]
    NoFooter,
    /// More is damaged than the parity makes up for.
    #[error("{bad} of its shards are damaged, its parity makes up for {parity}")]
    TooMany {
        /// Shards that no copy has right.
        bad: u32,
        /// Parity shards it was written with.
        parity: u32,
    },
    /// It is another pack, or its footer lies.
    #[error("its shards are as its footer says, but they are not what it is named after")]
    OtherPack,
}

/// A pack that bears its name again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MendedPack {
    /// All its bytes.
    pub bytes: Vec<u8>,
    /// Which of its shards were damaged in the first copy, ascending; from 0. None: the copy was whole, or only too long.
    pub mended: Vec<u32>,
}

/// Mends pack `name` from what `copies` have of it; the first is the one that is to be mended.
pub fn mend_pack(name: PackName, copies: &[&[u8]]) -> Result<MendedPack, Unmendable> {
    if let Some(whole) = copies.iter().find(|copy| PackName::of(copy) == name) {
        let mended = copies.first().map(|first| differing(first, whole)).unwrap_or_default();
        return Ok(MendedPack { bytes: whole.to_vec(), mended });
    }
    let mut nearest = Unmendable::NoFooter;
    for footer in footers(copies) {
        match mend_by(&footer, name, copies) {
            Ok(mended) => return Ok(mended),
            Err(error) => nearest = nearer(nearest, error),
        }
    }
    Err(nearest)
}

/// The shards, by the whole pack's footer, that are other in `found`.
fn differing(found: &[u8], whole: &[u8]) -> Vec<u32> {
    let shard_bytes = footers(&[whole]).first().map_or(GRID_BYTES, |footer| length(footer.shard_bytes()));
    let mut given = found.chunks(shard_bytes.max(1));
    let shards = (0_u32..).zip(whole.chunks(shard_bytes.max(1)));
    shards.filter(|(_, shard)| given.next() != Some(*shard)).map(|(number, _)| number).collect()
}

/// The footer that comes closest says what is to be said.
fn nearer(one: Unmendable, other: Unmendable) -> Unmendable {
    match (&one, &other) {
        (Unmendable::NoFooter, _) => other,
        (Unmendable::TooMany { bad, .. }, Unmendable::TooMany { bad: fewer, .. }) if fewer < bad => other,
        _ => one,
    }
}

fn mend_by(footer: &Footer, name: PackName, copies: &[&[u8]]) -> Result<MendedPack, Unmendable> {
    let (shards, shard_bytes) = (footer.shards(), length(footer.shard_bytes()));
    let block = footer.encode().map_err(|_| Unmendable::NoFooter)?;
    let at = |copy: &'_ [u8], number: u32| -> Option<std::ops::Range<usize>> {
        let start = length(number).checked_mul(shard_bytes)?;
        let range = start..start.checked_add(shard_bytes)?;
        copy.get(range.clone()).map(|_| range)
    };
    let is_right = |number: u32, bytes: &[u8]| match number {
        0 => bytes == block,
        last if last + 1 == shards => bytes == block,
        inner => footer.check_shard(inner, bytes).is_ok(),
    };
    // Every shard from the first copy that has it right.
    let mut found: Vec<Option<&[u8]>> = Vec::with_capacity(length(shards));
    let mut mended = Vec::new();
    for number in 0..shards {
        let mut right = copies.iter().map(|copy| {
            let bytes = at(copy, number).and_then(|range| copy.get(range));
            bytes.filter(|bytes| is_right(number, bytes))
        });
        let ours = right.next().flatten();
        if ours.is_none() {
            mended.push(number);
        }
        let footer = number == 0 || number + 1 == shards;
        found.push(ours.or_else(|| right.flatten().next()).or_else(|| footer.then_some(block.as_slice())));
    }
    let made = make_missing(footer, &found)?;
    let mut bytes = Vec::with_capacity(length(shards).saturating_mul(shard_bytes));
    let mut made = made.iter();
    for shard in &found {
        bytes.extend_from_slice(shard.or_else(|| made.next().map(Vec::as_slice)).ok_or(Unmendable::OtherPack)?);
    }
    if PackName::of(&bytes) != name {
        return Err(Unmendable::OtherPack);
    }
    Ok(MendedPack { bytes, mended })
}

/// The shards that no copy has, ascending. Those of the parity are made of the data like the first time.
fn make_missing(footer: &Footer, found: &[Option<&[u8]>]) -> Result<Vec<Vec<u8>>, Unmendable> {
    let bad = found.iter().filter(|shard| shard.is_none()).count();
    let parity_shards = footer.parity_shards();
    let too_many = || Unmendable::TooMany { bad: u32::try_from(bad).unwrap_or(u32::MAX), parity: parity_shards };
    if bad == 0 {
        return Ok(Vec::new());
    }
    let parity_at = footer.parity_place();
    let data_shards = found.len().saturating_sub(2).saturating_sub(parity_at.len());
    if bad > parity_at.len() || !parity::is_possible(data_shards, parity_at.len()) {
        return Err(too_many());
    }
    let shard_bytes = length(footer.shard_bytes());
    let parity_found = found.get(parity_at.clone()).unwrap_or_default();
    let is_data = |number: &usize| *number != 0 && number + 1 != found.len() && !parity_at.contains(number);
    let numbers: Vec<usize> = (0..found.len()).filter(is_data).collect();
    let data: Vec<Option<&[u8]>> = numbers.iter().map(|number| found.get(*number).copied().flatten()).collect();
    let restored = match data.iter().all(Option::is_some) {
        true => Vec::new(),
        false => parity::decode(&data, parity_found, shard_bytes).ok_or_else(too_many)?,
    };
    let mut made: Vec<(usize, Vec<u8>)> = Vec::with_capacity(bad);
    if parity_found.iter().any(Option::is_none) {
        let mut anew = restored.iter().map(|(_, shard)| shard.as_slice());
        let whole: Option<Vec<&[u8]>> = data.iter().map(|shard| shard.or_else(|| anew.next())).collect();
        let mut parity = vec![0; parity_at.len().saturating_mul(shard_bytes)];
        parity::encode(&whole.ok_or_else(too_many)?, &mut parity, shard_bytes);
        let missing = parity_at.zip(parity.chunks(shard_bytes)).zip(parity_found).filter(|(_, found)| found.is_none());
        made.extend(missing.map(|((number, shard), _)| (number, shard.to_vec())));
    }
    let numbered = restored.into_iter().filter_map(|(index, shard)| Some((*numbers.get(index)?, shard)));
    made.extend(numbered);
    made.sort_unstable_by_key(|(number, _)| *number);
    Ok(made.into_iter().map(|(_, shard)| shard).collect())
}

/// Every footer that can be read in `copies`; if none can, one put together from damaged ones.
fn footers(copies: &[&[u8]]) -> Vec<Footer> {
    let begins = |copy: &'_ [u8], at: usize| at == 0 || copy.get(at..).is_some_and(|rest| rest.starts_with(PACK_MAGIC));
    let places = copies.iter().flat_map(|copy| {
        let places = (0..copy.len()).step_by(GRID_BYTES).filter(move |at| begins(copy, *at));
        places.take(PLACES_TRIED_MAX).filter_map(|at| copy.get(at..))
    });
    let blocks: Vec<&[u8]> = places.filter_map(|begin| begin.get(..block_length(begin)?)).collect();
    let mut found: Vec<Footer> = Vec::new();
    for footer in blocks.iter().filter_map(|block| read_block(block)) {
        if !found.contains(&footer) {
            found.push(footer);
        }
    }
    if found.is_empty() {
        found.extend(blocks.iter().find_map(|block| put_together(block, copies)));
    }
    found
}

/// Length of the block that begins here, by its own numbers.
fn block_length(begin: &[u8]) -> Option<usize> {
    let (shards, shard_bytes) = numbers(begin)?;
    let block_bytes = footer_bytes(shards)?;
    (block_bytes > FIXED_BYTES && block_bytes <= shard_bytes && shard_bytes <= SHARD_BYTES_MAX).then_some(block_bytes)
}

/// Shards, and their length, as a footer says at its places 64 and 92.
fn numbers(begin: &[u8]) -> Option<(usize, usize)> {
    let number = |at: usize| begin.get(at..)?.first_chunk::<4>().map(|bytes| length(u32::from_le_bytes(*bytes)));
    Some((number(64)?, number(92)?))
}

/// The footer of a block, whatever stands behind it: zeros do, and they need not be read.
fn read_block(block: &[u8]) -> Option<Footer> {
    let (_, shard_bytes) = numbers(block)?;
    let mut shard = block.to_vec();
    shard.resize(shard_bytes.min(SHARD_BYTES_MAX), 0);
    Footer::decode(&shard).ok()
}

/// A footer from the right pieces of two damaged ones, if the numbers of `block` are right.
fn put_together(block: &[u8], copies: &[&[u8]]) -> Option<Footer> {
    let (shards, shard_bytes) = numbers(block)?;
    let last = shards.checked_sub(1)?.checked_mul(shard_bytes)?;
    let at = |copy: &'_ [u8], start: usize| copy.get(start..start.checked_add(block.len())?).map(<[u8]>::to_vec);
    let ends: Vec<Vec<u8>> = copies.iter().flat_map(|copy| [at(copy, 0), at(copy, last)]).flatten().collect();
    let pairs =
        ends.iter().enumerate().flat_map(|(number, one)| ends.iter().skip(number + 1).map(move |two| (one, two)));
    pairs.into_iter().find_map(|(one, two)| merged(one, two))
}

fn merged(one: &[u8], two: &[u8]) -> Option<Footer> {
    let pieces = || one.chunks(SECTOR_BYTES).zip(two.chunks(SECTOR_BYTES));
    let differing = pieces().filter(|(one, two)| one != two).count();
    if differing == 0 || differing > SECTORS_TRIED_MAX {
        return None;
    }
    (0_u32..1 << differing).find_map(|choice| {
        let mut bit = 0;
        let mut block = Vec::with_capacity(one.len());
        for (one, two) in pieces() {
            let takes_two = one != two && {
                bit += 1;
                choice >> (bit - 1) & 1 == 1
            };
            block.extend_from_slice(if takes_two { two } else { one });
        }
        read_block(&block)
    })
}

fn length(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
