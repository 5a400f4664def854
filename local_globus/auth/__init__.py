"""Globus Auth: who somebody is, and what a token lets its holder do."""
