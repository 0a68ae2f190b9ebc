"""A tiny network, trained from scratch in seconds: see `TinyTrainer`."""

from micro_models.trainers.tiny.trainer import TinyTrainer

__all__ = ["TinyTrainer"]
