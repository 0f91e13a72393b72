"""Stores: whether the place of a table lets several drivers commit to it without one of them losing its commit."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlparse

from batchscore.errors import ConfigError

# Delta's own log store for these counts on rename or on creation that fails where a file stands.
# Source: https://docs.delta.io/delta-storage; DelegatingLogStore of Delta 4.4.0.
SAFE_SCHEMES = frozenset("file hdfs viewfs abfs abfss adl wasb wasbs gs".split())
# Log stores that Delta has for others; whoever sets one has told Delta how to commit there.
SAFE_LOG_STORES = {
    **dict.fromkeys(("s3", "s3a", "s3n"), "io.delta.storage.S3DynamoDBLogStore"),
    "oci": "io.delta.storage.OracleCloudLogStore",
    "cos": "io.delta.storage.IBMCOSLogStore",
}
_ANY_LOG_STORE = "one whose commits never replace another's"
# They keep apart the writers of one driver alone, or count on a rename that object stores do not have.
UNSAFE_LOG_STORES = frozenset({"S3SingleDriverLogStore", "HDFSLogStore", "LocalLogStore"})


def check_store(
    where: str, location: str, setting: Callable[[str], str | None], *, single_driver: bool, delta: bool = True
) -> None:
    """Refuse a table on a store where two drivers that commit at once may both be told that they have.

    Args:
        where: The config key that names the table.
        location: Where it lies.
        setting: Gives a setting of the Spark application by its name; None where it is not set.
        single_driver: Whether the user promises that one driver at a time publishes.
        delta: Whether it is stored as Delta; a log store means nothing elsewhere.

    Raises:
        ConfigError: The store is none of those that are known to be safe, and nothing else makes it so.
    """
    scheme = urlparse(location).scheme.lower()
    if not scheme or scheme in SAFE_SCHEMES or single_driver:
        return
    key = f"spark.delta.logStore.{scheme}.impl"
    chosen = setting(key) or setting(key.removeprefix("spark.")) if delta else None
    if chosen and _is_safe(chosen, scheme):
        return
    found = f"{key}={chosen}" if chosen else f"no {key}"
    log_store = f"Set {key} to {SAFE_LOG_STORES.get(scheme, _ANY_LOG_STORE)} in engine.conf or for spark-submit, or "
    raise ConfigError(
        f"{where} {location}: expected a store on which two drivers cannot both make the same version of a table; "
        f"found '{scheme}'{f' with {found}' if delta else ''}. {log_store if delta else ''}"
        f"{'see' if delta else 'See'} to it that one driver at a time publishes, and say so: "
        "`output.single_driver: true`."
    )


def _is_safe(log_store: str, scheme: str) -> bool:
    """Whether a log store is Delta's for this scheme, or somebody's own."""
    package, _, name = log_store.rpartition(".")
    if name not in UNSAFE_LOG_STORES:
        return True
    # A store that Delta knows nothing of may well have an atomic rename: whoever names this class says so.
    return name == "HDFSLogStore" and scheme not in SAFE_LOG_STORES and package == "io.delta.storage"
