"""Globus Auth, Groups and Compute on one machine, for the unmodified SDK and endpoint agent."""
