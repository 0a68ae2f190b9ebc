"""Which tasks are withheld, and which once were."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from backends.label_studio.audits import AuditBook, Drawn, Withheld
from backends.settings import Settings

KEY, OTHER = "7.1700000000", "8.1700000000"


def test_what_was_drawn_once_is_remembered(tmp_path: Path) -> None:
    with closing(AuditBook(Settings(data_dir=tmp_path), refresh_s=0)) as book:
        book.draw(KEY, [Drawn(5, Withheld.AUDIT, 0, 1.0), Drawn(6, Withheld.AUDIT, 1, 1.0)])
        book.draw(KEY, [Drawn(7, Withheld.CHECK, 0, 2.0)])
        book.draw(OTHER, [Drawn(5, Withheld.AUDIT, 0, 1.0)])
        book.release(KEY, [5])
        assert (book.blind(KEY), book.ever(KEY)) == ({6, 7}, {5, 6, 7})
        book.release(KEY)
        book.draw(KEY, [Drawn(5, Withheld.AUDIT, 0, 3.0)])  # once more, by a new lot
        assert (book.blind(KEY), book.ever(KEY)) == ({5}, {5, 6, 7})
        assert book.ever(OTHER) == {5}


def test_the_last_place_is_of_what_is_drawn_now_and_a_task_keeps_its_own(tmp_path: Path) -> None:
    with closing(AuditBook(Settings(data_dir=tmp_path), refresh_s=0)) as book:
        assert book.last_place(KEY) == 0
        book.draw(KEY, [Drawn(5, Withheld.AUDIT, 1, 1.0), Drawn(6, Withheld.AUDIT, 2, 1.0)])
        book.draw(KEY, [Drawn(6, Withheld.CHECK, 9, 2.0), Drawn(7, Withheld.CHECK, 3, 2.0)])
        assert [(one.task_id, one.place) for one in book.drawn(KEY)] == [(5, 1), (6, 2), (7, 3)]
        assert (book.last_place(KEY), book.last_place(OTHER)) == (3, 0)
