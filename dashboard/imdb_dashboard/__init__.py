"""A page that shows the movies and the pipeline while they move."""

__version__ = "0.1.1"
