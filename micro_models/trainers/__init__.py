"""Trainers make a model of a few examples: one per file or folder, its library only there."""
