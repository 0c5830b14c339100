"""Findings and trained models in a notebook: what was found in words, and the charts at full size."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

from matplotlib.figure import Figure

from hi_ml.claims.finding import Finding
from hi_ml.evaluation.assessment import FittedRun, catalogue
from hi_ml.reports import train_charts
from hi_ml.reports.charts.style import picture
from hi_ml.reports.findings_charts import of_finding

_DPI = 100  # dots per inch: an inch of a chart is one of a notebook


def show(what: Finding | FittedRun, *charts: str) -> None:
    """Print what was found, and display the charts.

    Parameters
    ----------
    what : Finding or FittedRun
        A claim from `hi_ml.state_claims`, or a model from `hi_ml.fit` with the results of `hi_ml.assess`.
    *charts : str
        Which of a model's charts, as ``charts/scores``; all where none is named.
    """
    from IPython.display import Image, display  # noqa: PLC0415 -- only a notebook has it

    if len(charts) != 1:  # a single chart says it itself
        print(*_words(what), sep="\n\n")
    for figure, alt in _figures(what, charts):
        drawn = BytesIO()
        figure.set_dpi(_DPI)
        picture(figure).save(drawn, "png")
        display(Image(drawn.getvalue(), alt=alt))  # type: ignore[no-untyped-call]


def assessed(run: FittedRun, results: dict[str, object]) -> FittedRun:
    """Return the run with what `hi_ml.assess` came to."""
    return replace(run, results=results)


def _words(what: Finding | FittedRun) -> list[str]:
    if isinstance(what, Finding):
        return [what.claim, *what.sentences]
    every = catalogue()
    said = [every[name].sentence(result) for name, result in what.results.items() if result is not None]
    return list(filter(None, said))


def _figures(what: Finding | FittedRun, charts: tuple[str, ...]) -> Iterator[tuple[Figure, str]]:
    if isinstance(what, Finding):
        yield from ((drawn.figure, drawn.shows) for drawn in of_finding(what))
        return
    for name, drawing, _ in train_charts.of_run(what, all_charts=False):
        if not charts or name in charts:
            yield drawing.draw(), str(drawing.words["title"]).partition("\n")[0]
