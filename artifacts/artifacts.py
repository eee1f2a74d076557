#!/usr/bin/env python3
"""Fetch, verify and pack what the hosts get; see README.md beside this file."""

import sys

from release_artifacts.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
