"""Typed settings from the environment: read once, all faults reported together.

A settings class is a frozen `msgspec.Struct`; each field's `Meta` holds its bounds and the
reason it exists. The variable is the field's name in upper case. `NAME_FILE` may name a file
that holds the value, for secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

S = TypeVar("S", bound=msgspec.Struct)

# Settings that every service has, in the words of OpenTelemetry's specification.
TraceEndpoint = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A(https?://[^/ ]+(/.*)?)?\Z",
        description="a collector that takes traces as OTLP over HTTP (`http://collector:4318`); empty: none "
        "are made. OTEL_EXPORTER_OTLP_HEADERS and the like hold too",
    ),
]
Socket = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A(/[^,]{1,99})?\Z",
        description="a Unix socket to serve on besides the port: an absolute path; empty: none. Our user and "
        "group may connect, if they may enter its folder",
    ),
]
TraceQueue = Annotated[
    int, msgspec.Meta(ge=1, le=1_000_000, description="most spans waiting to be sent; past it the oldest go")
]


class SettingsError(Exception):
    """One or more settings are missing or wrong; `faults` lists all of them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("wrong settings:\n" + "\n".join(f"  {fault}" for fault in faults))
        self.faults = faults


def load(cls: type[S], environ: Mapping[str, str]) -> S:
    """Read `cls` from `environ`.

    Raises:
        SettingsError: with every fault found, not only the first.
    """
    hints = get_type_hints(cls, include_extras=True)
    values: dict[str, Any] = {}
    faults: list[str] = []
    for field in msgspec.structs.fields(cls):
        name = field.name.upper()
        try:
            raw = given(name, environ)
            if raw is not None:
                values[field.name] = _convert(raw, hints[field.name])
            elif field.required:
                faults.append(f"{name} is required: {describe(hints[field.name])}")
        except msgspec.ValidationError as error:
            reason = describe(hints[field.name])
            faults.append(f"{name}: {error}" + (f" ({reason})" if reason else ""))
        except OSError as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise SettingsError(faults)
    return cls(**values)


def describe(hint: Any) -> str:
    """Return the reason given in a field's `Meta`, or an empty string."""
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, msgspec.Meta) and extra.description:
                return extra.description
    return ""


def given(name: str, environ: Mapping[str, str]) -> str | None:
    """Return a variable, or what is in the file that `NAME_FILE` names; None: neither is there."""
    if name in environ:
        return environ[name]
    if path := environ.get(f"{name}_FILE"):
        return Path(path).read_text().strip()
    return None


def _convert(raw: str, hint: Any) -> Any:
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    # Lists (PUBLIC_GAMES=demo,chess) are comma-separated: the usual form in an environment.
    if get_origin(bare) is tuple:
        return msgspec.convert([part.strip() for part in raw.split(",") if part.strip()], hint, strict=False)
    return msgspec.convert(raw, hint, strict=False)
