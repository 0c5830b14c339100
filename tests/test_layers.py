"""The rooms of the house, in order, held against the imports of the code."""

import ast
from pathlib import Path

import pytest

import hi_ml

SOURCE = Path(hi_ml.__file__).parent
ROOMS = [  # each imports from itself and from those before it
    "app",
    "statistics",
    "scorer",
    "data",
    "claims",
    "modeling",
    "evaluation",
    "tracking",
    "prediction",
    "reports",
]
COMMANDS = {
    "train",
    "tune",
    "predict",
    "compare",
    "findings",
    "simulate",
    "track",
    "report",
    "describe",
    "listen",
    "replay",
    "board",
    "validate",
}
ENTRY = "__main__"  # lists the commands
INTERFACE = "interface"  # the same for a notebook: it may import what the commands may, and their settings
CONFIGURED = {"app/options.py", "app/references.py", "app/launch.py"}

FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py" and "conf" not in path.parts)
TREES = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in FILES}


def room(path):
    """The package that a file stands in, or the command that it is."""
    return path.split("/")[0].removesuffix(".py")


def imported(tree):
    """The dotted names of hi_ml that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name[6:] for alias in node.names if alias.name.startswith("hi_ml."))
        elif isinstance(node, ast.ImportFrom) and node.module == "hi_ml":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hi_ml."):
            yield node.module[6:]


def allowed(importer, name):
    """Whether a file of one room, or a command, may import a dotted name."""
    owner = name.split(".")[0]
    if importer == ENTRY:
        return owner == "app"
    if importer == INTERFACE:
        return owner in {*ROOMS, *COMMANDS}
    if importer in COMMANDS:
        return owner in ROOMS or (importer, owner) == ("tune", "train")
    return owner in ROOMS and ROOMS.index(owner) <= ROOMS.index(importer)


def test_in_the_root_stand_the_commands_the_interface_and_the_rooms_alone():
    assert {room(path) for path in TREES} == {*COMMANDS, ENTRY, INTERFACE, *ROOMS}


@pytest.mark.parametrize("path", TREES)
def test_a_module_imports_only_from_its_room_and_those_before(path):
    assert [name for name in imported(TREES[path]) if not allowed(room(path), name)] == []


@pytest.mark.parametrize(
    ("importer", "name", "may"),
    [
        ("statistics", "modeling.tasks", False),
        ("statistics", "app.errors", True),
        ("claims", "claims.verdicts", True),
        ("claims", "reports.findings", False),
        ("modeling", "evaluation.training", False),
        ("evaluation", "modeling.models", True),
        ("evaluation", "train", False),
        ("train", "evaluation.training", True),
        ("train", "track", False),
        ("tune", "train", True),
        ("train", "tune", False),
        ("train", "interface", False),
        ("interface", "train", True),
    ],
)
def test_the_rule_tells_right_from_wrong(importer, name, may):
    assert allowed(importer, name) == may


def test_every_way_to_import_is_seen():
    code = "import hi_ml.a.b\nfrom hi_ml import c, d\nfrom hi_ml.e.f import g\ndef h():\n    from hi_ml.i import j"
    assert list(imported(ast.parse(code))) == ["a.b", "c", "d", "e.f", "i"]


def test_what_leaves_the_house_imports_nothing_of_it():
    assert list(imported(TREES["scorer/serving.py"])) == []


def test_commands_define_their_settings_alone_and_nothing_else_is_run():
    for path, tree in TREES.items():
        classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        assert room(path) not in COMMANDS or classes == [f"{room(path).title()}Settings"], path
        assert "__main__" not in ast.unparse(tree) or room(path) in {*COMMANDS, ENTRY}, path


def test_a_public_class_has_a_name_of_its_own():
    names = [
        node.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert [name for name in names if names.count(name) > 1] == []


def test_nothing_is_decided_by_the_name_of_a_table():
    shipped = {path.stem for path in (SOURCE.parents[1] / "conf" / "dataset").glob("*.yaml")}
    assert "kaggle" in shipped
    for path, tree in TREES.items():
        asked = (node for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.match_case))
        said = {one.value for node in asked for one in ast.walk(node) if isinstance(one, ast.Constant)}
        assert not said & shipped, path


def test_imports_are_absolute():
    for path, tree in TREES.items():
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level], path


def test_every_exception_stands_in_one_room():
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not path.startswith("app/errors/"):
                assert not [base for base in node.bases if ast.unparse(base).endswith(("Error", "Exception"))], path


def test_only_what_starts_a_command_knows_omegaconf():
    for path, tree in TREES.items():
        names = {
            alias.name if isinstance(node, ast.Import) else node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert "omegaconf" not in names or path in CONFIGURED, path
