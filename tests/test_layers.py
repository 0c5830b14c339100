"""The table of design.md section 9, held against the imports of the code."""

import ast
from pathlib import Path

import pytest

import hi_ml

SOURCE = Path(hi_ml.__file__).parent
ANYWHERE = {"errors", "config"}  # every module may refuse, and be configured
COMMANDS = {"predict", "compare", "train", "simulate", "track", "tune", "findings.__main__"}

# A layer imports from the layers above it; within a layer, a step from the steps before it.
LAYERS = {
    0: [{"errors", "config", "statistics", "serving", "wording", "bands"}],
    1: [{"tasks", "artifacts", "privacy", "launch", "stores"}],
    2: [{"datasets", "charts", "records", "delivered"}],
    3: [{"splits", "scoring", "features", "findings", "drift", "regions", "coverage"}],
    4: [{"encoding", "spaces", "contributions"}, {"models"}, {"explanations", "intervals"}],
    5: [
        {"problems", "leakage", "packaging", "measures", "reasons"},
        {"recalibration", "calibration", "subgroups", "comparison", "probes", "significance"},
        {"training"},
        {"refits", "meeting", "tuning"},
    ],
    6: [{"nested", "promotion", "history", "report", "runs", "batch"}, {"tracking"}],
    7: [COMMANDS],
}
DEPTH = {unit: (layer, step) for layer, steps in LAYERS.items() for step, units in enumerate(steps) for unit in units}


def unit(path):
    """The module or package that a file belongs to; a command inside a package is one of its own."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts) if parts[-1] == "__main__" else parts[0]


def imported(tree):
    """The modules and packages of hi_ml that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("hi_ml."))
        elif isinstance(node, ast.ImportFrom) and node.module == "hi_ml":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hi_ml."):
            yield node.module.split(".")[1]


def allowed(importer, found):
    """Whether one module or package may import another."""
    if importer == "serving":
        return False
    same = importer.removesuffix(".__main__") == found  # a command may import its own package
    return same or found in ANYWHERE or DEPTH[found] < DEPTH[importer]


FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py" and "conf" not in path.parts)
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def test_every_module_has_its_layer():
    assert {unit(path) for path in FILES} <= set(DEPTH)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_from_the_layers_above_its_own(path):
    assert [found for found in imported(TREES[path]) if not allowed(unit(path), found)] == []


@pytest.mark.parametrize(
    ("importer", "found", "may"),
    [
        ("statistics", "tasks", False),
        ("statistics", "errors", True),
        ("charts", "datasets", False),
        ("splits", "scoring", False),
        ("models", "explanations", False),
        ("explanations", "models", True),
        ("training", "train", False),
        ("train", "training", True),
        ("train", "track", False),
        ("serving", "errors", False),
        ("runs", "tracking", False),
        ("findings.__main__", "findings", True),
        ("findings", "report", False),
    ],
)
def test_the_rule_tells_right_from_wrong(importer, found, may):
    assert allowed(importer, found) == may


def test_every_way_to_import_is_seen():
    code = "import hi_ml.a.b\nfrom hi_ml import c, d\nfrom hi_ml.e.f import g\ndef h():\n    from hi_ml.i import j"
    assert list(imported(ast.parse(code))) == ["a", "c", "d", "e", "i"]


def test_the_commands_are_known():
    applications = {
        unit(path)
        for path, tree in TREES.items()
        if any(isinstance(node, ast.Attribute) and ast.unparse(node) == "hydra.main" for node in ast.walk(tree))
    }
    assert applications == COMMANDS


def test_commands_define_no_classes_and_are_imported_by_nothing():
    for path, tree in TREES.items():
        if unit(path) in COMMANDS:
            assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)], path.name
        assert not set(imported(tree)) & COMMANDS, path.name
        assert "__main__" not in ast.unparse(tree) or unit(path) in COMMANDS, path.name


def test_imports_are_absolute():
    for path, tree in TREES.items():
        relative = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
        assert not relative, path.name


def test_every_exception_stands_in_one_module():
    for path, tree in TREES.items():
        if unit(path) == "errors":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                assert not [base for base in node.bases if ast.unparse(base).endswith(("Error", "Exception"))], path


def test_only_what_starts_a_command_knows_omegaconf():
    for path, tree in TREES.items():
        names = {
            alias.name if isinstance(node, ast.Import) else node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        if "omegaconf" in names:
            assert unit(path) in {"config", "launch", *COMMANDS}, path.name
