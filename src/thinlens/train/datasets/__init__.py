"""Pairs of low- and high-quality images from folders of clean images, and the batches made of them.

    images (files, terms) -> pairs (`lq` and `hq`, luma or RGB) -> patches (shared-phase) or crops (plain trainer)

For denoising and deblocking a pair is the clean image alone; its crops are damaged as they are drawn.

Every batch is a function of the seed and the step alone: a training that was killed goes on bit for bit.
"""
