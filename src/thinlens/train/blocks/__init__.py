"""What several networks are built of: convolutions, attention, the trunk they share, and blocks of two forms.

A block of two forms has a *train form* and a ``fuse()`` that gives the op, or the module of ops, which computes the
same; lowering calls it.
"""
