from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from batchscore.redaction import RedactingFilter, redact, register_secret


def test_registered_secrets_go_in_all_their_forms() -> None:
    register_secret('p@ss "word"/1')
    assert redact('a p@ss "word"/1 b') == "a *** b"
    assert redact("a p%40ss%20%22word%22%2F1 b") == "a *** b"
    assert redact(json.dumps({"x": 'p@ss "word"/1'})) == '{"x": "***"}'


def test_every_line_of_a_secret_goes() -> None:
    register_secret("-----BEGIN-----\nabcdef\nghi\n")
    assert redact("x abcdef y") == "x *** y"


def test_the_longest_secret_goes_first() -> None:
    register_secret("abcd")
    register_secret("abcdefgh")
    assert redact("abcdefgh abcd") == "*** ***"


@pytest.mark.parametrize("value", ["", "a", "abc"])
def test_short_values_are_no_secrets(value: str) -> None:
    register_secret(value)
    assert redact(f"x{value}y") == f"x{value}y"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://me:canary@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("http://:canary@host/", "http://:***@host/"),
        ("see https://me:canary@host/x and https://other/y", "see https://me:***@host/x and https://other/y"),
        ("https://acc.blob/x?sv=2024&sig=canary%2Fxyz%3D&se=1", "https://acc.blob/x?sv=2024&sig=***&se=1"),
        ("aws_access_key_id=canary aws_secret_access_key=canary", "aws_access_key_id=*** aws_secret_access_key=***"),
        ("AWS_SECRET_ACCESS_KEY: canary", "AWS_SECRET_ACCESS_KEY: ***"),
        ("key AKIAIOSFODNN7EXAMPLE used", "key *** used"),
        ("fs.s3a.secret.key=canary", "fs.s3a.secret.key=***"),
        ("fs.s3a.access.key canary=x", "fs.s3a.access.key canary=x"),
        ("fs.azure.account.key.acc.dfs.core.windows.net=canary==", "fs.azure.account.key.acc.dfs.core.windows.net=***"),
        ("password=canary, user=me", "password=***, user=me"),
        ("PASSWORD = 'canary with spaces' x", "PASSWORD = '***' x"),
        ('{"password": "canary", "a": 1}', '{"password": "***", "a": 1}'),
        ('{"token": 12345, "a": 1}', '{"token": "***", "a": 1}'),
        ("{spark.x.password: canary, a: b}", "{spark.x.password: ***, a: b}"),
        ("oauthToken=canary", "oauthToken=***"),
        ("api_key=canary;api-key=canary", "api_key=***;api-key=***"),
        ("Authorization: Bearer canary.abc-123", "Authorization: Bearer ***"),
        ("Authorization: Basic Y2FuYXJ5OmNhbmFyeQ==", "Authorization: Basic ***"),
        ("client_secret=canary&x=1", "client_secret=***&x=1"),
        ("pwd=canary", "pwd=***"),
    ],
)
def test_what_looks_like_a_secret_goes(text: str, clean: str) -> None:
    assert redact(text) == clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "nothing to hide",
        "design: a house; signal=5; assign: x",
        "password: ${env:PASSWORD}",
        "postgresql://me:${env:PW}@host/db",
        "http://host:8080/path?x=1",
        "models:/flights@champion",
        "`engine.conf.x.password`: expected text; found a whole number",
        "--set engine.conf.x.password=...: wrong-type",
        "2013-10-01T04:00:00Z",
        "max_tokens=5 tokens: 7",
        "sha256=abc",
        "",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


def test_redacted_json_stays_json() -> None:
    register_secret("canary-1")
    record = {"token": "abc", "uri": "http://u:p@h", "note": "x canary-1 y", "password": 5, "list": ["sig=x", "b"]}
    assert json.loads(redact(json.dumps(record))) == {
        "token": "***", "uri": "http://u:***@h", "note": "x *** y", "password": "***", "list": ["sig=***", "b"]
    }  # fmt: skip


def log(*arguments: object, **named: object) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.error(*arguments, **named)  # type: ignore[arg-type]
    return stream.getvalue()


def test_filter_redacts_message_and_arguments() -> None:
    register_secret("canary-1")
    assert log("a canary-1 %s %d", {"x": "canary-1"}, 5) == "a *** {'x': '***'} 5\n"
    assert log("%(password)s", {"password": "canary-1"}) == "***\n"


def test_filter_redacts_exceptions_and_stacks() -> None:
    register_secret("canary-1")
    try:
        try:
            raise ValueError("inner canary-1")
        except ValueError as error:
            raise RuntimeError("outer canary-1") from error
    except RuntimeError:
        text = log("failed", exc_info=True, stack_info=True)
    assert "ValueError: inner ***" in text
    assert "RuntimeError: outer ***" in text
    assert "canary-1" not in text.replace('register_secret("canary-1")', "").replace('("inner canary-1")', "")
    assert log("failed", exc_info=True) == "failed\nNoneType: None\n" or sys.exc_info()[0] is None


def test_filter_redacts_a_wrong_format_string() -> None:
    register_secret("canary-1")
    assert log("a %d", "canary-1") == "a %d ('***',)\n"
