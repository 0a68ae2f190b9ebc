"""From the first audit to the last annotation, and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from backends.autoaccept.drawing import FIELD, TAB
from backends.autoaccept.nouns import Fate
from backends.errors import BadRequest, Busy
from backends.label_studio.audits import Withheld
from backends.label_studio.blind import is_blind
from micro_models.certificates import least_audits
from tests.backends.autoaccept.conftest import TASKS, World, truth, unsure
from tests.backends.autoaccept.studio import OWN_ID, PERSON


def wrong_among(world: World, ids: set[int]) -> float:
    answers = world.model.answers
    return sum((answers[one] or ("", 0))[0] != truth(one) for one in ids) / len(ids)


class TestAudits:
    def test_the_first_run_draws_them_blind_into_a_tab(self, world: World) -> None:
        found = world.run()
        assert found.drawn == found.open == found.audits == len(world.drawn())
        assert found.drawn > least_audits(0.1, 0.9)
        assert found.certificate is None
        for task_id in world.drawn():
            assert world.studio.found[task_id].predictions == []
        assert world.book.blind(world.key) == world.book.untaught(world.key) == set(world.drawn())
        places = [world.studio.found[one].data[FIELD] for one in world.drawn()]
        assert places == list(range(1, found.drawn + 1))
        assert [one.data["title"] for one in world.studio.tabs.values()] == [TAB]
        assert found.tab in world.studio.tabs

    def test_people_are_waited_for_until_the_last_answer(self, world: World) -> None:
        drawn = world.run().drawn
        world.answer(but=1)
        found = world.run()
        assert (found.open, found.drawn, found.certificate) == (1, 0, None)
        assert len(world.drawn()) == drawn

    def test_what_is_deleted_or_skipped_meanwhile(self, world: World) -> None:
        drawn = world.run().drawn
        first, second, *_ = world.drawn()
        del world.studio.found[first]
        world.studio.label(second, was_cancelled=True)
        world.answer()
        found = world.run(dry_run=True, max_error=0.3)
        assert found.audits == drawn - 1
        assert found.certificate is not None
        # Nobody says of the skipped one that it is right.
        assert found.certificate.audited == drawn - 1
        world.run(max_error=0.3)
        assert first not in world.drawn()

    def test_more_than_is_allowed_is_told_first(self, world: World) -> None:
        with pytest.raises(BadRequest, match=r"3,\d+ clean audits, and --audits allows 200"):
            world.run(max_error=0.001, confidence=0.95)
        assert world.drawn() == []

    def test_more_are_drawn_while_they_are_missing_up_to_the_bound(self, world: World) -> None:
        world.model.answers = dict.fromkeys(TASKS, ("Wurst", 0.5))  # a third is right
        world.studio.predict(world.model, TASKS)
        for _ in range(4):
            found = world.run()
            world.answer()
        assert len(world.drawn()) == 200 or found.certificate is not None
        found = world.run()
        assert found.certificate is not None
        assert found.certificate.threshold is None
        assert found.accepted.accepted == 0
        assert world.studio.annotated_by_us() == set()

    @pytest.mark.parametrize("wrong", [2, 3, 50])
    def test_what_is_said_to_be_missing_is_drawn_or_said_to_be_too_few(
        self, world: World, wrong: int
    ) -> None:
        drawn = world.run().drawn
        for number, task_id in enumerate(world.drawn()):
            said = "Wurst" if truth(task_id) == "Käse" else "Käse"
            world.studio.label(task_id, said if number < wrong else truth(task_id))
        found = world.run(max_error=0.05)
        assert found.certificate is not None
        assert found.certificate.threshold is None
        missing = found.certificate.missing
        assert (missing is None) == ("too few tasks are left" in found.certificate.why)
        assert (missing is None) == (found.drawn == 0) == (found.audits == drawn)
        assert found.to_draw >= (missing or 0)

    def test_a_task_without_a_picture_stands_for_no_other(self, world: World) -> None:
        world.run()
        world.answer()
        world.model.answers[world.drawn()[0]] = None
        found = world.run(dry_run=True)
        assert found.certificate is not None
        assert found.certificate.audited == len(world.drawn()) - 1
        assert "the model does not answer 1 audits" in found.notes[0]

    def test_what_was_made_from_a_prediction_is_wrong(self, world: World) -> None:
        world.run()
        for task_id in world.drawn():
            world.studio.label(task_id, truth(task_id), parent_prediction=4)
        found = world.run()
        assert found.certificate is not None
        assert found.certificate.threshold is None
        assert any("were made from a prediction" in note for note in found.notes)

    def test_what_never_can_be_accepted_stands_for_nothing(self, world: World) -> None:
        world.blind_share = 0.3
        begun = [one for one in TASKS if one % 4 == 1]
        for task_id in begun:
            world.studio.found[task_id].drafts = [object()]
        world.run()
        drawn = world.drawn()
        assert drawn
        assert not set(drawn) & set(begun)
        assert not any(is_blind(world.key, one, 0.3) for one in drawn)

    def test_once_anything_was_accepted_only_what_is_predicted_is_drawn(self, world: World) -> None:
        world.certified()
        world.renew()
        free = [one for one in TASKS if not world.studio.found[one].annotations]
        world.studio.predict(world.model, free)
        lacking = free[::10]
        for task_id in lacking:
            world.studio.found[task_id].predictions.clear()
        assert world.run().drawn
        assert not set(world.drawn()) & set(lacking)
        world.renew()
        for task_id in free:
            world.studio.found[task_id].predictions.clear()
        found = world.run()
        assert found.drawn == 0
        assert "labelpilot prelabel --project 7" in found.notes[0]

    def test_new_audits_leave_none_of_the_old_in_the_tab(self, world: World) -> None:
        world.run()
        world.answer(but=20)
        world.renew()
        world.run()
        marked = {one for one, task in world.studio.found.items() if FIELD in task.data}
        assert marked == set(world.drawn())


class TestAccepting:
    def test_what_is_sure_is_accepted_by_our_own_account(self, world: World) -> None:
        found = world.certified()
        ours = world.studio.annotated_by_us()
        assert found.accepted.accepted == len(ours) > 60
        assert wrong_among(world, ours) <= 0.1
        assert not ours & set(world.drawn())
        for task_id in ours:
            (one,) = world.studio.found[task_id].annotations
            (item,) = one["result"]
            assert one["completed_by"] == OWN_ID
            assert item["value"]["choices"] == [(world.model.answers[task_id] or ("",))[0]]
            assert f"certificate {found.id}" in item["meta"]["text"][0]
        log = world.store.log(world.key)
        assert {one.task_id for one in log} == ours
        assert {(one.fate, one.certificate) for one in log} == {(Fate.ACCEPTED, found.id)}
        assert set(world.book.certified(world.key)) == ours

    def test_each_class_with_audits_enough_keeps_the_promise_alone(self, world: World) -> None:
        for task_id in TASKS:  # sure of it, and right in the one class alone
            said = truth(task_id) if task_id % 2 else "Wurst"
            world.model.answers[task_id] = (said, 0.5 + (task_id * 37 % 240) / 500)
        world.studio.predict(world.model, TASKS)
        world.terms = replace(world.terms, max_error=0.2)
        world.run(max_error=0.06)  # draws many
        world.answer()
        found = world.run()
        made = found.certificate
        assert made is not None
        assert made.groups["Käse"].errors == 0
        assert made.groups["Wurst"].threshold is None
        accepted = world.studio.annotated_by_us()
        assert len(accepted) > 20
        assert {world.model.answers[one][0] for one in accepted} == {"Käse"}
        (issued,) = world.store.certificates(world.key)
        assert issued.certificate == made
        assert world.run().id == found.id  # it is in force, and known again
        spent = {one.task_id for one in world.book.drawn(world.key) if one.spent_on}
        assert {world.model.answers[one][0] for one in spent} == {"Käse"}

    def test_a_random_share_goes_to_people_instead_who_see_no_answer(self, world: World) -> None:
        found = world.certified()
        drawn = world.book.drawn(world.key)
        checks = {one.task_id for one in drawn if one.kind is Withheld.CHECK}
        assert len(checks) == found.accepted.checked > 0
        assert {one.task_id for one in world.store.checks(world.key)} == checks
        assert not checks & world.book.untaught(world.key)
        for task_id in checks:
            assert world.studio.found[task_id].predictions == []
            assert FIELD in world.studio.found[task_id].data

    def test_dry_run_changes_nothing_and_tells_the_same(self, world: World) -> None:
        dry = world.run(dry_run=True)
        assert (world.drawn(), world.studio.tabs) == ([], {})
        assert dry.to_draw > 0
        world.run()
        world.answer()
        dry = world.run(dry_run=True)
        assert world.studio.annotated_by_us() == set()
        assert world.store.certificates(world.key) == []
        found = world.run()
        assert dry.certificate == found.certificate
        assert dry.acceptable == found.accepted.accepted + found.accepted.checked

    def test_again_it_accepts_only_what_came_since(self, world: World) -> None:
        world.certified()
        before = world.studio.annotated_by_us()
        late = max(before)
        world.studio.found[late].annotations.clear()  # a person deleted it: so it stays
        again = world.run()
        assert again.accepted.accepted == again.accepted.checked == 0
        assert world.studio.annotated_by_us() == before - {late}
        assert len(world.store.certificates(world.key)) == 1

    def test_labelled_skipped_and_begun_tasks_are_left_alone(self, world: World) -> None:
        world.run()
        world.answer()
        free = [one for one in TASKS if one not in world.drawn() and not unsure(one)]
        world.studio.label(free[0], "Wurst")
        world.studio.label(free[1], was_cancelled=True)
        world.studio.found[free[2]].drafts = [object()]
        world.studio.found[free[3]].predictions[0]["model_version"] = "micro-ffffffffff"
        world.run()
        assert not set(free[:4]) & world.studio.annotated_by_us()
        assert free[4] in {*world.studio.annotated_by_us(), *world.drawn()}

    def test_tasks_that_came_after_the_audits_are_left_out(self, world: World) -> None:
        world.run()
        world.answer()
        world.studio.add(1000)
        world.model.answers[1000] = ("Käse", 0.99)
        world.studio.predict(world.model, [1000])
        found = world.run()
        assert 1000 not in world.studio.annotated_by_us()
        assert any("1 tasks came after the audits" in note for note in found.notes)

    def test_nothing_is_accepted_while_predictions_are_on_their_way(self, world: World) -> None:
        world.run()
        world.answer()
        for task_id in list(TASKS)[:120]:
            world.studio.found[task_id].predictions.clear()
        found = world.run()
        assert found.accepted.accepted == 0
        assert any("nothing is certified before most of" in note for note in found.notes)

    def test_audits_that_stood_for_what_was_accepted_certify_no_other_model(
        self, world: World
    ) -> None:
        first = world.certified()
        spent = {one.task_id for one in world.book.drawn(world.key) if one.spent_on == first.id}
        assert spent
        assert all(not unsure(one) for one in spent) or first.acceptable > 168
        world.version = "micro-abcdefabcd"
        for task_id in TASKS:
            for one in world.studio.found[task_id].predictions:
                one["model_version"] = world.version
        world.answer()
        second = world.run(dry_run=True)
        assert second.certificate is not None
        assert first.certificate is not None
        assert second.certificate.audited == first.certificate.audited - len(spent)

    def test_only_one_works_at_a_time(self, world: World) -> None:
        assert world.store.take(world.key, "another", for_s=60)
        with pytest.raises(Busy, match="another `labelpilot autoaccept`"):
            world.run()
        world.store.leave(world.key, "another")
        assert world.run().drawn


class TestKilled:
    @pytest.mark.parametrize("where", ["annotate", "annotated", "update"])
    @pytest.mark.parametrize("when", [1, 3, 40])
    def test_at_any_line_the_same_again_goes_on(
        self, world: World, where: str, when: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Killed(BaseException):
            pass

        left = iter(range(when))

        def die(what: str) -> None:
            if what == where and next(left, None) is None:
                raise Killed

        monkeypatch.setattr("backends.autoaccept.accepting._LANDS_WITHIN_S", 0.0)
        world.studio.dies = die
        with pytest.raises(Killed):
            world.certified()
        world.studio.dies = lambda _: None
        world.answer()
        world.run()
        ours = world.studio.annotated_by_us()
        log = world.store.log(world.key)
        assert {one.task_id for one in log} == ours
        assert all(one.fate is Fate.ACCEPTED and one.annotation_id for one in log)
        assert all(len(world.studio.found[one].annotations) == 1 for one in ours)
        world.undo()
        assert world.studio.annotated_by_us() == set()

    def test_what_landed_late_is_found_before_it_is_taken_back(self, world: World) -> None:
        world.certified()
        entry = world.store.log(world.key)[0]
        world.store.note_fate(world.key, entry, Fate.INTENDED)
        world.undo()
        assert world.studio.annotated_by_us() == set()
        assert world.store.log(world.key, fate=Fate.INTENDED) == []


class TestUndo:
    def test_all_is_taken_back_but_what_people_changed(self, world: World) -> None:
        found = world.certified()
        first, second, *_ = sorted(world.studio.annotated_by_us())
        world.studio.change(first)
        world.studio.found[second].annotations.clear()
        counts = world.undo()
        assert counts[Fate.CHANGED] == counts[Fate.GONE] == 1
        assert counts[Fate.TAKEN_BACK] == found.accepted.accepted - 2
        assert world.studio.annotated_by_us() == {first}
        assert world.studio.tabs == {}
        assert not any(FIELD in task.data for task in world.studio.found.values())
        assert world.drawn() == []
        assert world.book.certified(world.key) == {}
        assert all(one.withdrawn_at for one in world.store.certificates(world.key))
        # People's labels stay, and so does the log.
        assert sum(bool(task.annotations) for task in world.studio.found.values()) > 20
        assert len(world.store.log(world.key)) == found.accepted.accepted

    def test_twice_is_as_once_and_then_it_begins_anew(self, world: World) -> None:
        world.certified()
        world.undo()
        assert set(world.undo().values()) == {0}
        found = world.run()
        assert found.drawn
        assert found.certificate is None
        # People had labelled the audits of before: those are drawn no more.
        assert all(not world.studio.found[one].annotations for one in world.drawn())

    def test_also_what_was_accepted_under_two_certificates(self, world: World) -> None:
        world.certified()
        for task_id in world.studio.annotated_by_us():
            world.studio.found[task_id].annotations.clear()  # people deleted them
        world.renew()
        world.terms = replace(world.terms, max_error=0.2)  # there are few tasks by now
        world.certified()
        ours = world.studio.annotated_by_us()
        log = world.store.log(world.key)
        twice = {one.task_id for one in log if one.fate is Fate.GONE} & ours
        assert len(twice) > 10
        there = {one: world.studio.found[one].annotations[0]["id"] for one in ours}
        assert world.book.certified(world.key) == there
        # As a kill between two lines, or a state of old, may leave it.
        for one in log:
            if one.fate is Fate.GONE:
                world.store.note_fate(world.key, one, Fate.ACCEPTED)
        counts = world.undo()
        assert world.studio.annotated_by_us() == set()
        assert counts[Fate.TAKEN_BACK] == len(ours)


class TestSpotChecks:
    def answer_checks(self, world: World, *, wrongly: bool) -> int:
        checks = [one.task_id for one in world.store.checks(world.key) if one.wrong is None]
        for task_id in checks:
            said = (world.model.answers[task_id] or ("",))[0]
            other = "Wurst" if said == "Käse" else "Käse"
            world.studio.label(task_id, other if wrongly else said, by=PERSON)
        return len(checks)

    def test_right_ones_keep_it_going(self, world: World) -> None:
        world.certified()
        count = self.answer_checks(world, wrongly=False)
        found = world.run()
        assert (found.watch.answered, found.watch.wrong, found.watch.open) == (count, 0, 0)
        assert found.suspended == ""

    def test_wrong_ones_suspend_it_until_somebody_resumes(self, world: World) -> None:
        world.certified()
        self.answer_checks(world, wrongly=True)
        before = world.studio.annotated_by_us()
        dry = world.run(dry_run=True)
        assert dry.suspended
        assert world.store.standing(world.key).suspended == ""
        found = world.run()
        assert "spot checks" in found.suspended
        assert world.book.certified(world.key) == {}
        assert world.run().suspended == found.suspended
        assert world.studio.annotated_by_us() == before
        world.renew()
        again = world.run()
        assert again.suspended == ""
        assert again.drawn > 0
        assert again.watch.answered == 0

    def test_what_was_said_is_kept_whatever_models_come(self, world: World) -> None:
        world.certified()
        count = self.answer_checks(world, wrongly=False)
        world.run()
        world.model.answers = dict.fromkeys(TASKS, ("Wurst", 0.9))
        assert world.run(dry_run=True).watch.wrong == 0
        assert len([one for one in world.store.checks(world.key) if one.wrong is False]) == count

    def test_each_is_held_against_its_own_certificate(self, world: World) -> None:
        world.certified()
        (issued,) = world.store.certificates(world.key)
        self.answer_checks(world, wrongly=True)
        looser = replace(issued.certificate, max_error=0.9, confidence=0.99)
        world.store.issue(replace(issued, id="looser", certificate=looser, min_iou=0.01))
        found = world.run(dry_run=True)
        assert found.suspended
        assert "no longer believable at 0.1" in found.suspended

    def test_who_saw_an_answer_says_nothing(self, world: World) -> None:
        world.certified()
        checks = [one.task_id for one in world.store.checks(world.key)]
        for task_id in checks:
            world.studio.label(task_id, truth(task_id), parent_prediction=4)
        found = world.run()
        assert (found.watch.answered, found.watch.open) == (0, 0)
        assert world.store.checks(world.key) == []
        assert not set(checks) & set(world.drawn())

    def test_they_are_blind_before_anything_is_accepted(self, world: World) -> None:
        seen: list[bool] = []

        def look(what: str) -> None:
            checks = [one for one in world.book.drawn(world.key) if one.kind is Withheld.CHECK]
            if what == "annotate" and checks and world.studio.annotated_by_us():
                seen.extend(bool(world.studio.found[one.task_id].predictions) for one in checks)

        world.run()
        world.answer()
        world.studio.dies = look
        world.run()
        assert seen
        assert not any(seen)

    def test_a_check_that_is_deleted_is_forgotten(self, world: World) -> None:
        world.certified()
        first, *others = [one.task_id for one in world.store.checks(world.key)]
        del world.studio.found[first]
        assert world.run().watch.open == len(others)
        assert first not in world.drawn()


def test_the_outcome_is_plain_json(world: World) -> None:
    found = world.certified()
    told = json.loads(json.dumps(found.as_dict()))
    assert told["certificate"]["max_error"] == 0.1
    assert told["accepted"]["accepted"] == found.accepted.accepted
