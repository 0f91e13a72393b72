"""What defines each feature, as canonical values and their digest: the same in training and scoring, or skew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import rfc8785

from batchscore.config import FeatureConfig, ImputeConfig, Job, LookupConfig, to_plain
from batchscore.errors import ModelError
from batchscore.features.build import Sources
from batchscore.features.encoders import constants_of, read_constants
from batchscore.features.modules import Function, read_modules
from batchscore.features.words import find_words, level_spaces
from batchscore.references import resolve_file

FORM = 1  # raise when the same definitions would give other digests


@dataclass(frozen=True, slots=True)
class Definition:
    """One feature.

    Attributes:
        sha256: Digest of all that decides its value: its expression or code, what it reads, constants, null policy.
        text: The definition for people, in one line.
        parts: Digest of each feature, function and lookup that it leads to, by name.
    """

    sha256: str
    text: str
    parts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Definitions:
    """The features of a job.

    Attributes:
        features: Each of them, by name, in the job's order.
        keyed: What of them decides values and stands in no other part of the run key; empty where nothing does.
    """

    features: Mapping[str, Definition]
    keyed: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Digest of all features together, whatever their order."""
        return _digest({name: one.sha256 for name, one in self.features.items()})

    def logged(self) -> str:
        """What is logged with a model that was trained with these features: JSON."""
        plain = {name: asdict(one) for name, one in self.features.items()}
        return json.dumps({"form": FORM, "sha256": self.sha256, "features": plain}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Skew:
    """A feature that a model was trained with in another form.

    Attributes:
        model: `name/version` of the model.
        feature: The feature.
        trained: Its definition with the model; empty where there was none.
        job: Its definition in the job.
    """

    model: str
    feature: str
    trained: str
    job: str


def read_sources(job: Job, constants: Mapping[str, Any] | None = None) -> Sources:
    """The job's Python features and encoders' constants, read from their files.

    Args:
        job: The job.
        constants: Constants in place of the file's.

    Raises:
        ConfigError: A file is missing or of no use.
    """
    config = job.config.features
    functions = read_modules({named: resolve_file(named, job.folder) for named in config.modules})
    named = config.constants or ""
    encoded = any(feature.encode is not None for feature in config.columns)
    if constants is None and encoded:
        constants = read_constants(named, resolve_file(named, job.folder))
    return Sources(
        functions=functions,
        constants=constants or {},
        constants_file=named,
        where_of=lambda position: job.where(f"features.columns.{position}"),
    )


def define_features(job: Job, sources: Sources, features: Sequence[FeatureConfig]) -> Definitions:
    """What defines each of a job's features; asks neither Spark nor tables.

    What an expression reads is found by its words, so a name that only looks like a feature's counts, too: a digest may
    then differ where values would not, never the other way round.

    Args:
        job: The job.
        sources: Its Python features and constants.
        features: Its features, or the columns that its model asks for.

    Raises:
        ConfigError: A constant is missing.
    """
    return _Definer(job, sources, features).all()


def find_skew(label: str, logged: Mapping[str, Any], taken: list[str], own: Definitions) -> list[Skew]:
    """The features of a model whose definitions were others when it was trained.

    Args:
        label: `name/version` of the model.
        logged: What was logged with it, as `Definitions.logged` gives it.
        taken: The features that it takes.
        own: The job's definitions.

    Raises:
        ModelError: What was logged is of another form.
    """
    if logged.get("form") != FORM or not isinstance(logged.get("features"), Mapping):
        raise ModelError(
            f"model {label}: expected feature definitions of form {FORM}; found form {logged.get('form')}. Log the "
            "model again with this version of batchscore, or set `features.on_hash_mismatch: ignore`."
        )
    found = []
    for name in taken:
        trained = logged["features"].get(name)
        mine = own.features[name]
        if trained is None or trained.get("sha256") != mine.sha256:
            text = str(trained.get("text", "?")) if trained else ""
            found.append(Skew(label, name, text, f"{mine.text}{_name_parts(trained, mine)}"))
    return found


def _name_parts(trained: Mapping[str, Any] | None, mine: Definition) -> str:
    """What a feature reads that was defined otherwise, for people."""
    parts = (trained or {}).get("parts")
    if not isinstance(parts, Mapping):
        return ""
    changed = [name for name in {**parts, **mine.parts} if parts.get(name) != mine.parts.get(name)]
    return f" (defined otherwise: {', '.join(changed)})" if changed else ""


class _Definer:
    def __init__(self, job: Job, sources: Sources, features: Sequence[FeatureConfig]) -> None:
        self._config = job.config
        self._sources = sources
        self._listed = {feature.name: feature for feature in features}
        self._folded = {name.lower(): name for name in [*sources.functions, *self._listed]}
        self._lookups = {name.lower(): lookup for name, lookup in job.config.lookups.items()}
        self._values: dict[str, str] = {}
        self._direct: dict[str, dict[str, str]] = {}  # what each reads, with its digest
        self._code: dict[str, str] = {}

    def all(self) -> Definitions:
        made = {name: self._definition(feature) for name, feature in self._listed.items()}
        encoded = {n: self._constants(n, f) for n, f in self._listed.items() if f.encode is not None}
        keyed = {**({"code": self._code} if self._code else {}), **({"constants": encoded} if encoded else {})}
        return Definitions(made, keyed)

    def _definition(self, feature: FeatureConfig) -> Definition:
        policy = to_plain(feature.on_null)
        shown = f"impute {feature.on_null.impute}" if isinstance(feature.on_null, ImputeConfig) else feature.on_null
        text = f"{self._text(feature)}, {shown}"
        value = self._value(feature.name, ())
        parts = dict(sorted(self._parts(feature.name, {}).items()))
        return Definition(_digest({"value": value, "on_null": policy}), text, parts)

    def _parts(self, name: str, found: dict[str, str]) -> dict[str, str]:
        for part, digest in self._direct.get(name, {}).items():
            if part not in found:
                found[part] = digest
                self._parts(part, found)
        return found

    def _text(self, feature: FeatureConfig) -> str:
        if feature.sql is not None:
            return " ".join(feature.sql.split())
        if feature.from_ is not None:
            return f"{feature.from_}{_times(self._lookups.get(feature.from_.partition('.')[0].lower()))}"
        if feature.encode is not None:
            constants = json.dumps(self._constants(feature.name, feature), ensure_ascii=False)
            shown = constants if len(constants) <= 80 else f"{constants[:77]}..."
            return f"{feature.encode.do} of {feature.encode.of} {shown}"
        function = self._sources.functions.get(feature.name)
        if function is not None:
            return f"{function.file}, code {_digest(function.code)[:12]}"
        return "input column"

    def _constants(self, name: str, feature: FeatureConfig) -> dict[str, Any]:
        assert feature.encode is not None
        return constants_of(name, feature.encode, self._sources.constants, self._sources.constants_file)

    def _value(self, name: str, path: tuple[str, ...]) -> str:
        """Digest of what decides a feature's value before its null policy; of a cycle, the name alone."""
        if name in path:
            return name
        if name not in self._values:
            self._values[name] = _digest(self._define(name, (*path, name)))
        return self._values[name]

    def _define(self, name: str, path: tuple[str, ...]) -> dict[str, Any]:
        feature, function = self._listed.get(name), self._sources.functions.get(name)
        zone = self._config.interval.time_zone
        if feature is not None and feature.sql is not None:
            return {"sql": level_spaces(feature.sql), "zone": zone, "reads": self._reads(find_words(feature.sql), path)}
        if feature is not None and feature.from_ is not None:
            lookup, _, column = feature.from_.partition(".")
            return {"lookup": _of_lookup(self._lookups[lookup.lower()], column), "column": column}
        if feature is not None and feature.encode is not None:
            encode, constants = feature.encode, self._constants(name, feature)
            own = {"encode": encode.do, "of": encode.of.lower(), "constants": constants}
            return {**own, "reads": self._reads([encode.of], path)}
        if function is not None:
            self._code[name] = _digest(function.code)
            return {**_of_function(function), "zone": zone, "reads": self._reads(function.mark.inputs, path)}
        return {"column": name}

    def _reads(self, names: Sequence[str], path: tuple[str, ...]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in names:
            own = self._folded.get(name.lower())
            lookup = self._lookups.get(name.lower())
            if own is not None:
                found[own] = self._value(own, path)
            elif lookup is not None:
                found[name.lower()] = _digest(_of_lookup(lookup, None))
        self._direct[path[-1]] = found
        return found


def _of_function(function: Function) -> dict[str, Any]:
    return {"code": function.code, "kind": function.mark.kind, "returns": function.mark.returns}


def _of_lookup(lookup: LookupConfig, column: str | None) -> dict[str, Any]:
    """What of a lookup decides the value of a column of it, or of any; never where its table lies."""
    plain = to_plain(lookup)
    kept = {key: plain[key] for key in ("on", "at", "known_at", "max_age")}
    if lookup.known_at is not None and not lookup.windows:
        kept["columns"] = plain["columns"]  # of rows that tie the greatest counts, column by column
    if column is None:
        return {**kept, "windows": plain["windows"]}
    return {**kept, "window": plain["windows"].get(column)}


def _times(lookup: LookupConfig | None) -> str:
    if lookup is None or lookup.known_at is None:
        return ""
    return f" (known before {lookup.at}" + (f", within {lookup.max_age})" if lookup.max_age else ")")


def _digest(value: Any) -> str:
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()
