"""Streams movies from Kafka into Parquet tables: silver_movies and genre_counts."""

__version__ = "0.1.0"
