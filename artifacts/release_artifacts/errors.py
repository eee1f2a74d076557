"""What can go wrong, told to an operator."""


class ArtifactError(Exception):
    """Something of a release is not as it must be; the text names it and says what to do."""


class MismatchError(ArtifactError):
    """A file is not the one that the lock names."""
