from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from micro_models.engines.checkpoints import CheckpointError, digest, read_tensors
from micro_models.engines.sam import load_sam


class Code:
    """Unpickling this would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("wrapped", [None, "model", "state_dict"])
def test_tensors_are_found_however_they_are_wrapped(tmp_path: Path, wrapped: str | None) -> None:
    tensors = {"weight": torch.ones(2)}
    torch.save(tensors if wrapped is None else {wrapped: tensors, "epoch": 3}, tmp_path / "a.pt")
    assert read_tensors(tmp_path / "a.pt")["weight"].tolist() == [1, 1]


@pytest.mark.parametrize("old_format", [False, True])
def test_a_pickle_that_needs_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old_format: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Code()}, "bad.pt", _use_new_zipfile_serialization=not old_format)
    with pytest.raises(CheckpointError, match="needs code to be run, which is refused"):
        read_tensors(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.9])
def test_a_cut_off_file_says_what_to_do(tmp_path: Path, kept: float, old_format: bool) -> None:
    whole, cut = tmp_path / "whole.pt", tmp_path / "cut.pt"
    torch.save({"a": torch.zeros(5000)}, whole, _use_new_zipfile_serialization=not old_format)
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * kept)])
    with pytest.raises(CheckpointError, match=r"get it again|get the official file again"):
        read_tensors(cut)


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ({"epoch": 3}, "holds no weights"),
        ([torch.zeros(2)], "holds no weights"),
        ({"conv.weight": torch.zeros(2)}, "is not a SAM checkpoint"),
        ({"image_encoder.patch_embed.proj.weight": torch.zeros(8, 3, 4, 4)}, "do not fit together"),
        ({"model": {"sam_mask_decoder.x": torch.zeros(1)}}, "do not fit together"),
    ],
)
def test_a_foreign_checkpoint_is_named_as_such(tmp_path: Path, stored: object, told: str) -> None:
    needs_ultralytics = told == "do not fit together" and "model" in stored  # type: ignore[operator]
    # Looked for, not imported: by itself it changes Pillow for all.
    if needs_ultralytics and find_spec("ultralytics") is None:
        pytest.skip("skipped: ultralytics is not installed")
    torch.save(stored, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match=told):
        load_sam(tmp_path / "foreign.pt", device="cpu", cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("openvino/*"))


def test_a_text_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "page.pt").write_text("<html>404 not found</html>")
    with pytest.raises(CheckpointError, match=r"official file again|another kind of file"):
        read_tensors(tmp_path / "page.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for device in ("cpu", "cpu-torch"):
        with pytest.raises(CheckpointError, match="there is no checkpoint at"):
            load_sam(tmp_path / "none.pt", device=device, cache_dir=tmp_path)


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    file.write_bytes(b"one")
    first = digest(file, cache_dir=tmp_path / "cache")
    (note,) = (tmp_path / "cache" / "digests").iterdir()
    note.write_text(note.read_text().replace(first, "remembered"))
    assert digest(file, cache_dir=tmp_path / "cache") == "remembered"
    note.write_text("damaged")
    assert digest(file, cache_dir=tmp_path / "cache") == first
    file.write_bytes(b"other")
    assert digest(file, cache_dir=tmp_path / "cache") != first
