"""Sweeps: a grid of recipes, trained by any number of processes that share an Optuna study.

grid    what a sweep's TOML file means: groups of recipes, each one trial
study   the shared list of groups: queued, being trained, done, failed; needs no torch
worker  takes one group after the other until all are done
"""
