"""Measurements: quality on image sets, by a stated protocol."""
