"""Send IMDb's movies to a Kafka topic, at a steady rate.

The way of a record: download -> sources -> dumps -> records -> outbox -> send.
"""

__version__ = "0.5.0"
