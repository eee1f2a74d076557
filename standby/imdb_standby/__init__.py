"""Runs a program on one of several hosts at a time, by an election in ZooKeeper."""

__version__ = "0.1.2"
