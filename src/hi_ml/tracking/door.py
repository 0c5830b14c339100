"""Is a run folder from anywhere one that may be registered? A digest inside it proves nothing of a stranger."""

import hashlib
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from hi_ml.app.config import Name
from hi_ml.app.errors import RunFolderInvalid
from hi_ml.scorer import serving
from hi_ml.scorer.versions import KNOWN
from hi_ml.tracking.folder import RunFolder

_ABOUT, _CODE = "MLmodel", Path(serving.__file__).name
_FILES = re.compile(
    rf"{_ABOUT}|{re.escape(_CODE)}|conda\.yaml|python_env\.yaml|requirements\.txt|(serving_)?input_example\.json"
    r"|artifacts/scorer/\w+\.(json|skops)"
)
_LOADER = "mlflow.pyfunc.loaders.code_model"
_PACKAGES = re.compile(r"(catboost|lightgbm|mlflow|numpy|pandas|pyarrow|scikit-learn|skops)==[\w.]+")


def refuse_strange(folder: RunFolder, trust: Collection[str] = ()) -> None:
    """Let nothing into the store that hi_ml did not write.

    Parameters
    ----------
    trust : collection of str
        ``sha256:<digest>`` of other scorers, the code that a model carries, that may be registered.

    Raises
    ------
    RunFolderInvalid
        If something in the folder is a link, has a name that means something in a path, or is of a model that would
        run other code than a scorer of this project.
    """
    for path in folder.path.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise RunFolderInvalid.strange(folder.path, f"{path.relative_to(folder.path)} is a link, no file")
    run = folder.load("run")
    for key in ("dataset", "task", "model"):
        _refuse_name(folder.path, key, run.get(key) if isinstance(run, dict) else None)
    if folder.model.is_dir():
        _refuse_model(folder, trust)


def _refuse_name(folder: Path, key: str, name: Any) -> None:
    try:
        if name is not None:
            TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        what = f"its {key} is {str(name)[:80]!r}, which is no name of letters, digits, spaces, _ and -"
        raise RunFolderInvalid.strange(folder, what) from error


def _refuse_model(folder: RunFolder, trust: Collection[str]) -> None:
    model = folder.model
    for path in (path for path in model.rglob("*") if path.is_file()):
        if not _FILES.fullmatch(name := path.relative_to(model).as_posix()):
            raise RunFolderInvalid.strange(folder.path, f"model/{name} is no file of a model of hi_ml")
    code = hashlib.sha256((model / _CODE).read_bytes()).hexdigest() if (model / _CODE).is_file() else ""
    ours = hashlib.sha256(Path(serving.__file__).read_bytes()).hexdigest()
    if code not in {ours, *KNOWN} and f"sha256:{code}" not in trust:
        raise RunFolderInvalid.unknown_code(folder.path, f"model/{_CODE}", code)
    if not _loads_the_scorer(model / _ABOUT):
        raise RunFolderInvalid.strange(folder.path, f"model/{_ABOUT} names other code than model/{_CODE}")
    needed = model / "requirements.txt"
    lines = needed.read_text(encoding="utf-8", errors="replace").split() if needed.is_file() else []
    if strange := [line for line in lines if not _PACKAGES.fullmatch(line)]:
        raise RunFolderInvalid.strange(folder.path, f"model/{needed.name} asks for {strange[0][:80]!r}")


def _loads_the_scorer(about: Path) -> bool:
    try:
        flavors = yaml.safe_load(about.read_text(encoding="utf-8"))["flavors"]
        how = flavors["python_function"]
        return (
            set(flavors) == {"python_function"}
            and how["loader_module"] == _LOADER
            and how["code"] is None
            and Path(how["model_code_path"]).name == _CODE
            and {name: one["path"] for name, one in how["artifacts"].items()} == {"scorer": "artifacts/scorer"}
        )
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return False
