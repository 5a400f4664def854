"""What is wrong with settings beyond their form."""

from __future__ import annotations


class SettingInvalid(ValueError):
    """What a setting points at cannot be used."""
