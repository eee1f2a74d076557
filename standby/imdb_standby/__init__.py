"""Runs a program on one of several hosts at a time; the others stand by (leader election in ZooKeeper)."""

__version__ = "0.1.0"
