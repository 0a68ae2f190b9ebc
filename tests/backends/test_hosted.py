"""Runs where label-studio-ml 2.x is installed (`pip install "labelpilot[hosted]"`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backends.serving.conftest import CONFIG, point, task

label_studio_ml = pytest.importorskip("label_studio_ml.model", reason="no label-studio-ml 2.x")


def test_a_click_is_answered_inside_label_studio_ml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELPILOT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LABELPILOT_SAM_MODEL", "grabcut")
    from backends import hosted

    model_class = hosted.host()
    try:
        model = model_class(project_id="7", label_config=CONFIG)
        assert issubclass(model_class, label_studio_ml.LabelStudioMLBase)
        (answered,) = model.predict([task()], {"result": [point(50, 50)]})
        (region,) = answered["result"]
        assert region["value"]["brushlabels"] == ["Cat"]
        assert model.predict([task(1), task(2)]) == [{}, {}]
        model.fit("ANNOTATION_CREATED", {"project": {"id": 7}, "annotation": {"id": 1}})
        model.fit("ANNOTATION_CREATED", {"nonsense": None})
        assert isinstance(model.get("model_version"), str)
    finally:
        hosted.close_services()


def test_an_unknown_backend_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABELPILOT_DATA_DIR", str(tmp_path))
    from backends import hosted

    try:
        with pytest.raises(LookupError, match="nonsense"):
            hosted.host("nonsense")(project_id="7", label_config=CONFIG)
    finally:
        hosted.close_services()
