"""Run keys: what decides the values of an interval, its digest, and where two of them differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from batchscore.config import JobConfig, to_plain
from batchscore.intervals import Interval
from batchscore.lineups import Lineup
from batchscore.records import SEMANTICS, PinnedTable
from batchscore.results import Place


def key_material(
    config: JobConfig,
    interval: Interval,
    pinned: PinnedTable,
    lookups: Mapping[str, PinnedTable],
    models: Lineup,
    suites: Mapping[Place, str],
    features: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that decides the values of one interval, and nothing else.

    Paths, engine, device, batch rows, the schedule and limits are recorded but not part of it: a faster engine or
    a moved table scores nothing again.

    Args:
        config: The job's config.
        interval: The interval.
        pinned: The pinned input.
        lookups: The pinned lookup tables.
        models: The pinned models.
        suites: Digest of each suite, by place.
        features: What decides the features' values beside the config: code, constants.
    """
    plain = to_plain(config)
    return {
        "semantics": SEMANTICS,
        "job": config.job,
        "input": [pinned.table_id, pinned.fingerprint],
        "interval": [interval.name, interval.grain],
        "lookups": {n: [p.table_id, p.version if p.by is None else None, p.fingerprint] for n, p in lookups.items()},
        "model": models.key,
        "checks": dict(suites),
        "config": {
            "interval": {k: plain["interval"][k] for k in ("column", "grain", "time_zone")},
            "input": {k: plain["input"][k] for k in ("key", "on_duplicate_key")},
            "lookups": {n: _of_lookup(c) for n, c in plain["lookups"].items()},
            "features": {"columns": [_of_feature(one) for one in plain["features"]["columns"]], **features},
            "model": _deciding(plain["model"]),
            "on_bad_score": plain["scoring"]["on_bad_score"],
            "passthrough": plain["output"]["passthrough"],
        },
    }


def _of_lookup(lookup: Mapping[str, Any]) -> dict[str, Any]:
    """What of a lookup's section decides values; windows where there are any, so that other lookups keep their key."""
    return {k: v for k, v in lookup.items() if k != "table" and (k != "windows" or v)}


def _of_feature(feature: Mapping[str, Any]) -> dict[str, Any]:
    """A feature; its encoder where it has one, so that others keep their key. An encoder's size only guides fitting."""
    kept = {k: v for k, v in feature.items() if k != "encode"}
    encode = feature["encode"]
    return {**kept, "encode": {k: encode[k] for k in ("do", "of")}} if encode else kept


def _deciding(model: Mapping[str, Any]) -> dict[str, Any]:
    """What of the model section decides values, beside the models; only what is given, so that new options re-key none.

    A challenger decides nothing.
    """
    decides = {k: model[k] for k in ("inputs", "outputs")}
    decides |= {k: model[k] for k in ("postprocess", "drop") if model[k]}
    own = [{k: member[k] for k in ("inputs", "outputs")} for member in model["ensemble"]]
    return {**decides, "ensemble": own} if any(any(member.values()) for member in own) else decides


def digest_key(material: Mapping[str, Any]) -> str:
    """The run key: sha256 of what decides the values, as canonical JSON."""
    return hashlib.sha256(rfc8785.dumps(dict(material))).hexdigest()


def find_differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Where two key materials differ, as dotted paths such as `features.columns[1].sql`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = [*old, *(name for name in new if name not in old)]
        # the config's own paths are what users know
        parts = ((name, where if name == "config" else f"{where}.{name}".lstrip(".")) for name in names)
        return [d for name, place in parts for d in find_differences(old.get(name), new.get(name), place)]
    if where.startswith("features.") and isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [d for i, (before, after) in pairs for d in find_differences(before, after, f"{where}[{i}]")]
    return [] if old == new else [where]
