"""How a start is refused."""

#: The ways out where what is there cannot be gone on with.
ADVICE = (
    "Either put back what was moved, or restore checkpoint and tables of one and the same backup; "
    "or begin anew from the topic's first message, keeping what is there aside: "
    "imdb-streaming reset"
)


class StartRefusedError(Exception):
    """Starting would lose, double or mix rows, or cannot work. The text says what to do."""


class CredentialsError(StartRefusedError):
    """Kafka does not take the user with its password, or does not let it read the topic."""
