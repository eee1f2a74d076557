"""What can go wrong. Every message says what, why, and what to do."""

from __future__ import annotations

from typing import Self


class ProducerError(Exception):
    """The run cannot go on; the message is meant for the operator."""

    exit_code = 1


class ConfigError(ProducerError):
    """A setting is missing or has a value that cannot be used."""

    exit_code = 2

    @classmethod
    def of(cls, name: str, value: str, reason: str, advice: str) -> Self:
        """Name a setting, its value, what is wrong with it and what to do."""
        return cls(f"{name}={value!r}: {reason}. {advice}.")


class SourceError(ProducerError):
    """A dump could not be fetched, or is damaged."""


class DataError(ProducerError):
    """A dump was read, but is not in the format that IMDb documents."""


class TopicError(ProducerError):
    """The broker or the topic did not become ready in time."""


class AccessError(ProducerError):
    """This host and the broker, or ZooKeeper, do not trust each other."""


class CredentialsError(ProducerError):
    """The broker does not know the user with this password, or does not let it write."""

    exit_code = 2


class DeliveryError(ProducerError):
    """The broker did not take a record."""


class RefusedError(Exception):
    """The broker refuses a batch for what is in it: some of its records, not all that is sent.

    `acknowledged` is how many records the broker has, from the first on without a gap.
    """

    def __init__(self, acknowledged: int) -> None:
        super().__init__(f"a batch was refused after {acknowledged} records")
        self.acknowledged = acknowledged


class TooManyRefusedError(ProducerError):
    """The broker refuses so many records that it is not about them: an operator has to look."""

    exit_code = 2


class StateError(ProducerError):
    """What an earlier run has kept cannot be read, and only an operator can say what to do."""

    exit_code = 2


class StoreError(ProducerError):
    """How far sending has come cannot be kept or read now, as ZooKeeper does not answer."""


class OvertakenError(ProducerError):
    """A producer on another host has taken over."""


class BusyError(ProducerError):
    """Another producer is at work in the same folder."""

    exit_code = 3
