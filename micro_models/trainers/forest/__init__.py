"""A first model within seconds: random forests on hand-made features of pixels and images."""

from micro_models.trainers.forest.trainer import ForestTrainer

__all__ = ["ForestTrainer"]
