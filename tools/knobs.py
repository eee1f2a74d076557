#!/usr/bin/env python3
"""Print the knobs that make was given as JSON, for ansible-playbook -e; nothing if there are none.

As JSON a value reaches Ansible as it was typed: & and $ and blanks too. Needs no .venv.
"""

from __future__ import annotations

import json
import os

KNOBS = {
    "BASICS": "producer_basics",
    "RATINGS": "producer_ratings",
    "MSGS_PER_SEC": "producer_msgs_per_sec",
    "PRODUCER_LIMIT": "producer_limit",
    "RUN_ID": "streaming_run_id",
}

if __name__ == "__main__":
    given = {variable: os.environ[knob] for knob, variable in KNOBS.items() if os.environ.get(knob)}
    if given:
        print(json.dumps(given))
