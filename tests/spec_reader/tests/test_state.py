import unittest

from ..log import Entry, PackRow, Record, VmIdentity
from ..state import State

S1, S2, S3 = (bytes([n]) * 16 for n in (1, 2, 3))
P1, P2 = b"p" * 32, b"q" * 32
VM = VmIdentity(b"\0\2vm", "vm", None, None)


def pack(n: int) -> PackRow:
    return PackRow(bytes([n]) * 32, 1, 65536)


def commit(session=S1, point=P1, number=1, previous=None, new=(), uses=()) -> Record:
    fields = {"session": session, "vm": VM, "vm_name": None, "completeness": None, "number": number}
    return Record("Commit", fields | {"previous": previous, "point": point, "new": list(new), "uses": list(uses)})


def opened(session=S1, adopts=()) -> Record:
    return Record("Open", {"session": session, "adopts": list(adopts)})


def packs(kind: str, *numbers: int, **more) -> Record:
    return Record(kind, {"packs": list(numbers)} | more)


class StateRules(unittest.TestCase):
    def setUp(self):
        self.state = State()

    def apply(self, *records: Record) -> int:
        """How many of them are void."""
        before = len(self.state.voids)
        self.state.apply(Entry(self.state.head_number + 1, b"", 0, list(records)))
        return len(self.state.voids) - before

    def test_a_commit_makes_a_point_and_gives_ordinals(self):
        self.assertEqual(self.apply(opened(), commit(new=[pack(1), pack(2)])), 0)
        self.assertEqual([point.id for point in self.state.live_points()], [P1])
        self.assertEqual([one.row for one in self.state.packs], [pack(1), pack(2)])

    def test_a_commit_of_a_session_that_is_not_open_is_void(self):
        self.assertEqual(self.apply(commit(new=[pack(1)])), 1)
        self.assertEqual((self.state.live_points(), self.state.packs), ([], []))
        self.assertEqual(self.apply(opened(), Record("Close", {"session": S1}), commit()), 1)

    def test_a_session_id_is_never_used_again(self):
        self.assertEqual(self.apply(opened(), Record("Fence", {"session": S1}), opened()), 1)

    def test_adoption_ends_the_adopted_session(self):
        self.assertEqual(self.apply(opened(S1), opened(S2, [S1]), commit(S1)), 1)
        self.assertEqual(self.apply(opened(S3, [S1])), 1)

    def test_a_chain_has_no_gap_and_names_its_last_point(self):
        self.apply(opened(), commit())
        self.assertEqual(self.apply(commit(point=P2, number=3, previous=P1)), 1)
        self.assertEqual(self.apply(commit(point=P2, number=2, previous=None)), 1)
        self.assertEqual(self.apply(commit(point=P1, number=2, previous=P1)), 1)
        self.assertEqual(self.apply(Record("Forget", {"points": [P1]}), commit(point=P2, number=2, previous=P1)), 0)

    def test_a_void_commit_registers_nothing(self):
        self.apply(opened(), commit(number=7, new=[pack(1)]))
        self.assertEqual(self.apply(commit(new=[pack(1)])), 0)

    def test_a_pack_is_registered_once(self):
        self.assertEqual(self.apply(opened(), commit(new=[pack(1), pack(1)])), 1)
        self.apply(commit(new=[pack(1)]))
        self.assertEqual(self.apply(Record("Moved", {"session": S1, "new": [pack(1)], "from": []})), 1)

    def test_uses_must_be_usable_and_from_only_registered(self):
        self.apply(opened(), commit(new=[pack(1)]), packs("Condemn", 0))
        self.assertEqual(self.apply(commit(point=P2, number=2, previous=P1, uses=[0])), 1)
        self.assertEqual(self.apply(commit(point=P2, number=2, previous=P1, uses=[1])), 1)
        self.assertEqual(self.apply(Record("Moved", {"session": S1, "new": [pack(2)], "from": [0]})), 0)

    def test_only_a_condemned_pack_is_deleted_and_its_name_never_returns(self):
        self.apply(opened(), commit(new=[pack(1)]))
        self.assertEqual(self.apply(packs("Delete", 0, orphans=[])), 1)
        self.assertEqual(self.apply(packs("Condemn", 0), packs("Delete", 0, orphans=[])), 0)
        self.assertEqual(self.apply(packs("Delete", 0, orphans=[]), packs("Condemn", 0)), 2)
        self.assertEqual(self.apply(Record("Moved", {"session": S1, "new": [pack(1)], "from": []})), 1)

    def test_an_orphan_is_safe_while_its_last_owner_is_open(self):
        orphan = packs("Delete", orphans=[(b"o" * 32, S1)])
        self.assertEqual(self.apply(opened(S1), opened(S2, [S1]), orphan), 1)
        self.assertEqual(self.apply(Record("Close", {"session": S2}), orphan), 0)

    def test_a_held_point_is_not_forgotten(self):
        self.apply(opened(), commit(), Record("Hold", {"point": P1, "reason": "law", "until": None}))
        self.assertEqual(self.apply(Record("Forget", {"points": [P1]})), 1)
        self.assertEqual(self.apply(Record("Release", {"point": P1}), Record("Forget", {"points": [P1]})), 0)

    def test_a_pinned_point_is_a_root_until_its_session_ends(self):
        pin = Record("Pin", {"session": S1, "point": P1})
        self.apply(opened(), commit(), pin, Record("Forget", {"points": [P1]}))
        self.assertEqual([point.id for point in self.state.roots()], [P1])
        self.apply(Record("Close", {"session": S1}))
        self.assertEqual(self.state.roots(), [])

    def test_the_last_slot_cannot_be_revoked(self):
        change = lambda added, revoked: Record("KeyChange", {"added": added, "revoked": revoked, "new_epoch": None})
        self.assertEqual(self.apply(change([(S1, P1)], [])), 0)
        self.assertEqual(self.apply(change([], [S1]), change([(S1, P1)], []), change([], [S2])), 3)
        self.assertEqual(self.apply(change([(S2, P1)], [S1]), change([(S1, P1)], [])), 1)


if __name__ == "__main__":
    unittest.main()
