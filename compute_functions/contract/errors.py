"""What is wrong with a value that came over the wire."""

from __future__ import annotations


class ContractError(ValueError):
    """The other side sent something this version of the contract does not know."""


class UnsupportedProtocol(ContractError):
    """The other side speaks another version of the contract."""
