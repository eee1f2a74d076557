"""How tests ask what runs here and on the hosts: never by a proxy of the environment."""

from __future__ import annotations

import urllib.request

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
