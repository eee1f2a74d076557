"""moto's server, which lists what it can play once; run by s3.py as a program of its own.

As it comes it reads its folder of some two hundred services twice for each request, which takes it
a third of its time.
"""

from __future__ import annotations

import sys

from moto import backends
from moto.server import main

SERVICES = tuple(backends.list_of_moto_modules())


def services() -> tuple[str, ...]:
    """Return what there is to play."""
    return SERVICES


if __name__ == "__main__":
    backends.list_of_moto_modules = services
    main(sys.argv[1:])
