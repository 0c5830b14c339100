"""What does a run say to each item of TRIPOD+AI, the checklist for reports of prediction models?

Collins et al. (2024), BMJ 385, e078378: 27 items, 52 with their parts. https://doi.org/10.1136/bmj-2023-078378
"""

from collections.abc import Mapping
from importlib.resources import files
from string import Formatter
from typing import Any

import yaml

from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.text import counted
from hi_ml.modeling.scores.score import title

_PERSONS = ("patient_id", "linkable")  # what tells patients apart; where names are chance, nothing does
NOT_STATED, OF_RUN, OF_PERSON = "not stated", "the run", "a person"


def items(facts: Mapping[str, Any], stated: Mapping[str, str | None]) -> list[dict[str, str]]:
    """Answer every item: by what a person says, else by the run, else not at all.

    Parameters
    ----------
    facts : mapping
        ``run``, ``verdict``, ``data`` and ``leakage`` of a run folder, with ``answer`` and ``measures`` in words.
    stated : mapping of str to str or None
        By item.

    Raises
    ------
    ConfigurationInvalid
        If something is stated to an item that there is not.
    """
    every = yaml.safe_load(files("hi_ml.reports").joinpath("tripod_ai.yaml").read_text("utf-8"))
    for number in stated:
        if number not in every:
            raise ConfigurationInvalid.not_one_of("report", number, list(every))
    words = {**facts, **_words(facts)}
    return [_item(number, item, words, stated.get(number)) for number, item in every.items()]


def _item(number: str, item: Mapping[str, str | None], words: Mapping[str, Any], stated: str | None) -> dict[str, str]:
    says = _InWords().vformat(item["says"] or "", (), words)
    source = OF_PERSON if stated else OF_RUN if says else NOT_STATED
    return {"item": number, "asks": str(item["asks"]), "says": stated or says or NOT_STATED, "source": source}


class _InWords(Formatter):
    """Formats numbers; what is told in words already stays."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """Format one value."""
        return value if isinstance(value, str) else str(super().format_field(value, format_spec))


def _words(facts: Mapping[str, Any]) -> dict[str, Any]:
    run, data = facts["run"], facts["data"]
    unseen, said = run["unseen_in_test"], run["sentences"]
    updated = next((note for note in run["notes"] if "recalibrated" in note), "The model was not recalibrated.")
    labels = run["kind"] == "classification"
    return {
        "task": run["task"].replace("_", " "),
        "sha": data["sha256"][:12],
        "used": ", ".join(role.replace("_", " ") for role in data["used"]),
        "n_used": len(data["used"]),
        "refused": ", ".join(f"{role.replace('_', ' ')} ({why})" for role, why in data["refused"].items()) or "none",
        "parts": ", ".join(f"{part} {counted(count)}" for part, count in run["parts"].items()),
        "clusters": "patients" if data["patients_told_apart_by"] in _PERSONS else "admissions",
        "loss": title(facts["verdict"]["score"]),
        "recalibration": updated,
        "output": "The probability of each label, the likeliest one, and a set of labels."
        if labels
        else f"An amount in {run['unit']}, with an interval.",
        "unseen": sum(count for count in unseen.values() if isinstance(count, int)),
        "unseen_by": ", ".join(f"{role.replace('_', ' ')} {counted(count)}" for role, count in unseen.items())
        or "none",
        "calibration": said.get("calibration") or "",
        "subgroups": said.get("subgroups") or "No groups were compared.",
    }
