"""Fuzzing: mutated images, model files, recipes and foreign weights end in a clean error or in a right result.

``mutate`` breaks bytes, ``tree`` breaks JSON-like values; ``images``, ``models``, ``recipes`` and ``foreign`` make a
case from a seed and a number and put it through; ``runner`` does so in a process of its own, with limits on time and
memory.
"""
