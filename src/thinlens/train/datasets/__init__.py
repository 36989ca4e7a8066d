"""Pairs of low- and high-quality images from folders of clean images, and the batches made of them.

    images (files, terms) -> pairs (luma, `lq` and `hq`) -> patches (shared-phase trainer) or crops (plain trainer)

Every batch is a function of the seed and the step alone: a training that was killed goes on bit for bit.
"""
