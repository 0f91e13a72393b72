"""Rules of the features section: where each feature comes from, its encoder, and the files that the section names."""

from __future__ import annotations

from collections.abc import Iterator

from batchscore.config import EncodeConfig, JobConfig
from batchscore.loading.faults import Finding, Path, find_doubled
from batchscore.patterns import RESERVED_PREFIX

MAX_ENCODER_SIZES = {"one_hot": 1000, "ordinal": 1000, "hash": 2**31 - 1, "bucketize": 1000}


def find_feature_faults(job: JobConfig) -> Iterator[Finding]:
    """Every broken rule of the section."""
    yield from _check_features(job)
    yield from _check_modules(job)
    yield from _check_sources(job)


def _check_features(job: JobConfig) -> Iterator[Finding]:
    columns = job.features.columns
    for position in find_doubled([feature.name.lower() for feature in columns]):
        where: Path = ("features", "columns", position, "name")
        yield Finding(where, "doubled", f"feature '{columns[position].name}' stands twice")
    for position, feature in enumerate(columns):
        where = ("features", "columns", position)
        if not feature.name.strip() or feature.name.startswith(RESERVED_PREFIX):
            expected = "a feature's name is not empty and does not start with '_'"
            yield Finding((*where, "name"), "bad-name", expected)
        given = [key for key in ("sql", "from_", "encode") if getattr(feature, key) is not None]
        if len(given) > 1:
            what = f"expected one of `sql`, `from` and `encode`; found {' and '.join(key.strip('_') for key in given)}"
            yield Finding(where, "too-many", f"{what}; keep one")
        if feature.encode is not None:
            yield from _check_encoder((*where, "encode"), feature.encode, job)
        if feature.sql is not None and not feature.sql.strip():
            yield Finding((*where, "sql"), "empty", "expected a SQL expression")


def _check_encoder(where: Path, encode: EncodeConfig, job: JobConfig) -> Iterator[Finding]:
    if job.features.constants is None:
        what = "an encoder's constants are fitted once and read from a file; name it as `features.constants`"
        yield Finding(where, "missing-key", what, reads=(("features", "constants"),))
    if not encode.of.strip():
        yield Finding((*where, "of"), "empty", "expected a column or a feature")
    if encode.size is not None and encode.do in ("scale", "impute"):
        yield Finding((*where, "size"), "not-used", f"`do: {encode.do}` has no size; remove it")
    elif encode.size is not None and not 2 <= encode.size <= MAX_ENCODER_SIZES[encode.do]:
        most = MAX_ENCODER_SIZES[encode.do]
        yield Finding((*where, "size"), "out-of-range", f"expected 2 to {most} for `do: {encode.do}`")


def _check_modules(job: JobConfig) -> Iterator[Finding]:
    for position, module in enumerate(job.features.modules):
        where: Path = ("features", "modules", position)
        if not module.endswith(".py"):
            yield Finding(where, "not-a-file", "expected a Python file, such as 'flights_features.py'")
        elif module in job.features.modules[:position]:
            yield Finding(where, "doubled", f"module '{module}' stands twice; remove one")
    if job.features.constants is not None and not job.features.constants.strip():
        yield Finding(("features", "constants"), "empty", "expected the path of a JSON file")


def _check_sources(job: JobConfig) -> Iterator[Finding]:
    for position, feature in enumerate(job.features.columns):
        if feature.from_ is None:
            continue
        where: Path = ("features", "columns", position, "from")
        name, dot, column = feature.from_.partition(".")
        known = job.lookups.get(name)
        if known is None or not dot:
            names = ", ".join(job.lookups) or "none"
            candidates = tuple(f"{name}.{column}" for name, lookup in job.lookups.items() for column in lookup.brings)
            expected = f"expected LOOKUP.COLUMN; the lookups are: {names}"
            yield Finding(where, "unknown-lookup", expected, candidates, (("lookups",),))
        elif column not in known.brings:
            candidates = tuple(f"{name}.{column}" for column in known.brings)
            brings = f"lookup '{name}' brings: {', '.join(known.brings)}"
            yield Finding(where, "unknown-column", brings, candidates, (("lookups", name),))
