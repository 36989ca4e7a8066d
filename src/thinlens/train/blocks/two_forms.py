"""What all blocks of two forms share."""

from abc import ABC, abstractmethod

from torch import nn


class TwoForms(nn.Module, ABC):
    """A block that is trained in one form and runs in another."""

    @abstractmethod
    def fuse(self) -> nn.Module:
        """The inference form: an op, or a module of ops, that computes the same."""
