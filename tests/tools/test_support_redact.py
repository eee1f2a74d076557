"""What is taken out of a support bundle: secrets, and what a movie is known by; nothing else."""

from __future__ import annotations

import base64
import json
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_redact import MARK, SHORTEST, Redactor, secrets_in

KNOWN = ["hunter2-hunter2", 'a "quoted" $ecret/', "line one\nline two of it"]


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor(KNOWN)


@pytest.mark.parametrize(
    "written",
    [
        "hunter2-hunter2",
        "a=1&b=hunter2-hunter2&c",
        base64.b64encode(b"hunter2-hunter2").decode(),
        json.dumps(KNOWN[1]),
        "a%20%22quoted%22%20%24ecret%2F",
        "line two of it",
    ],
)
def test_a_known_secret_is_found_however_it_is_written(redactor: Redactor, written: str) -> None:
    clean = redactor.text(f"kafka[7]: before {written} after")
    assert clean.startswith("kafka[7]: before ")
    assert clean.endswith(" after")
    assert MARK in clean
    assert written.strip('"') not in clean


def test_a_value_that_is_too_short_is_not_looked_for() -> None:
    assert Redactor(["-2", "", "abc"]).text("2026-11-22 abc") == "2026-11-22 abc"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("password=planted, next=1", "password=***, next=1"),
        ('{"sasl_plain_password": "pl an", "n": 1}', '{"sasl_plain_password": ***, "n": 1}'),
        ("spark.hadoop.fs.s3a.secret.key=planted", "spark.hadoop.fs.s3a.secret.key=***"),
        ("spark.hadoop.fs.s3a.access.key: planted", "spark.hadoop.fs.s3a.access.key: ***"),
        ("AWS_SECRET_ACCESS_KEY=planted", "AWS_SECRET_ACCESS_KEY=***"),
        ("get https://user:planted@host/a", "get https://***@host/a"),
        ("get https://host/a?signature=planted now", "get https://host/a?*** now"),
        ("password_file=/etc/kafka/x", "password_file=/etc/kafka/x"),
        ("the password of user kafka is wrong", "the password of user kafka is wrong"),
        ("batch 7: 12 tokens in 3 s", "batch 7: 12 tokens in 3 s"),
    ],
)
def test_what_its_name_gives_away_goes(redactor: Redactor, text: str, clean: str) -> None:
    assert redactor.text(text) == clean


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        (
            "spark.authenticate.secret            planted it",
            "spark.authenticate.secret            ***",
        ),
        ("spark.authenticate                   true", "spark.authenticate                   true"),
        ("spark.authenticate.secret.file       /x", "spark.authenticate.secret.file       /x"),
        ('KAFKA_SASL_PASSWORD_FILE="/etc/x"', 'KAFKA_SASL_PASSWORD_FILE="/etc/x"'),
        ("ssl.keystore.password=pl an;ted", "ssl.keystore.password=***"),
        ('a.sasl.jaas.config=x required username="u" password="p";', "a.sasl.jaas.config=***"),
        ('      auth_password: "planted"', "      auth_password: ***"),
        ('Environment="TOKEN=pl an,ted" A=1', 'Environment="TOKEN=***'),
        ("# the password of user kafka", "# the password of user kafka"),
    ],
)
def test_a_line_of_settings_keeps_its_name(redactor: Redactor, line: str, clean: str) -> None:
    assert redactor.text(f"a=1\n{line}\nb=2", settings=True) == f"a=1\n{clean}\nb=2"


def test_private_keys_go_whole_or_cut(redactor: Redactor) -> None:
    body = [base64.b64encode(secrets.token_bytes(48)).decode() for _ in range(3)]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *body, "-----END PRIVATE KEY-----"])
    for text in (f"a\n{key}\nb", "\n".join(["a", *body, "b"]), f"a\n{key[:120]}"):
        clean = redactor.text(text)
        assert clean.startswith("a\n")
        assert not any(line[:40] in clean for line in body)


def test_a_secret_of_before_goes_and_a_digest_stays(redactor: Redactor) -> None:
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    former = "tKq3cJxT0bYV4dWn8mZr5pLs7uHg2fEa9iQo1XwRkBc"
    assert len(former) == 43
    assert redactor.text(f"{digest} {former}.") == f"{digest} {MARK}."


@pytest.mark.parametrize(
    "text",
    [
        'bad {"tconst": "tt7654321", "primaryTitle": "Planted Title", "numVotes": 7}',
        'bad {\\"primaryTitle\\":\\"Planted Title\\",\\"tconst\\":\\"tt7654321\\"}',
        "bad Row(tconst='tt7654321', primaryTitle='Planted Title')",
        "bad tt7654321\tmovie\tPlanted Title\t1999",
        "bad tt7654321,Planted Title",
    ],
)
def test_no_record_stays(redactor: Redactor, text: str) -> None:
    clean = redactor.text(f"one\n{text}\ntwo")
    assert clean.startswith("one\nbad ")
    assert clean.endswith("\ntwo")
    assert "Planted" not in clean
    assert "7654321" not in clean


def test_what_is_wrong_with_a_field_stays(redactor: Redactor) -> None:
    text = "WARNING batch 3: malformed imdb-movies/0/12: primaryTitle is no text"
    assert redactor.text(text) == text


def test_data_keeps_its_shape(redactor: Redactor) -> None:
    data = {"a": ["hunter2-hunter2", 7, None, True], "hunter2-hunter2": {"b": "tt7654321"}}
    assert redactor.data(data) == {"a": [MARK, 7, None, True], MARK: {"b": "tt***"}}


@given(
    secret=st.text(st.characters(codec="ascii", exclude_characters="*\n"), min_size=6, max_size=20),
    around=st.text(max_size=20),
    settings=st.booleans(),
)
def test_no_text_around_it_keeps_a_known_secret(secret: str, around: str, settings: bool) -> None:
    known = secret.strip()
    if len(known) >= SHORTEST:
        clean = Redactor([secret]).text(f"{around}{known}{around}{known}", settings)
        assert known not in clean


def test_secrets_of_a_file_are_found_by_their_names() -> None:
    text = (
        "broker.password=planted-one\n"
        'sasl.jaas.config=x.Y required username="u" password="planted-two";\n'
        'its.jaas.config=x password="${file:/etc/kafka/secrets.properties:password}";\n'
        "spark.authenticate.secret  planted-three\n"
        'BASICS_URL="http://me:planted%2Dfour@host/x?sig=planted-five"\n'
        "KAFKA_SASL_PASSWORD_FILE=/etc/somewhere\n"
    )
    found = set(secrets_in(text))
    expected = {"planted-one", "planted-two", "planted-three", "planted-four", "planted-five"}
    assert expected <= found
    assert "/etc/somewhere" not in found
