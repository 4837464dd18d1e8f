from __future__ import annotations

import pytest
from client_rig import KEY

from opper_batch.client import Gateway
from opper_batch.client.gateway import PRODUCTION
from opper_batch.errors import DefinitionError


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("OPPER_API_KEY", raising=False)
    monkeypatch.delenv("OPPER_BASE_URL", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://api.opper.ai", "https://api.opper.ai/v3/call"),
        ("https://api.opper.ai/", "https://api.opper.ai/v3/call"),
        (" https://api.opper.ai/proxied/ ", "https://api.opper.ai/proxied/v3/call"),
        ("https://API.Opper.ai:443", "https://api.opper.ai/v3/call"),
        ("https://api.opper.ai:8443", "https://api.opper.ai:8443/v3/call"),
        ("http://localhost:8080", "http://localhost:8080/v3/call"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x/v3/call"),
        ("http://[::1]:8080", "http://[::1]:8080/v3/call"),
    ],
)
def test_a_path_prefix_is_kept_and_the_same_gateway_is_always_spelled_the_same(given: str, url: str) -> None:
    gateway = Gateway.at(given, key=KEY)
    assert gateway.url("/v3/call") == url
    assert gateway.origin + "/v3/call" == url


@pytest.mark.parametrize(
    "given",
    [
        "api.opper.ai",
        "//api.opper.ai",
        "ftp://api.opper.ai",
        "https://",
        "https:///v3",
        "https://api opper.ai",
        "https://api.opper.ai:99999",
        "https://api.opper.ai:0",
        "https://api.opper.ai:port",
        "http://[::1",
        "https://a..b\x1b[31m.ai:x",
        "",
    ],
)
def test_what_is_no_url_is_a_sentence(given: str) -> None:
    with pytest.raises(DefinitionError, match="is not one; write it like https://") as caught:
        Gateway.at(given, key=KEY)
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize("host", ["api.opper.ai", "10.0.0.1", "localhost.example.com", "0.0.0.0", "[::2]"])
def test_plain_http_is_for_this_machine_only(host: str) -> None:
    with pytest.raises(DefinitionError, match="in clear; use https"):
        Gateway.at(f"http://{host}", key=KEY)


@pytest.mark.parametrize(
    "given",
    [
        "https://me:secret@api.opper.ai",
        "https://:secret@api.opper.ai",
        "ftp://me:secret@api.opper.ai",
        "https://api.opper.ai?key=secret",
        "https://api.opper.ai#secret",
    ],
)
def test_a_url_with_more_than_an_address_is_refused_without_showing_it(given: str) -> None:
    with pytest.raises(DefinitionError, match="leave the rest out") as caught:
        Gateway.at(given, key=KEY)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("key", ["two\nlines", "cr\rlf", "a space", "nul\x00", "del\x7f", "ümlaut", "tab\t"])
def test_a_key_that_could_break_out_of_its_header_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(DefinitionError, match="OPPER_API_KEY") as caught:
        Gateway.at(PRODUCTION, key=key)
    assert key not in str(caught.value)


def test_the_key_is_in_the_authorization_header_and_in_nothing_that_is_shown() -> None:
    gateway = Gateway.at(PRODUCTION, key=KEY)
    assert gateway.headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in f"{gateway!r} {gateway} {gateway.url('/v3/call')} {gateway.origin}"


def test_no_compression_is_asked_for() -> None:
    assert Gateway.at(PRODUCTION, key=KEY).headers["Accept-Encoding"] == "identity"


def test_the_sandboxes_answers_are_those_of_one_origin_whatever_its_port() -> None:
    one = Gateway.at("http://127.0.0.1:1", key=KEY, sandbox=True)
    other = Gateway.at("http://127.0.0.1:2", key=KEY, sandbox=True)
    assert one.origin == other.origin == "sandbox"


def test_the_environment_names_key_and_gateway(nothing_set: pytest.MonkeyPatch) -> None:
    nothing_set.setenv("OPPER_API_KEY", f" {KEY}\n")
    nothing_set.setenv("OPPER_BASE_URL", "https://eu.example/opper")
    gateway = Gateway.from_environment()
    assert (gateway.key, gateway.base_url) == (KEY, "https://eu.example/opper")
    assert Gateway.from_environment("https://given.example").base_url == "https://given.example"


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_value_counts_as_unset(nothing_set: pytest.MonkeyPatch, empty: str) -> None:
    nothing_set.setenv("OPPER_API_KEY", KEY)
    nothing_set.setenv("OPPER_BASE_URL", empty)
    assert Gateway.from_environment().base_url == PRODUCTION
    nothing_set.setenv("OPPER_API_KEY", empty)
    with pytest.raises(DefinitionError, match=r"OPPER_API_KEY .*--sandbox"):
        Gateway.from_environment()


def test_without_a_key_one_sentence_says_both_ways_on(nothing_set: pytest.MonkeyPatch) -> None:
    with pytest.raises(DefinitionError, match=r"set OPPER_API_KEY .* or add --sandbox"):
        Gateway.from_environment()
