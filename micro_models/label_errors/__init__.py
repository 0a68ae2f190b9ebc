"""Errors in labels, found by a model that never saw them."""

from micro_models.label_errors.classes import class_errors
from micro_models.label_errors.finding import find_label_errors
from micro_models.label_errors.nouns import ErrorKind, Findings, LabelError

__all__ = ["ErrorKind", "Findings", "LabelError", "class_errors", "find_label_errors"]
