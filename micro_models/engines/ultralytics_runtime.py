"""ultralytics, tamed: the one file that imports it.

ultralytics is AGPL-3.0 and optional. Left alone it installs packages, asks the network, writes
settings into the home folder, prints, and leaves other libraries with one thread.
"""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import PIL.Image

from micro_models.engines.checkpoints import CheckpointError
from micro_models.threads import wait_passively

_one_at_a_time = threading.RLock()
# Its settings file lies here; the folder goes with the process.
_settings: tempfile.TemporaryDirectory[str] | None = None


def module(name: str = "") -> ModuleType:
    """The module `ultralytics.<name>`, or the package: offline, and it installs nothing.

    Errors: `CheckpointError` where ultralytics is not installed.
    """
    with undisturbed():
        _prepare()
        try:
            found = importlib.import_module("ultralytics")
            if name:
                found = importlib.import_module(f"ultralytics.{name}")
        except ImportError as error:
            raise CheckpointError(
                "YOLO, MobileSAM and SAM 2.1 need ultralytics, which is not installed: "
                'pip install "labelpilot[ultralytics]"'
            ) from error
        _read_safely(importlib.import_module("ultralytics.nn.tasks"))
        # What it says, at any level, may name this machine's paths; errors arrive as exceptions.
        logging.getLogger("ultralytics").setLevel(logging.CRITICAL + 1)
    return found


@contextmanager
def undisturbed() -> Iterator[None]:
    """Puts back what ultralytics changes for the whole process when imported or set up."""
    wait_passively()
    import torch

    with _one_at_a_time:
        threads, opencv_threads = torch.get_num_threads(), cv2.getNumThreads()
        for_children, printing = os.environ.get("OMP_NUM_THREADS"), np.get_printoptions()
        opening = PIL.Image.open  # its own wants to install a package for what is no image
        try:
            with warnings.catch_warnings():  # it sets filters, and uses what torch deprecates
                warnings.simplefilter("ignore")
                yield
        finally:
            torch.set_num_threads(threads)
            cv2.setNumThreads(opencv_threads)
            np.set_printoptions(**printing)
            PIL.Image.open = opening
            if for_children is None:
                os.environ.pop("OMP_NUM_THREADS", None)


def _prepare() -> None:
    global _settings
    # Read when ultralytics is imported: never install, never ask the network.
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ.setdefault("YOLO_VERBOSE", "false")
    if "YOLO_CONFIG_DIR" not in os.environ:
        _settings = tempfile.TemporaryDirectory(prefix="ultralytics-")
        os.environ["YOLO_CONFIG_DIR"] = _settings.name


def _read_safely(tasks: ModuleType) -> None:
    """Checkpoints are pickles: of these, only its own networks and torch's layers are made.

    Its variable of the environment would be too late where somebody has imported it before.
    """
    if not hasattr(tasks, "SAFE_LOAD"):
        raise CheckpointError(
            "this ultralytics would run the code that a checkpoint holds; update it: "
            'pip install --upgrade "labelpilot[ultralytics]"'
        )
    vars(tasks)["SAFE_LOAD"] = True


def opens_as_named(path: Path) -> bool:
    """Whether ultralytics opens this very file; some names it changes, and then downloads."""
    name = str(path).strip().replace("'", "")
    checked = module("utils.checks").check_yolov5u_filename(name)
    return str(checked) == str(path)
