"""A batch on real parts while everything is killed: who, how, and what the batch says to it."""
