"""The environment is read once, and everything wrong with it is said at once."""

from pathlib import Path

import pytest

from imdb_streaming import cli, jvm, session
from imdb_streaming.bucket import BucketPath, Place
from imdb_streaming.config import Config, ConfigError, load_config
from imdb_streaming.security import Security


def test_defaults_are_the_documented_ones(config: Config) -> None:
    assert (config.topic, config.isolation_level) == ("imdb-movies", "read_committed")
    assert (config.global_mean_rating, config.min_votes_prior) == (6.5, 3000)
    assert (config.run_id, config.trigger_interval_ms) == ("main", 20_000)
    assert (config.shuffle_partitions, config.max_offsets_per_trigger) == (4, 200_000)
    assert not config.take_over
    assert config.checkpoint_folder == config.output_path / "_chk" / "silver_movies_main"
    assert config.state_folder == config.output_path / "_chk" / "genre_counts_main"


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("500 milliseconds", 500), ("1 second", 1000), ("2 minutes", 120_000), ("1 hour", 3_600_000)],
)
def test_interval_has_a_unit(environ: dict[str, str], text: str, milliseconds: int) -> None:
    config = load_config(environ | {"TRIGGER_INTERVAL": text})
    assert config.trigger_interval_ms == milliseconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", ""),
        ("KAFKA_BOOTSTRAP_SERVERS", "broker"),
        ("KAFKA_BOOTSTRAP_SERVERS", "broker:9092,:9092"),
        ("KAFKA_BOOTSTRAP_SERVERS", "broker:99999"),
        ("KAFKA_TOPIC", "two,topics"),
        ("KAFKA_ISOLATION_LEVEL", "serializable"),
        ("GLOBAL_MEAN_RATING", "eleven"),
        ("GLOBAL_MEAN_RATING", "10.5"),
        ("GLOBAL_MEAN_RATING", "nan"),
        ("MIN_VOTES_PRIOR", "-1"),
        ("OUTPUT_PATH", "relative/folder"),
        ("OUTPUT_PATH", "s3://bucket/tables"),
        ("OUTPUT_PATH_CSV", "hdfs://host/csv"),
        ("RUN_ID", "../other"),
        ("TRIGGER_INTERVAL", "20"),
        ("TRIGGER_INTERVAL", "0 seconds"),
        ("SHUFFLE_PARTITIONS", "0"),
        ("MAX_OFFSETS_PER_TRIGGER", "1e3"),
        ("SPARK_MASTER", "yarn"),
        ("SPARK_MASTER", ""),
        ("SPARK_DRIVER_MEMORY", "1 GB"),
        ("SPARK_UI_PORT", "0"),
        ("TAKE_OVER", "true"),
    ],
)
def test_wrong_variable_is_named_with_its_value(
    environ: dict[str, str], name: str, value: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(environ | {name: value})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{name}={value!r}: " if value else f"{name} is not set. ")


@pytest.mark.parametrize(
    ("text", "place", "silver"),
    [
        ("/srv/tables", Path("/srv/tables"), "/srv/tables/silver_movies"),
        ("file:///srv/tables", Path("/srv/tables"), "/srv/tables/silver_movies"),
        ("s3a://bucket/a/b/", BucketPath("s3a://bucket/a/b"), "s3a://bucket/a/b/silver_movies"),
        ("s3a://bucket", BucketPath("s3a://bucket"), "s3a://bucket/silver_movies"),
    ],
)
def test_tables_are_in_a_folder_or_a_bucket(
    environ: dict[str, str], text: str, place: Place, silver: str
) -> None:
    config = load_config(environ | {"OUTPUT_PATH": text})
    assert config.output_path == place
    assert str(config.silver_folder) == silver
    assert config.is_in_bucket == isinstance(place, BucketPath)


def test_all_wrong_variables_are_told_at_once(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(environ | {"RUN_ID": "a b", "SHUFFLE_PARTITIONS": "none"})
    assert len(str(caught.value).splitlines()) == 2


def test_wrong_configuration_exits_2(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert cli.main(["run"], environ | {"MIN_VOTES_PRIOR": "many"}) == cli.REFUSED
    assert "MIN_VOTES_PRIOR='many'" in caplog.text


def test_spark_gets_what_the_environment_says(environ: dict[str, str]) -> None:
    settings = session.spark_settings(
        load_config(
            environ
            | {
                "SPARK_DRIVER_MEMORY": "700m",
                "SPARK_DRIVER_PORT": "7079",
                "SPARK_BLOCK_MANAGER_PORT": "7080",
            }
        )
    )
    # Spark's word for driver and executors alike: a network may have rules by port.
    assert settings["spark.blockManager.port"] == "7080"
    assert settings["spark.driver.memory"] == "700m"
    assert settings["spark.driver.port"] == "7079"
    assert "spark.driver.host" not in settings
    connector = environ["SPARK_CONNECTOR_PATH"]
    assert settings["spark.driver.extraClassPath"] == f"{connector}:{jvm.JAR}"


def test_garbage_collectors_are_those_of_the_options_if_these_name_some(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def options(given: str) -> tuple[str, str]:
        monkeypatch.setenv("JDK_JAVA_OPTIONS", given)
        settings = session.spark_settings(
            load_config(environ | {"SPARK_EXECUTOR_JVM_OPTIONS": given})
        )
        return (
            settings["spark.driver.extraJavaOptions"],
            settings["spark.executor.extraJavaOptions"],
        )

    # A driver whose heap is full must not go on half alive; executors Spark itself ends.
    always = "-XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError"
    assert options("") == (f"-XX:+UseSerialGC {always}", "-XX:+UseParallelGC")
    assert options("-Dx=y") == (
        f"-XX:+UseSerialGC {always}",
        "-XX:+UseParallelGC -Dx=y",
    )
    assert options("-XX:+UseZGC") == (always, "-XX:+UseZGC")


SECURED = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_USERNAME": "streaming",
    "KAFKA_SASL_PASSWORD_FILE": "/etc/imdb-streaming/password",
    "KAFKA_SSL_CAFILE": "/etc/ssl/imdb-pipeline/ca.pem",
}


def test_a_user_and_its_files_are_read(environ: dict[str, str]) -> None:
    plain = load_config(environ).security
    assert (plain.enabled, plain.client_options()) == (False, {})
    security = load_config(environ | SECURED).security
    assert security == Security(*SECURED.values())
    assert security.enabled


def test_password_is_named_and_not_given_to_kafkas_clients(environ: dict[str, str]) -> None:
    options = load_config(environ | SECURED).security.client_options()
    assert options["sasl.jaas.config"].endswith(
        'username="streaming" password="${file:/etc/imdb-streaming/password:password}";'
    )


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("KAFKA_SECURITY_PROTOCOL", "SSL", "not a choice. Give PLAINTEXT or SASL_SSL"),
        ("KAFKA_SASL_USERNAME", "", "KAFKA_SASL_USERNAME is not set"),
        ("KAFKA_SASL_USERNAME", "a=b", "not a user's name"),
        ("KAFKA_SASL_PASSWORD_FILE", "", "KAFKA_SASL_PASSWORD_FILE is not set"),
        ("KAFKA_SASL_PASSWORD_FILE", "/a:b", "not an absolute path of letters"),
        ("KAFKA_SSL_CAFILE", "", "KAFKA_SSL_CAFILE is not set"),
        ("KAFKA_SASL_PASSWORD", "secret", "'***': the environment of a process is no place"),
    ],
)
def test_what_is_wrong_with_a_user_is_named(
    environ: dict[str, str], name: str, value: str, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(environ | SECURED | {name: value})
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)
