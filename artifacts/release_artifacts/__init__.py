"""Archives of what the hosts run, each file of them verified against a committed lock.

The way of a release: releases (what there is) -> sources (mvn, pip) -> lock (verify)
-> archives (pack) -> cache (keep).
"""
