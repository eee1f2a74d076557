"""Streams movies from Kafka into tables: silver_movies, dead_letters and genre_counts."""

__version__ = "0.5.0"
