"""Where torch computes."""

from __future__ import annotations


class NoSuchDevice(ValueError):
    """A device that this machine, or this build of torch, does not have."""


def present(device: str) -> str:
    """The torch device that is meant: "cpu", "cuda:1"; "auto" is a GPU if there is one.

    Errors: `NoSuchDevice`.

    >>> present("cpu")
    'cpu'
    """
    if device == "cpu":
        return device
    import torch  # takes a second

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise NoSuchDevice(
            f'there is no device {device!r} to train on; choose "auto" or "cpu"'
        ) from error
    return device
