"""What the tests of Ansible's modules share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..producer.broker import Brokers


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """Two real brokers; the first is the controller."""
    # Not for tests that need none: it imports the Kafka client.
    from ..producer.broker import Broker, Brokers, SecondBroker

    first = Broker(tmp_path_factory.mktemp("first"))
    second = SecondBroker(tmp_path_factory.mktemp("second"), first)
    try:
        first.start()
        second.start()
        yield Brokers(first, second)
    finally:
        second.close()
        first.close()
