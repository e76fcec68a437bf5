"""The command line: one file a verb. Everything heavy is imported inside the verb's function."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from sparring.errors import TrainingDivergedError, UsageError
from sparring.version import __version__

app = App(
    name="sparring",
    help="Train a GAN on your own data, watch the two players, measure the result, use the generator.",
    version=__version__,
    help_on_error=False,
    default_parameter=Parameter(negative=()),  # no --empty-penalty and the like
)
# Verbs are imported when they are called, so that --help and list stay instant.
app.command("sparring.cli.train:train", name="train", help="Train a GAN, or go on with a run that was interrupted.")
app.command("sparring.cli.sample:sample", name="sample", help="Draw samples from a trained generator.")
app.command(
    "sparring.cli.tables:list_table",
    name="list",
    help="List losses, penalties, stabilizers, augmentations, networks, presets, data, metrics or extractors.",
)
app.command(
    "sparring.cli.tables:explain", name="explain", help="Explain a name: formula, paper, when to use it, what to watch."
)
app.command(
    "sparring.cli.info:info", name="info", help="Show both players side by side: layers, shapes, parameters, FLOPs."
)
app.command(
    "sparring.cli.evaluate:evaluate", name="evaluate", help="Measure a run or a folder of images against real data."
)
app.command("sparring.cli.compare:compare", name="compare", help="Compare runs that were measured in the same way.")
app.command("sparring.cli.report:report", name="report", help="Write a run's report again.")
app.command("sparring.cli.bench:bench", name="bench", help="Compare recipes under locked protocols.")
app.command("sparring.cli.theory:theory", name="theory", help="Run the lectures' claims as experiments.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after ``sparring``; those of the process if None.

    Returns:
        The exit code: 0 done, 1 training diverged or a claim does not hold, 2 the user can mend it, 130 or 143 stopped by a
        signal.
    """
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except UsageError as error:
        return _complain(str(error), 2)
    except CycloptsError as error:
        return _complain(_sentence(error), 2)
    except TrainingDivergedError as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("stopped before anything was to be saved.", 130)
    except BrokenPipeError:  # the reader, for example `head`, has seen enough
        sys.stderr.close()
        return 0
    return code if isinstance(code, int) else 0


def _sentence(error: CycloptsError) -> str:
    """Return what was wrong with the words; values that pydantic refused are described like those of a config."""
    if "pydantic" in type(error.__cause__).__module__:
        from pydantic import ValidationError

        from sparring.settings import describe

        if isinstance(error.__cause__, ValidationError):
            return describe(error.__cause__)
    return str(error)


def _complain(sentence: str, code: int) -> int:
    """Print one sentence on stderr."""
    print(f"sparring: {' '.join(sentence.split())}", file=sys.stderr)
    return code
