//! The state as bytes, one way only (SPEC.md section 23): whoever replays the same entries gets the same digest.

use repo_format::{Class, Completeness, Digest, StateDigester};

use super::state::{PackState, PackStatus, PointState, SessionState, SessionStatus, SlotState, State};

impl State {
    /// The digest of everything the log says.
    pub fn digest(&self) -> Digest {
        let mut to = StateDigester::new();
        to.number(u64::from(self.newest_epoch)).number(self.newest_checkpoint()).number(self.newest_loss);
        to.count(self.packs.len());
        self.packs.iter().for_each(|pack| put_pack(&mut to, pack));
        to.count(self.points.len());
        self.points.iter().for_each(|point| put_point(&mut to, point));
        to.count(self.sessions.len());
        for (id, session) in &self.sessions {
            to.raw(id.as_bytes());
            put_session(&mut to, session);
        }
        to.count(self.slots.len());
        for (id, slot) in &self.slots {
            to.raw(id.as_bytes());
            put_slot(&mut to, slot);
        }
        to.count(self.revoked.len());
        for (id, number) in &self.revoked {
            to.raw(id.as_bytes()).number(*number);
        }
        let mut orphans: Vec<_> = self.deleted_orphans.iter().collect();
        orphans.sort_unstable();
        to.count(orphans.len());
        for (pack, owner) in orphans {
            to.raw(pack.as_bytes()).raw(owner.as_bytes());
        }
        to.finish()
    }
}

fn put_pack(to: &mut StateDigester, pack: &PackState) {
    let PackState { name, class, bytes, status, session, swept, relied_on_in, condemned_ms } = pack;
    let class = match class {
        Class::Data => 1,
        Class::Metadata => 2,
    };
    let status = match status {
        PackStatus::Registered => 1,
        PackStatus::Condemned => 2,
        PackStatus::Damaged => 3,
        PackStatus::Deleted => 4,
    };
    to.raw(name.as_bytes()).raw(&[class]).number(*bytes).raw(&[status]).raw(session.as_bytes());
    to.raw(&[u8::from(*swept)]).number(*relied_on_in);
    to.option(*condemned_ms, StateDigester::number);
}

fn put_point(to: &mut StateDigester, point: &PointState) {
    to.raw(point.id.as_bytes()).vm(&point.identity).text(&point.vm_name).number(point.number);
    to.option(point.previous, |to, previous| to.raw(previous.as_bytes()));
    to.number(point.time_ms).number(point.entry_number).raw(point.session.as_bytes());
    to.raw(&[u8::from(!point.is_live())]);
    to.option(point.held.as_deref(), StateDigester::text);
    let incomplete = match point.completeness {
        Completeness::Whole => 0,
        Completeness::Incomplete => 1,
    };
    to.raw(&[incomplete]);
}

fn put_session(to: &mut StateDigester, session: &SessionState) {
    to.option(session.host.as_deref(), StateDigester::text);
    to.option(session.slot, |to, slot| to.raw(slot.as_bytes()));
    match session.status {
        SessionStatus::Open => to.raw(&[1]),
        SessionStatus::Closed => to.raw(&[2]),
        SessionStatus::Fenced => to.raw(&[3]),
        SessionStatus::Adopted(by) => to.raw(&[4]).raw(by.as_bytes()),
    };
    let mut pins = session.pins.clone();
    pins.sort_unstable();
    pins.dedup();
    to.count(pins.len());
    for pin in &pins {
        to.raw(pin.as_bytes());
    }
}

fn put_slot(to: &mut StateDigester, slot: &SlotState) {
    to.raw(slot.digest.as_bytes()).number(slot.added_in);
    to.option(slot.last_used_ms, StateDigester::number);
    to.option(slot.last_tested_ms, StateDigester::number);
}
