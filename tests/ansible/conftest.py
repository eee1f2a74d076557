"""What the tests of Ansible's modules share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..producer.broker import Broker, Brokers


@pytest.fixture(scope="session")
def brokers(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """Two real brokers; the first is the controller."""
    # Not for tests that need none: it imports the Kafka client.
    from ..producer.broker import Brokers, SecondBroker

    second = SecondBroker(tmp_path_factory.mktemp("second"), broker)
    try:
        second.start()
        yield Brokers(broker, second)
    finally:
        second.close()
