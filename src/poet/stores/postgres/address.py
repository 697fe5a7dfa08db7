"""Where a database is: read from what a user configured, and told again without its secrets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from poet.errors import ConfigurationError

_SECRETS = ("password", "sslpassword", "oauth_client_secret")
_SCHEMES = ("postgresql://", "postgres://")
_FORM = "postgresql://user@host:5432/database"


class Address(NamedTuple):
    """One or several hosts of one database, with the parameters of libpq."""

    parameters: Mapping[str, str]

    @classmethod
    def of(cls, dsn: str) -> Address:
        """From a URL, or from words like ``host=… dbname=…``. Raises ConfigurationError, which tells no secret."""
        try:
            found = conninfo_to_dict(dsn)
        except psycopg.Error:  # its text may quote a password that was not percent-encoded
            raise ConfigurationError(
                f"store is no address of a PostgreSQL database; write it like {_FORM},"
                " with @ : / and % of a password as %40 %3A %2F and %25"
            ) from None
        return cls(MappingProxyType({name: str(value) for name, value in found.items() if value is not None}))

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return tuple(self.parameters[name] for name in _SECRETS if self.parameters.get(name))

    @property
    def url(self) -> str:
        """The address without its secrets.

        >>> Address.of("postgresql://ada:secret@db1:5433,db2:5433/shop?target_session_attrs=read-write").url
        'postgresql://ada@db1:5433,db2:5433/shop?target_session_attrs=read-write'
        >>> Address.of("host=/run/postgresql dbname=shop").url
        'postgresql://%2Frun%2Fpostgresql/shop'
        """
        rest = {name: value for name, value in self.parameters.items() if name not in _SECRETS}
        user = rest.pop("user", "")
        hosts = rest.pop("host", "").split(",")
        ports = rest.pop("port", "").split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        places = ",".join(_place(host) + (f":{port}" if port else "") for host, port in zip(hosts, ports, strict=False))
        database = quote(rest.pop("dbname", ""), safe="")
        words = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(rest.items()))
        return (
            _SCHEMES[0]
            + (f"{quote(user, safe='')}@" if user else "")
            + places
            + (f"/{database}" if database or words else "")
            + (f"?{words}" if words else "")
        )

    def without_secrets(self, text: str) -> str:
        """``text`` with every secret blacked out."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def for_connecting(self, *, name: str, readonly: bool, patience: float) -> dict[str, str]:
        """Parameters for one connection; what the user configured wins.

        name: what the server's lists call it. patience: longest silence of a host that is gone [s].
        """
        seconds = str(max(2, math.ceil(min(patience, 10.0))))
        defaults = {
            "application_name": name,
            "connect_timeout": seconds,  # of each host
            "keepalives_idle": "30",
            "keepalives_interval": "5",
            "keepalives_count": "3",
            "tcp_user_timeout": str(round(1000 * max(patience, 1.0))),
            # of several hosts the one that takes writes, also after another was promoted
            "target_session_attrs": "any" if readonly else "read-write",
        }
        return {**defaults, **self.parameters, "client_encoding": "UTF8"}


def _place(host: str) -> str:
    """A host as a URL bears it: a folder percent-encoded, an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else quote(host, safe=".-")
