//! Which packs go, which are rewritten, which stay: a pure function of what each holds.

use repo_format::{Class, PackOrdinal};

use super::{PruneOptions, survey::Tally};
use crate::log::PackStatus;

/// What is known of one pack that is not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) pack: PackOrdinal,
    pub(super) status: PackStatus,
    pub(super) class: Class,
    pub(super) bytes: u64,
    pub(super) tally: Tally,
    /// Its directory has been read into the index. One that could not be read is left alone.
    pub(super) indexed: bool,
    /// Condemned so long ago that it may go.
    pub(super) grace_is_over: bool,
}

impl Known {
    fn needed_bytes(&self) -> u64 {
        let bytes = u128::from(self.bytes) * u128::from(self.tally.needed) / u128::from(self.tally.chunks.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Why a pack is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Less than the wanted share of it is needed.
    MostlyDead,
    /// It is one of many small ones.
    Small,
    /// It is on its way out, yet the only one that has a needed chunk.
    LastCopy,
}

/// What a prune will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Nothing in them is needed.
    pub(super) dead: Vec<PackOrdinal>,
    /// Condemned long enough ago.
    pub(super) delete: Vec<PackOrdinal>,
    /// Their needed chunks move to new packs.
    pub(super) repack: Vec<(PackOrdinal, Why)>,
    /// Their directories cannot be read.
    pub(super) unknown: Vec<PackOrdinal>,
    /// Bytes read for `repack`: the needed ones.
    pub(super) repack_bytes: u64,
    /// Bytes of all packs that would leave.
    pub(super) freed_bytes: u64,
}

/// Chooses. `whole_bytes` gives the length of a full pack of a class.
pub(super) fn choose(packs: &[Known], options: &PruneOptions, whole_bytes: impl Fn(Class) -> u64) -> Choice {
    let mut choice = Choice::default();
    let (mut mostly_dead, mut last_copies) = (Vec::new(), Vec::new());
    let mut small: Vec<&Known> = Vec::new();
    for known in packs {
        match known.status {
            PackStatus::Deleted => {}
            PackStatus::Condemned if known.tally.needed > 0 => last_copies.push(known),
            PackStatus::Condemned if known.grace_is_over => choice.delete.push(known.pack),
            PackStatus::Condemned => {}
            _ if !known.indexed => choice.unknown.push(known.pack),
            _ if known.tally.needed == 0 => choice.dead.push(known.pack),
            // What is left of it cannot be moved with certainty; repair is for that.
            PackStatus::Damaged => {}
            PackStatus::Registered if is_mostly_dead(known, options) => mostly_dead.push(known),
            PackStatus::Registered if known.bytes < whole_bytes(known.class) / 2 => small.push(known),
            PackStatus::Registered => {}
        }
    }
    mostly_dead.sort_by_key(|known| u128::from(known.tally.needed) * 1_000_000 / u128::from(known.tally.chunks.max(1)));
    let mut room = options.max_repack_bytes.unwrap_or(u64::MAX);
    let mut take = |choice: &mut Choice, known: &Known, why| {
        let fits = known.needed_bytes() <= room;
        if fits {
            room -= known.needed_bytes();
            choice.repack.push((known.pack, why));
        }
        fits
    };
    for (packs, why) in [(last_copies, Why::LastCopy), (mostly_dead, Why::MostlyDead)] {
        for known in packs {
            take(&mut choice, known, why);
        }
    }
    for class in [Class::Data, Class::Metadata] {
        let of_class: Vec<&Known> = small.iter().copied().filter(|known| known.class == class).collect();
        for known in fill_whole_packs(&of_class, whole_bytes(class)) {
            take(&mut choice, known, Why::Small);
        }
    }
    let leaving = |pack: &PackOrdinal| packs.iter().find(|known| known.pack == *pack);
    let rewritten = choice.repack.iter().filter_map(|(pack, _)| leaving(pack));
    choice.repack_bytes = rewritten.clone().map(Known::needed_bytes).sum();
    let gone = choice.dead.iter().chain(&choice.delete).filter_map(leaving).chain(rewritten);
    choice.freed_bytes = gone.map(|known| known.bytes).sum::<u64>().saturating_sub(choice.repack_bytes);
    choice
}

fn is_mostly_dead(known: &Known, options: &PruneOptions) -> bool {
    u128::from(known.tally.needed) * 100 < u128::from(known.tally.chunks) * u128::from(options.repack_below_percent)
}

/// The oldest of `small` that together make whole packs: gathering less would be rewritten again by the next prune.
fn fill_whole_packs<'k>(small: &[&'k Known], whole_bytes: u64) -> Vec<&'k Known> {
    let all: u64 = small.iter().map(|known| known.needed_bytes()).sum();
    let wanted = all / whole_bytes.max(1) * whole_bytes;
    let mut gathered = 0;
    let taken = small.iter().copied().take_while(|known| {
        let before = gathered;
        gathered += known.needed_bytes();
        before < wanted
    });
    taken.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: u64 = 1000;

    fn known(pack: u32, status: PackStatus, bytes: u64, needed: u64, chunks: u64) -> Known {
        let tally = Tally { chunks, needed };
        let pack = PackOrdinal(pack);
        Known { pack, status, class: Class::Data, bytes, tally, indexed: true, grace_is_over: true }
    }

    fn chosen(packs: &[Known], options: &PruneOptions) -> Choice {
        choose(packs, options, |_| WHOLE)
    }

    fn options() -> PruneOptions {
        PruneOptions { repack_below_percent: 50, max_repack_bytes: None, ..PruneOptions::default() }
    }

    #[test]
    fn a_pack_of_which_nothing_is_needed_goes_and_a_half_needed_one_stays() {
        let packs = [
            known(0, PackStatus::Registered, WHOLE, 0, 10),
            known(1, PackStatus::Registered, WHOLE, 5, 10),
            known(2, PackStatus::Damaged, WHOLE, 0, 10),
        ];
        let choice = chosen(&packs, &options());
        assert_eq!(choice.dead, [PackOrdinal(0), PackOrdinal(2)]);
        assert_eq!((choice.repack.len(), choice.freed_bytes), (0, 2 * WHOLE));
    }

    #[test]
    fn the_emptiest_packs_are_rewritten_first_and_within_the_bound() {
        let packs = [known(0, PackStatus::Registered, WHOLE, 4, 10), known(1, PackStatus::Registered, WHOLE, 1, 10)];
        let choice = chosen(&packs, &options());
        assert_eq!(choice.repack, [(PackOrdinal(1), Why::MostlyDead), (PackOrdinal(0), Why::MostlyDead)]);
        assert_eq!((choice.repack_bytes, choice.freed_bytes), (500, 1500));
        let bounded = chosen(&packs, &PruneOptions { max_repack_bytes: Some(300), ..options() });
        assert_eq!(bounded.repack, [(PackOrdinal(1), Why::MostlyDead)]);
    }

    #[test]
    fn small_packs_are_gathered_only_as_far_as_they_make_whole_ones() {
        let small = |count: u32| (0..count).map(|n| known(n, PackStatus::Registered, 300, 10, 10)).collect::<Vec<_>>();
        assert!(chosen(&small(3), &options()).repack.is_empty());
        assert_eq!(chosen(&small(4), &options()).repack.len(), 4);
        assert_eq!(chosen(&small(6), &options()).repack.len(), 4, "1800 bytes make one whole pack of 1000");
    }

    #[test]
    fn a_condemned_pack_waits_for_its_grace_and_one_with_a_last_copy_is_rewritten() {
        let waiting = Known { grace_is_over: false, ..known(0, PackStatus::Condemned, WHOLE, 0, 10) };
        let over = known(1, PackStatus::Condemned, WHOLE, 0, 10);
        let last = known(2, PackStatus::Condemned, WHOLE, 1, 10);
        let choice = chosen(&[waiting, over, last], &options());
        assert_eq!(choice.delete, [PackOrdinal(1)]);
        assert_eq!(choice.repack, [(PackOrdinal(2), Why::LastCopy)]);
    }

    #[test]
    fn a_pack_whose_directory_cannot_be_read_is_left_alone() {
        let packs = [Known { indexed: false, ..known(0, PackStatus::Registered, WHOLE, 0, 0) }];
        let choice = chosen(&packs, &options());
        assert_eq!((choice.dead.len(), choice.unknown.len()), (0, 1));
    }
}
