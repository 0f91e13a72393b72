"""Finds one version of a registered model in MLflow, and opens the place where its files lie."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from batchscore.errors import ConfigError, ModelError, RegistryError
from batchscore.models.calls import ask, is_absent  # before mlflow: it sets what mlflow reads on import
from batchscore.models.deadline import Deadline
from batchscore.models.files import shown
from batchscore.redaction import redact

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # isort: skip
from mlflow.tracking import MlflowClient, get_registry_uri  # isort: skip

# Not MlflowClient: that one also opens the tracking store, which writes a default experiment into a database.
from mlflow.tracking._model_registry.client import ModelRegistryClient  # isort: skip

T = TypeVar("T")

_SCHEME = re.compile(r"(?:(sqlite|postgresql|mysql|mssql)(?:\+\w+)?|https?)://", re.IGNORECASE)
_SQLITE_PATH = re.compile(r"sqlite(?:\+\w+)?:///([^?]+)", re.IGNORECASE)
_LOGGED_MODEL = re.compile(r"models:/(m-[0-9a-f]{32})/?")
_LISTED = 10


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """One version of a registered model.

    Attributes:
        name: Registered name.
        version: Its number.
        alias: Alias that led here, if any.
        run_id: The run that logged it, if known.
        artifacts: URI of the folder that holds MLmodel; may hold credentials, so it is never shown as it is.
        registry: URI of the registry.
    """

    name: str
    version: int
    alias: str | None
    run_id: str | None
    artifacts: str
    registry: str

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"model {self.name}/{self.version}"


def find_version(
    name: str, alias: str | None, version: int | None, registry_uri: str | None, deadline: Deadline
) -> RegisteredVersion:
    """The version that an alias or a number names, now.

    Args:
        name: Registered name.
        alias: Alias; None where `version` is given.
        version: Number; None where `alias` is given.
        registry_uri: MLflow's URI of the registry; None takes MLflow's own setting.
        deadline: What is left of the time for talking to the registry.

    Raises:
        ConfigError: The registry's URI is of no kind that is supported.
        RegistryError: The registry cannot be reached, or refuses the credentials.
        ModelError: It has no such model, alias or version.
    """
    uri = registry_uri or get_registry_uri()
    if not _SCHEME.match(uri):
        raise ConfigError(
            f"registry {redact(uri)}: expected http(s)://, sqlite:///, postgresql://, mysql:// or mssql://. "
            "Move a folder registry (mlruns) to sqlite with `mlflow migrate-filestore`."
        )

    def read(action: Callable[[], T]) -> T:
        return ask(action, uri, deadline)

    read(lambda: _check_sqlite(uri))
    client = read(lambda: ModelRegistryClient(uri, uri))
    number, run_id, artifacts = _resolve(client, read, name, alias, version, f"registry {redact(uri)}")
    logged = _LOGGED_MODEL.fullmatch(artifacts)
    if logged:  # a version that only names a logged model, which the same registry knows
        artifacts = read(lambda: MlflowClient(uri, uri).get_logged_model(logged[1])).artifact_location
    return RegisteredVersion(name, number, alias, run_id, artifacts, uri)


def open_repository(found: RegisteredVersion) -> Any:
    """MLflow's artifact repository for a version's files."""
    # Only a server can also be asked for artifacts; beside a database, MLflow's own tracking setting decides.
    tracking = found.registry if found.registry.lower().startswith("http") else None
    return get_artifact_repository(found.artifacts, tracking_uri=tracking, registry_uri=found.registry)


def _resolve(
    client: Any, read: Callable[[Callable[[], Any]], Any], name: str, alias: str | None, version: int | None, where: str
) -> tuple[int, str | None, str]:
    """Version number, run and place of the files."""
    model = read(lambda: _unless_absent(lambda: client.get_registered_model(name)))
    if model is None:
        known = sorted(m.name for m in read(lambda: client.search_registered_models(max_results=_LISTED)))
        raise ModelError(
            f"{where}: expected a registered model {shown(name)}; found {_listed(known)}. "
            "Check model.uri and registry.uri, or register the model."
        )
    aliases = {str(a): int(v) for a, v in dict(model.aliases or {}).items()}
    number = version if alias is None else aliases.get(alias)
    found = None
    if number is not None:
        found = read(lambda: _unless_absent(lambda: client.get_model_version(name, str(number))))
    if found is None:
        versions = sorted(int(v.version) for v in read(lambda: client.search_model_versions(f"name='{name}'")))
        wanted = f"the alias {shown(alias)}" if alias is not None else f"version {version}"
        raise ModelError(
            f"{where}: expected {wanted} of the model {shown(name)}; found versions {_listed(versions)}, and "
            f"aliases {_listed([f'{a} (version {v})' for a, v in sorted(aliases.items())])}. "
            "Check model.uri, or set the alias."
        )
    if found.status != "READY":
        raise ModelError(f"model {name}/{number}: expected the status READY; found {shown(found.status)}.")
    place = read(lambda: client.get_model_version_download_uri(name, str(number)))
    return int(found.version), found.run_id or None, place


def _unless_absent(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except Exception as error:
        if is_absent(error):
            return None
        raise


def _listed(names: list[Any]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(str(name) for name in names[-_LISTED:]) or "none") + more


def _check_sqlite(uri: str) -> None:
    """Raises RegistryError for a file that MLflow would create, or migrate, when asked to read it."""
    path = _SQLITE_PATH.match(uri)
    if not path:
        if uri.lower().startswith("sqlite"):
            raise RegistryError(f"registry {redact(uri)}: expected sqlite:///PATH to a file; found no path.")
        return
    where = f"registry {redact(uri)}"
    if not Path(path[1]).is_file():
        raise RegistryError(f"{where}: expected a file at {redact(path[1])}; found none. Check registry.uri.")
    from mlflow.store.db.utils import Base  # noqa: PLC0415 - a server's registry need not pay for SQLAlchemy

    try:
        database = sqlite3.connect(f"file:{quote(path[1])}?mode=ro", uri=True, timeout=1.0)
        try:
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        finally:
            database.close()
    except sqlite3.DatabaseError as error:
        raise RegistryError(f"{where}: expected an MLflow database; found {error}.") from error
    if missing := sorted(set(Base.metadata.tables) - tables):
        raise RegistryError(
            f"{where}: expected an MLflow database of the installed version; found {len(missing)} tables missing "
            f"({', '.join(missing[:3])}). Run `mlflow db upgrade` on it, or check registry.uri."
        )
