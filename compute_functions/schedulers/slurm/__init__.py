"""Slurm's commands: text in the format that we ask for, the same from version 22.05 to 24.11."""

from __future__ import annotations

#: Set for every command of Slurm: times come as seconds since the epoch, words in English.
ENVIRONMENT = {"SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"}
