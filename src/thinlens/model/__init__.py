"""The file between training and everything else: ops in order (the plan), their tensors, and a card.

``ops``: the closed set of operations, one record each.  ``plan``: ops with named inputs.  ``graph``: what follows
from a plan (receptive rows, channel ties).  ``card``: what a model promises.  ``file``: one safetensors file.
"""
