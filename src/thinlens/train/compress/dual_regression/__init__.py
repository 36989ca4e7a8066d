"""Dual regression compression: how many channels each layer keeps (`search`); which ones is up to the pruning.

Home of the other parts of the method: networks `train/networks/drn.py`, loss `train/losses/dual_regression.py`,
selection `train/compress/pruning/greedy.py`, the command `train/compress/steps.py`.
"""
