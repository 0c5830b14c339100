"""The commands by name: `hi_ml`, or `python -m hi_ml`, lists them; `hi_ml train model=lgbm` runs one."""

import sys
from importlib import import_module

from hi_ml.app.begin import begin


def main() -> None:
    """List the commands, or run the one that the command line names."""
    begin()
    from hi_ml.app import launch, manual  # noqa: PLC0415 -- begin comes before whatever is large

    name, *words = sys.argv[1:] or ["--help"]
    says = {"-h": manual.overview, "--help": manual.overview, "--glossary": manual.glossary_page}
    if name in says or name == "--version":
        with launch.ending():
            print(says[name]() if name in says else import_module("hi_ml").__version__, flush=True)
        return
    with launch.ending():
        command = manual.checked(name)
    sys.argv[:] = [f"hi_ml {command}", *words]
    import_module(f"hi_ml.{command}").main()


if __name__ == "__main__":
    main()
