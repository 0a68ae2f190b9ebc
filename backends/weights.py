"""Checkpoints that can be downloaded: official addresses, resumed transfers, checked digests.

Every SHA-256 here stands, the same, in several public projects that pin these files; a checkpoint
for which it does not is left out. (The six letters in SAM's file names are the start of the MD5.)
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from backends.errors import ModelMissing

log = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]

_TRIES = 5
_TIMEOUT = httpx.Timeout(30.0)
# The path itself is for nobody who sees the server's messages.
_FOLDER = "`labelpilot weights list` shows the folder"

_GIVES = {
    "prompt": "masks of clicks",
    "detect": "boxes",
    "segment": "masks, boxes",
    "pose": "points, boxes",
    "obb": "turned boxes",
    "classify": "classes",
}


@dataclass(frozen=True)
class Weights:
    """One checkpoint: where it comes from, the file it becomes, and what the file must hash to.

    `extra` names the optional dependency that runs it, "" for none. `task` says what it is for:
    "prompt" for masks of what is pointed at, else a YOLO's detect, segment, pose, obb or classify.
    `older` ones are used where they are named or here, and never the first to get.
    """

    name: str
    file: str
    url: str
    size_mb: int
    sha256: str
    about: str
    extra: str = ""
    task: str = "prompt"
    older: bool = False

    @property
    def gives(self) -> str:
        """What comes out, in the words of a person who labels."""
        return _GIVES[self.task]


def _sam(name: str, file: str, size_mb: int, sha256: str, about: str) -> Weights:
    url = f"https://dl.fbaipublicfiles.com/segment_anything/{file}"
    return Weights(name, file, url, size_mb, sha256, about)


def _sam2(name: str, file: str, size_mb: int, sha256: str, about: str) -> Weights:
    url = f"https://dl.fbaipublicfiles.com/segment_anything_2/092824/{file}"
    return Weights(name, file, url, size_mb, sha256, about, extra="ultralytics")


_YOLO_SUFFIXES = {
    "detect": "",
    "segment": "-seg",
    "pose": "-pose",
    "obb": "-obb",
    "classify": "-cls",
}
_YOLO_ABOUT = {
    "detect": "boxes of 80 everyday classes",
    "segment": "masks, polygons and boxes of 80 everyday classes",
    "pose": "17 key points of people",
    "obb": "oriented boxes of 15 classes in aerial photos",
    "classify": "1,000 classes of the whole image",
}
_YOLO_SPEED = {"n": "fast on a CPU", "s": "better, a CPU does", "m": "good, wants a GPU"}


def _yolo(model: str, task: str, size_mb: int, sha256: str) -> Weights:
    name = f"yolo{model}{_YOLO_SUFFIXES[task]}"
    return Weights(
        name,
        f"{name}.pt",
        f"https://github.com/ultralytics/assets/releases/download/v8.3.0/{name}.pt",
        size_mb,
        sha256,
        f"YOLO{model}: {_YOLO_ABOUT[task]}; {_YOLO_SPEED[model[-1]]}",
        extra="ultralytics",
        task=task,
        older=model.startswith("v8"),
    )


# The best masks first.
_PROMPT = (
    _sam2(
        "sam2.1_l",
        "sam2.1_hiera_large.pt",
        898,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        "SAM 2.1 large: the best masks; wants a GPU",
    ),
    _sam2(
        "sam2.1_b+",
        "sam2.1_hiera_base_plus.pt",
        324,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        "SAM 2.1 base+",
    ),
    _sam2(
        "sam2.1_s",
        "sam2.1_hiera_small.pt",
        184,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        "SAM 2.1 small",
    ),
    _sam2(
        "sam2.1_t",
        "sam2.1_hiera_tiny.pt",
        156,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        "SAM 2.1 tiny: good masks on a CPU, seconds an image",
    ),
    _sam(
        "sam_vit_h",
        "sam_vit_h_4b8939.pth",
        2565,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        "SAM huge; wants a GPU",
    ),
    _sam(
        "sam_vit_l",
        "sam_vit_l_0b3195.pth",
        1250,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        "SAM large; wants a GPU",
    ),
    _sam(
        "sam_vit_b",
        "sam_vit_b_01ec64.pth",
        375,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        "SAM base: needs nothing that is AGPL",
    ),
    Weights(
        "mobile_sam",
        "mobile_sam.pt",
        "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        41,
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        "MobileSAM: the fastest, a fraction of a second an image on a CPU",
        extra="ultralytics",
    ),
)


# The best first, for each task. Configs written for label-studio-ml-backend name YOLOv8s.
_YOLO = (
    _yolo("11m", "detect", 41, "d5ffc1a674953a08e11a8d21e022781b1b23a19b730afc309290bd9fb5305b95"),
    _yolo("v8m", "detect", 52, "5d4a90cdc7a21786cc59cd19778e9eafff836df9e2da32524737c7ee6efe4fe5"),
    _yolo("11s", "detect", 19, "85a76fe86dd8afe384648546b56a7a78580c7cb7b404fc595f97969322d502d5"),
    _yolo("v8s", "detect", 23, "1f47a78bf100391c2a140b7ac73a1caae18c32779be7d310658112f7ac9aa78a"),
    _yolo("11n", "detect", 6, "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1"),
    _yolo("v8n", "detect", 7, "f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36"),
    _yolo("11m", "segment", 45, "eb9a06f63e2206c35d68d839b08c362429ebecf933ad54c1ad68b2fd001c17cf"),
    _yolo("v8m", "segment", 55, "51fa7e5ef385efa6d5b1d8e31b73399be6ed5d7ca71bda4bd4b2794bb445c4f4"),
    _yolo("11s", "segment", 21, "1caa81c0195412efa411b632bcfb8c184939dddb6ae41f6a80c41b211ff257c3"),
    _yolo("v8s", "segment", 24, "0bac0770b55e5eb5b76a61bc535673288dcec36c2bc0cd25ee0d584c632f3413"),
    _yolo("11n", "segment", 6, "55ed65c56c91713d23e8402371c6c49a6fd84f257f7dce452e8d70e41dcbe152"),
    _yolo("v8n", "segment", 7, "a7cd8f929e1903d78a12a48efecab430209f18dc46cb96c3599a5980c63c423c"),
    _yolo("11m", "pose", 42, "29b17eaf3a3117cbea906090dbedf9159f7c6a49db58ec8b99ed2dfde1cf6eb2"),
    _yolo("v8m", "pose", 53, "dbe539ea268db2534390942cfdf206e521f376f19e5415967a57f6a2ddfa3c90"),
    _yolo("11s", "pose", 20, "1060bda4a27012060eca246f9b2adeea22eabb045a1e58f8d229be29b7ebc2ba"),
    _yolo("v8s", "pose", 24, "234314cd8baf62616791aceb9ea6ad5c19f26cf6c0d8f3a1bfce1e23b186cfb3"),
    _yolo("11n", "pose", 6, "869e83fcdffdc7371fa4e34cd8e51c838cc729571d1635e5141e3075e9319dc0"),
    _yolo("v8n", "pose", 7, "c6fa93dd1ee4a2c18c900a45c1d864a1c6f7aba75d84f91648a30b7fb641d212"),
    _yolo("11m", "obb", 42, "41832a4349c08190335bbc11a8e64726750702eb49cf09abb262bc394a13498c"),
    _yolo("11s", "obb", 20, "43fa63102922e0701501241b307420d24fc55e080816888b18bf8c6f96b1a45a"),
    _yolo("11n", "obb", 6, "b62898ebf38940ca4df323863e45ee9d84a1a46d5d11ebdde529fb33aa9f3a32"),
    _yolo("v8n", "obb", 7, "fa6e4cd2691f132875c143135affaa66b5d89394ebb1d07d19770a9b6382c1b8"),
    _yolo(
        "11s", "classify", 14, "e2b605d1c8c212b434a75a32759a6f7adf1d2b29c35f76bdccd4c794cb653cf2"
    ),
    _yolo("11n", "classify", 6, "c62d41bf9625777760018bf914d2e6cd472420ccd01706d97a61cb6c82502bd7"),
    _yolo("v8n", "classify", 6, "11fa19f2aea79bc960d680a13f82f22105982b325eb9e17a4a5e1a9f8245980a"),
)
REGISTRY = _PROMPT + _YOLO


def listing(folder: Path, *, task: str | None = None) -> list[tuple[Weights, bool]]:
    """Every checkpoint (of one task), the best first, and whether its file lies in `folder`."""
    return [
        (weights, (folder / weights.file).is_file())
        for weights in REGISTRY
        if task in (None, weights.task)
    ]


def named(name: str) -> Weights:
    """The checkpoint of that name or file name. Errors: `ModelMissing`."""
    for weights in REGISTRY:
        if name in (weights.name, weights.file):
            return weights
    known = ", ".join(weights.name for weights in REGISTRY)
    raise ModelMissing(f"there is no checkpoint {name!r}", advice=f"known are {known}")


def download(name: str, folder: Path, *, progress: Progress | None = None) -> Path:
    """Bring the checkpoint `name` into `folder`, going on where an earlier try stopped.

    `progress` is told (bytes here, bytes in all or None). The file appears only when it is whole
    and hashes right. Errors: `ModelMissing`, with what to do by hand.
    """
    return fetch(named(name), folder, progress=progress)


def fetch(weights: Weights, folder: Path, *, progress: Progress | None = None) -> Path:
    """`download` of weights that need not be in the registry."""
    target = folder / weights.file
    part = folder / f"{weights.file}.part"
    try:
        if target.is_file():
            _check(weights, target)
            return target
        folder.mkdir(parents=True, exist_ok=True)
        _receive(weights.url, part, progress or (lambda _have, _total: None))
        try:
            _check(weights, part)
        except ModelMissing:
            part.unlink()
            raise
        part.replace(target)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise ModelMissing(
            f"could not download {weights.url}: {reason}",
            advice="run the command again to go on where it stopped; without a network, put "
            f"{weights.file} into the model folder by hand; {_FOLDER}",
        ) from error
    except OSError as error:
        raise ModelMissing(
            f"could not write {part.name} in the model folder: "
            f"{error.strerror or type(error).__name__}",
            advice="free some space or let LABELPILOT_MODEL_DIR name a folder that can be written",
        ) from error
    return target


def _check(weights: Weights, path: Path) -> None:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != weights.sha256:
        raise ModelMissing(
            f"{path.name} is not the official file: its SHA-256 is {sha256}, not {weights.sha256}",
            advice=f"delete it and run the command again, or put the file of {weights.url} into "
            f"the model folder as {weights.file} by hand; {_FOLDER}",
        )


def _receive(url: str, part: Path, progress: Progress) -> None:
    """Fill `part` from `url`; a cut connection is taken up again as long as bytes arrive."""
    for attempt in range(_TRIES):
        have = part.stat().st_size if part.exists() else 0
        try:
            _receive_rest(url, part, have, progress)
        except httpx.TransportError as error:
            arrived = (part.stat().st_size if part.exists() else 0) - have
            if arrived <= 0 or attempt == _TRIES - 1:
                raise
            log.info("the connection broke after %d bytes (%s); going on", arrived, error)
        else:
            return


def _receive_rest(url: str, part: Path, have: int, progress: Progress) -> None:
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with httpx.stream(
        "GET", url, headers=headers, follow_redirects=True, timeout=_TIMEOUT
    ) as answer:
        if have and answer.status_code in (206, 416):
            first, total = _range(answer.headers.get("content-range", ""))
            if answer.status_code == 416 and total == have:
                return  # it was whole already
            if answer.status_code == 416 or first != have:
                part.unlink()  # not a start of what the server has: take it from the beginning
                _receive_rest(url, part, 0, progress)
                return
        else:
            answer.raise_for_status()
            have = 0
            total = int(answer.headers["content-length"]) if _sized(answer) else None
        with part.open("ab" if have else "wb") as file:
            progress(have, total)
            for chunk in answer.iter_raw():
                file.write(chunk)
                have += len(chunk)
                progress(have, total)


def _sized(answer: httpx.Response) -> bool:
    return str(answer.headers.get("content-length", "")).isdigit()


def _range(header: str) -> tuple[int | None, int | None]:
    """ "bytes 5-9/10" -> (5, 10), "bytes */10" -> (None, 10), anything else -> (None, None)."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", header)
    if match is None:
        return None, None
    return int(match[1]) if match[1] else None, int(match[2])
