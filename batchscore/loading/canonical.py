"""The config written out: canonical bytes and their digest, and YAML with every default."""

from __future__ import annotations

import dataclasses
import hashlib
import io

import rfc8785
from ruamel.yaml import YAML

from batchscore.config import JobConfig, to_plain


def spell_out(config: JobConfig) -> JobConfig:
    """The config with defaults that follow from other values written in, such as the quarantine table."""
    output = config.output
    filled = dataclasses.replace(output, quarantine=output.quarantine_table, audit=output.audit_table)
    return dataclasses.replace(config, output=filled)


def canonical_config(config: JobConfig) -> bytes:
    """The config as canonical JSON: equal configs give equal bytes, however they were written.

    References stand as written, so no secret is in it.

    Source: RFC 8785, JSON Canonicalization Scheme.
    """
    return rfc8785.dumps(to_plain(spell_out(config)))


def config_sha256(config: JobConfig) -> str:
    """Hex digest of the canonical config."""
    return hashlib.sha256(canonical_config(config)).hexdigest()


def dump_yaml(config: JobConfig) -> str:
    """The resolved config as YAML with every default; references as written. Loading it gives the same config."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 1_000_000
    yaml.allow_unicode = True
    out = io.StringIO()
    yaml.dump(to_plain(spell_out(config)), out)
    return out.getvalue()
