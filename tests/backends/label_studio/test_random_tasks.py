"""Unlabelled tasks, drawn at random from the real Label Studio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backends.interface import Project
from backends.label_studio.client import LabelStudios
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.random_tasks import random_unlabelled
from backends.micro.nouns import Scope, ScopeKind
from backends.micro.unlabelled import pool
from tests.label_studio_server import LabelStudioServer

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="Cat"/></RectangleLabels></View>"""
SCENES: list[Any] = ["Ночь", "day", 7, True, None, 'a "b" & c', 7.5, ["day"]]


@pytest.mark.e2e
def test_tasks_come_from_all_over_the_project(
    label_studio: LabelStudioServer, studios: Callable[..., LabelStudios]
) -> None:
    client = studios(
        label_studio_url=label_studio.url, label_studio_api_key=label_studio.legacy_token
    ).sdk()
    project = label_studio.add_project(CONFIG)
    data = [{"image": f"{n}.jpg"} for n in range(120)]
    label_studio.api("POST", f"/api/projects/{project}/import", json=data)
    ids = [task.id for task in random_unlabelled(
        client, project, limit=1000, rng=np.random.default_rng(0), go_on=lambda: None
    )]  # fmt: skip
    assert len(ids) == 120  # all of them, where there are no more
    done, skipped = ids[10], ids[11]
    for task, cancelled in ((done, False), (skipped, True)):
        label_studio.api(
            "POST",
            f"/api/tasks/{task}/annotations/",
            json={"result": [], "was_cancelled": cancelled},
        )
    calls: list[int] = []
    for limit, most in ((24, 24), (5, 5), (100, 100)):
        calls.clear()
        rng = np.random.default_rng(limit)
        found = [
            task.id
            for task in random_unlabelled(
                client, project, limit=limit, rng=rng, go_on=lambda: calls.append(1)
            )
        ]
        assert len(found) == len(set(found)) == most
        assert found == sorted(found)
        assert set(found) <= set(ids) - {done}
        assert len(calls) <= 8
        if limit == 24:  # from more than one place
            assert len({ids.index(one) // 15 for one in found}) >= 3


@pytest.mark.e2e
def test_tasks_of_a_field_whatever_its_kind(
    label_studio: LabelStudioServer, studios: Callable[..., LabelStudios]
) -> None:
    client = studios(
        label_studio_url=label_studio.url, label_studio_api_key=label_studio.legacy_token
    ).sdk()
    project = label_studio.add_project(CONFIG)
    data = [{"image": f"{n}.jpg", "scene": SCENES[n % 8]} for n in range(80)]
    label_studio.api("POST", f"/api/projects/{project}/import", json=data)
    for value in SCENES:
        if not isinstance(value, str | int | float):
            continue
        found = pool(
            client,
            Project(str(project), parse_label_config(CONFIG)),
            Scope(ScopeKind.FIELD, ("box",), field="scene", value=str(value)),
            known_ids=set(),
            limit=9,
            rng=np.random.default_rng(0),
            go_on=lambda: None,
        )
        assert len(found) == 9
        assert all(task.data["scene"] == value for task in found)
