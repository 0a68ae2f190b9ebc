"""Errors as types: each knows its HTTP status and says what to do.

The message of a `LabelpilotError` is written for the person who can mend it and is sent to
clients; it never holds a secret, a path of this machine or a traceback.
"""

from __future__ import annotations


class LabelpilotError(Exception):
    """Something a person can mend. `advice` says how."""

    status = 500
    retry_after_s: int | None = None

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(f"{message}; {advice}" if advice else message)
        self.message = message
        self.advice = advice


class BadRequest(LabelpilotError):
    """The request is not what Label Studio sends."""

    status = 400


class BadLabelConfig(LabelpilotError):
    """The project's label config cannot be served."""

    status = 422


class BadRegion(LabelpilotError):
    """A region that its control cannot hold: a fault of the backend that made it."""


class Unauthorized(LabelpilotError):
    """Credentials of this server are missing or wrong."""

    status = 401


class MediaError(LabelpilotError):
    """A task's media cannot be had; the message names the one cause."""

    status = 424


class LabelStudioError(LabelpilotError):
    """Label Studio itself refused or could not be reached."""

    status = 502


class LabelStudioRefused(LabelStudioError):
    """Label Studio understood and will not do it: asking again changes nothing."""


class LabelStudioGone(LabelStudioRefused):
    """Label Studio itself says that there is no such thing, or none that we may see."""


class ModelMissing(LabelpilotError):
    """A checkpoint is not where the settings say."""

    status = 503


class TrainingFailed(LabelpilotError):
    """A micro-model could not be trained; what there was is as it was."""


class Busy(LabelpilotError):
    """More work than the queue takes; come back after `retry_after_s`."""

    status = 503
    retry_after_s = 1


class TooLarge(LabelpilotError):
    """A request body beyond the limit."""

    status = 413


class StateError(LabelpilotError):
    """The folder or database for state cannot be used."""


class Unavailable(StateError):
    """The database or the store is away; what was asked for may be asked for again."""

    status = 503
    retry_after_s: int | None = 5


class Damaged(Unavailable):
    """The database's file is damaged: only a person can mend that."""

    retry_after_s = None
