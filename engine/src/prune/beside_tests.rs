use super::tests::{AT_ONCE, Bench, noise};
use crate::{
    monitor::Silent,
    repository::Reader,
    store::{Name, Store},
    verify::{Depth, Share, VerifyOptions, VerifyReport, verify},
};

fn verified(reader: &mut Reader, depth: Depth) -> VerifyReport {
    verify(reader, &VerifyOptions { depth, points: Vec::new(), threads: 2 }, &Silent).unwrap()
}

#[test]
fn what_a_prune_removes_under_a_verify_is_no_damage() {
    for depth in [Depth::Quick, Depth::ReadData(Share::Whole)] {
        let mut bench = Bench::new();
        bench.leave_few_of(32);
        let mut reader = bench.reader();
        assert!(bench.prune(&AT_ONCE).removed_packs > 0);
        assert_eq!(verified(&mut reader, depth).problems, []);
    }
}

#[test]
fn what_is_missing_is_damage_although_a_prune_removes_other_packs() {
    let mut bench = Bench::new();
    let lost = bench.back_up("db01", &noise(77, 1 << 19));
    let reader = bench.reader();
    let name = reader.state().packs().next().unwrap().1.name;
    bench.leave_few_of(32);
    let mut reader = bench.reader();
    bench.prune(&crate::PruneOptions { repack_below_percent: 0, ..AT_ONCE });
    assert_eq!(bench.store.delete_many(&[Name::pack(name)]).len(), 1);
    let report = verified(&mut reader, Depth::ReadData(Share::Whole));
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert!(report.problems[0].costs.iter().all(|cost| cost.point == lost));
}
