"""Pairs of low- and high-quality patches from folders of clean images."""
