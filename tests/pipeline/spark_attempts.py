"""Attempts at ports of Spark's, by Spark's own client; run in the place that a client is at.

Usage: python -m tests.pipeline.spark_attempts <attempts.json

Reads `own_address`, the place's, and `attempts`, a list of objects with `address`, `port`,
`endpoint` and `secret` (null for a client that has none). Prints a list of answers as
port_attempts.py does. With SPARK_HOME, and pyspark on PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from pyspark.java_gateway import launch_gateway

from .port_attempts import ANSWERED, NO_SECRET

#: What a server says to who has no secret, and to who has another one.
REFUSALS = ("Unknown challenge message", "Authentication failed")
MILLISECONDS = 20_000


class Client:
    """A JVM with Spark's classes, on this place's address."""

    def __init__(self, address: str) -> None:
        """Start it."""
        os.environ["SPARK_LOCAL_IP"] = address
        # Neither it nor Spark's scripts may write to where the answer goes.
        self._gateway = launch_gateway(popen_kwargs={"stdout": subprocess.DEVNULL})
        self._jvm: Any = self._gateway.jvm
        self._address = address
        self._environments: dict[str | None, Any] = {}

    def close(self) -> None:
        """End it."""
        for environment in self._environments.values():
            environment.shutdown()
        self._gateway.shutdown()
        self._gateway.proc.stdin.close()
        self._gateway.proc.wait(30)

    def ask(self, address: str, port: int, endpoint: str, secret: str | None) -> dict[str, str]:
        """Prove to know the secret, and ask whether there is an endpoint, as every client does.

        Ports of blocks have none: `endpoint` is empty. Without a secret there is nothing to prove,
        and something is said at once.
        """
        from py4j.protocol import Py4JJavaError

        where = self._jvm.org.apache.spark.rpc.RpcAddress(address, port)
        environment = self._environment(secret)
        try:
            client = environment.createClient(where)
            if secret is None:
                said = self._jvm.java.nio.ByteBuffer.wrap(b"attempt")
                client.sendRpcSync(said, MILLISECONDS)
            elif endpoint:
                environment.setupEndpointRef(where, endpoint)
        except Py4JJavaError as error:
            told = " / ".join(causes(error.java_exception))
            if any(refusal in told for refusal in REFUSALS):
                return {"outcome": NO_SECRET, "said": told}
            raise AssertionError(f"{endpoint} at {address}:{port}: {told}") from error
        return {"outcome": ANSWERED, "said": ""}

    def _environment(self, secret: str | None) -> Any:
        if secret not in self._environments:
            spark = self._jvm.org.apache.spark
            conf = spark.SparkConf(False)
            for name, value in settings(secret).items():
                conf.set(name, value)
            given = [
                getattr(spark.SecurityManager, f"$lessinit$greater$default${it}") for it in (2, 3)
            ]
            manager = spark.SecurityManager(conf, *(it() for it in given))
            self._environments[secret] = spark.rpc.RpcEnv.create(
                "attempt", self._address, 0, conf, manager, True
            )
        return self._environments[secret]


def settings(secret: str | None) -> dict[str, str]:
    """Return a client's settings."""
    found = {"spark.rpc.lookupTimeout": "20s", "spark.rpc.askTimeout": "20s"}
    if secret is not None:
        found |= {
            "spark.authenticate": "true",
            "spark.authenticate.secret": secret,
            "spark.network.crypto.enabled": "true",
            "spark.network.crypto.saslFallback": "false",
            # As the pipeline has it: of another version's handshake a server says nothing.
            "spark.network.crypto.authEngineVersion": "2",
        }
    return found


def causes(error: Any) -> list[str]:
    """Return what an exception of Java's says, and what it was caused by."""
    found = []
    while error is not None:
        # A server's error comes with its stack.
        found.append(str(error.toString()).split("\n\tat ")[0])
        error = error.getCause()
    return found


def main() -> None:
    """Make all attempts, one after the other."""
    given = json.load(sys.stdin)
    client = Client(given["own_address"])
    try:
        answers = [client.ask(**attempt) for attempt in given["attempts"]]
    finally:
        client.close()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
