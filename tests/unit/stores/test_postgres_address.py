"""An address is understood as libpq understands it, and told without its secrets."""

from __future__ import annotations

import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from poet.errors import ConfigurationError
from poet.stores.postgres.address import Address
from poet.stores.postgres.texts import heard, said

WORDS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=12)
NAMES = WORDS.filter(lambda word: "," not in word and "=" not in word)
HOSTS = st.lists(st.sampled_from(["db1", "db-2.example", "/run/my sql", "::1", "10.0.0.1"]), min_size=1, max_size=3)


@given(HOSTS, st.integers(1, 65535), NAMES, NAMES, WORDS)
def test_what_is_told_leads_to_the_same_place_and_has_no_password(
    hosts: list[str], port: int, database: str, user: str, password: str
) -> None:
    password += "§secret§"
    dsn = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@"
    dsn += ",".join(f"[{host}]:{port}" if ":" in host else f"{quote(host, safe='')}:{port}" for host in hosts)
    dsn += f"/{quote(database, safe='')}?connect_timeout=3"
    address = Address.of(dsn)
    assert "secret" not in address.url
    told = conninfo_to_dict(address.url)
    assert told == {name: value for name, value in address.parameters.items() if name != "password"}
    assert "§secret§" not in address.without_secrets(f"connection as {password} failed")


def test_words_and_urls_mean_the_same() -> None:
    words = Address.of("host=db1 port=5433 user=ada dbname=shop password='a b'")
    assert words == Address.of("postgresql://ada:a%20b@db1:5433/shop")
    assert words.url == "postgresql://ada@db1:5433/shop"


@pytest.mark.parametrize("dsn", ["postgresql://ada:pa%zzss@db1/shop", "host=db1 =pa%zzss", "postgres://[db1:pa%zzss"])
def test_what_is_no_address_is_refused_without_a_word_of_it(dsn: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://user@host:5432/database") as caught:
        Address.of(dsn)
    assert "pa%zzss" not in "".join(traceback.format_exception(caught.value, chain=True)).replace(repr(dsn), "")


def test_a_writer_asks_for_a_host_that_takes_writes_and_the_user_has_the_last_word() -> None:
    address = Address.of("postgresql://db1,db2/shop")
    assert address.for_connecting(name="x", readonly=False, patience=3.2)["target_session_attrs"] == "read-write"
    assert address.for_connecting(name="x", readonly=True, patience=3.2)["target_session_attrs"] == "any"
    assert address.for_connecting(name="x", readonly=False, patience=3.2)["connect_timeout"] == "4"
    own = Address.of("postgresql://db1/shop?connect_timeout=9&application_name=till")
    assert own.for_connecting(name="x", readonly=False, patience=3.2)["connect_timeout"] == "9"
    assert own.for_connecting(name="x", readonly=False, patience=3.2)["application_name"] == "till"


@given(st.text(st.characters(blacklist_categories=["Cs"]) | st.sampled_from("\0\x1a01"), max_size=20))
def test_every_text_comes_back_and_holds_no_nul_on_the_way(words: str) -> None:
    assert heard(said(words)) == words
    assert "\0" not in said(words)
