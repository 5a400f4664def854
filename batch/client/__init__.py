"""Batches at a gateway, from a person's machine: its OpenAI API for files and batches, no more."""
