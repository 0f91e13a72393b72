"""Scenarios of the model of publishing, and the variants of the protocol that break a law in one of them."""

from __future__ import annotations

from publish_laws import Scenario

SCENARIOS = (
    Scenario(("run a", "run a"), 1),
    Scenario(("run a", "run b"), 1),
    Scenario(("run a", "repair"), 2),
    Scenario(("run a", "optimize", "run b")),
    Scenario(("force a", "run a"), 1, "a"),
    Scenario(("force a", "force a"), 0, "a"),
    Scenario(("rollback", "run a"), 2, "ab"),
    Scenario(("rollback", "rollback"), 1, "ab"),
    Scenario(("rollback", "run c"), 0, "ab"),
    Scenario(("hold a", "hold a"), 1),
    Scenario(("hold a", "override", "repair"), 1),
    Scenario(("hold a", "discard", "override"), 1),
    Scenario(("hold a", "run b", "override")),
    Scenario(("override", "discard"), 2, "a", "held c"),
    Scenario(("override", "override", "discard"), 1, "a", "held c"),
    Scenario(("override", "expire", "discard"), 1, "a", "held c"),
    Scenario(("override", "rollback"), 1, "ab", "held c"),
    Scenario(("override", "run c"), 1, "a", "held c"),
    Scenario(("override", "run b"), 0, "a", "held c"),
    Scenario(("resume", "resume", "discard"), 1, "a", "failed c"),
    Scenario(("resume", "expire"), 2, "a", "abandoned c"),
    Scenario(("resume", "repair", "discard"), 1, "a", "staged c"),
    Scenario(("resume", "rollback"), 1, "ab", "failed c"),
    Scenario(("resume", "run c"), 0, "a", "failed c"),
    Scenario(("resume", "run b"), 0, "a", "abandoned c"),
    Scenario(("repair", "repair"), 2, "a", "partial c"),
)
FULL = (
    Scenario(("run a", "run a", "run b")),
    Scenario(("run a", "run b"), 2),
    Scenario(("run a", "force a"), 1),
    Scenario(("run a", "run b", "rollback"), 0, "c"),
    Scenario(("rollback", "run c"), 1, "ab"),
    Scenario(("rollback", "run c", "run a"), 0, "ab"),
    Scenario(("rollback", "override", "discard"), 1, "ab", "held c"),
    Scenario(("override", "run b"), 1, "a", "held c"),
    Scenario(("override", "discard", "run b"), 1, "a", "held c"),
    Scenario(("override", "override", "discard"), 2, "a", "held c"),
    Scenario(("resume", "run b"), 1, "a", "failed c"),
    Scenario(("resume", "resume", "run b"), 0, "a", "abandoned c"),
    Scenario(("resume", "discard", "run c"), 0, "a", "staged c"),
    Scenario(("hold a", "run b", "override"), 1),
)
_RACE = Scenario(("run a", "run b"))
_HELD = Scenario(("override", "discard"), 1, "a", "held c")
_RESUMED = Scenario(("resume", "discard"), 1, "a", "failed c")
_REPAIRED = Scenario(("run a", "repair"), 1)
# Name of what is broken: where it shows, and as what.
MUTANTS = {
    "no transaction id": (_RACE, "generations do not rise"),
    "exceptions are trusted": (_REPAIRED, "the audit calls a published run failed"),
    "success is trusted": (_RACE, "false success: a driver reports published, the log has nothing of it"),
    "log store without put-if-absent": (_RACE, "the audit is no prefix of the scores log"),
    "generation read after the account": (_RACE, "a run was published over one that its plan had not seen"),
    "quarantine after scores": (_REPAIRED, "a published run has its quarantine rows 0 times"),
    "quarantine replaced by interval": (_RACE, "a published run has its quarantine rows 0 times"),
    "quarantine without a transaction id": (
        Scenario(("resume", "repair"), 1, "a", "failed c"),
        "a published run has its quarantine rows 2 times",
    ),
    "audit before scores": (_RACE, "the audit is no prefix of the scores log"),
    "audit without compare-and-set": (_REPAIRED, "the audit holds a commit twice"),
    "chain keyed by sequence number": (Scenario(("run a", "rollback"), 1, "ab"), "the audit holds a commit twice"),
    "chain keyed by table version": (Scenario(("run a", "optimize", "run b")), "the audit holds a commit twice"),
    "a skipped append counts as done": (_REPAIRED, "a stage goes without a word in the audit"),
    "events are never left out": (Scenario(("hold a", "repair"), 1), "the audit holds an event twice"),
    "failure looks at unfolded commits only": (_REPAIRED, "the audit calls a published run failed"),
    "an older key is not looked for": (
        Scenario(("run a", "rollback"), 1, "ab"),
        "a plain run published a key that the interval had before",
    ),
    "an older key counts as unchanged": (
        Scenario(("run a", "rollback"), 1, "ab"),
        "false success: unchanged, but another key stands",
    ),
    "no salt": (Scenario(("force a", "run a"), 0, "a"), "a run key was published twice"),
    "rollback copies no quarantine": (
        Scenario(("rollback",), 0, "ab"),
        "a published run has its quarantine rows 0 times",
    ),
    "rollback reads the newest version": (Scenario(("rollback",), 0, "ab"), "a run published the rows of another key"),
    "override under the held run's id": (_HELD, "a held run was published under its own id"),
    "override does not look whether it is held": (
        Scenario(("override", "run b"), 0, "a", "held c"),
        "a run was published over one that its plan had not seen",
    ),
    "a hold outlives a newer run": (
        Scenario(("hold a", "run b", "override")),
        "a run was published over one that its plan had not seen",
    ),
    "resume takes a new generation": (
        Scenario(("resume", "run b"), 0, "a", "failed c"),
        "a run was published over one that its plan had not seen",
    ),
    "resume does not look for a discard": (_RESUMED, "a discarded run is published"),
    "a busy resume tells a failure": (
        Scenario(("resume", "resume"), 0, "a", "failed c"),
        "the audit calls a published run failed",
    ),
    "discard without a claim": (_HELD, "a discarded run is published"),
    "discard does not read the log": (_HELD, "a discarded run is published"),
    "claims do not exclude": (_HELD, "a discarded run is published"),
    "repair ignores claims": (_REPAIRED, "repair touches the stage of a live driver"),
    "repair looks without a claim": (_HELD, "repair touches the stage of a live driver"),
    "repair ignores the scores log": (_REPAIRED, "the audit calls a published run abandoned"),
    "repair does not know overrides": (
        Scenario(("override", "expire"), 1, "a", "held c"),
        "a discarded run is published",
    ),
    "repair leaves untold holds": (Scenario(("hold a", "repair"), 1), "at the end a held stage has no event"),
}
