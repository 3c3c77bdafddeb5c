"""Remake of the small text-to-image model "shapes": drawing, training, export and an objective score."""
