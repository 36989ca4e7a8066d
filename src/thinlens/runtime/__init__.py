"""A model file at work on pixels, without torch."""
