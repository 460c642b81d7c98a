"""Random configurations: every outcome is a valid fit, or a ValueError in our words.

A configuration is a number: table, target, weights, gate, router, trainer, experts
and the rest are drawn from it.  It runs in another process, so that a crash or a hang
is an outcome like any other.  From the root of the repository:

    python tests/random_configurations.py --count 3000 --workers 2
    python tests/random_configurations.py --only 123    # with its trace

A failure is one line: its number, what failed, the configuration in words.  With
``--log FILE`` lines are appended there as they come, and numbers that are in the file
with an outcome are not run again.
"""

import argparse
import multiprocessing
import sys
import time
import traceback
import warnings
from pathlib import Path

from scipy.linalg import LinAlgWarning

sys.path.insert(0, str(Path(__file__).resolve().parent))

from configuration_checks import Unlike, check_fit
from configuration_parts import draw

TIME_LIMIT = 60.0
# Where scikit-learn validates what the user gave.
VALIDATING = ("table", "base", "reading", "evaluation", "predictive", "features")
VALIDATING += ("regressor", "classifier", "hierarchical", "_sklearn")


def outcome(number, *, trace=False):
    """What becomes of a configuration: ``(kind, text)``.

    Kinds are ``fit``, ``refused`` and ``failed``.
    """
    configuration = draw(number)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kind, text = _outcome(configuration, trace)
    own = [w for w in caught if issubclass(w.category, RuntimeWarning)]
    own = [w for w in own if "sklearn" not in Path(w.filename).parts]
    # Said of experts of other libraries, at the user's line.
    own = [w for w in own if not issubclass(w.category, LinAlgWarning)]
    if kind != "failed" and own:
        where = f"{Path(own[0].filename).name}:{own[0].lineno}"
        kind, text = "failed", f"RuntimeWarning at {where}: {own[0].message}"
    return kind, f"{text} | {configuration}"


def _outcome(configuration, trace):
    try:
        check_fit(configuration)
    except Unlike as error:
        return "failed", f"invalid: {error}"
    except Exception as error:
        if not _in_our_words(error):
            return "failed", _described(error, trace)
        return "refused", str(error).replace("\n", " ")
    return "fit", "valid"


def _in_our_words(error):
    """Whether skmoe raised it, or scikit-learn while it validated for skmoe."""
    # Scikit-learn has TypeErrors, too, such as for sparse tables.
    if not isinstance(error, (ValueError, TypeError)):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    own = [i for i, frame in enumerate(frames) if "skmoe" in Path(frame.filename).parts]
    if not own:
        return False
    if own[-1] == len(frames) - 1:
        return isinstance(error, ValueError)
    rest = [Path(frame.filename) for frame in frames[own[-1] + 1 :]]
    validates = all(
        "sklearn" in path.parts and ("utils" in path.parts or path.name == "base.py")
        for path in rest
    )
    return validates and Path(frames[own[-1]].filename).stem in VALIDATING


def _described(error, trace):
    if trace:
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "skmoe" in Path(frame.filename).parts]
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"
    text = str(error).replace("\n", " ")[:200]
    return f"{type(error).__name__} at {where}: {text}"


def _serve(pipe):
    """Answer numbers with outcomes until the other end hangs up."""
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            return
        pipe.send(outcome(number))


class Worker:
    """A process that runs one configuration at a time."""

    def __init__(self, context, limit):
        self.context, self.limit = context, limit
        self.number, self.started = None, None
        self._start()

    def _start(self):
        self.pipe, far = self.context.Pipe()
        self.process = self.context.Process(target=_serve, args=(far,), daemon=True)
        self.process.start()
        far.close()

    def take(self, number):
        """Begin a configuration."""
        self.number, self.started = number, time.monotonic()
        self.pipe.send(number)

    def result(self):
        """``(number, kind, text)`` if there is one, else None."""
        if self.number is None:
            return None
        spent = time.monotonic() - self.started
        if self.pipe.poll(0.02):
            try:
                return self._done(*self.pipe.recv())
            except EOFError:
                self.process.join()
                code = self.process.exitcode
                return self._lost(f"process ended with code {code}")
        if spent > self.limit:
            return self._lost(f"took more than {self.limit:.0f} s")
        return None

    def _lost(self, what):
        number = self.number
        self.stop()
        self._start()
        return self._done("failed", f"{what} | {draw(number)}")

    def _done(self, kind, text):
        number, self.number = self.number, None
        return number, kind, text

    def stop(self):
        """End the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run(numbers, *, n_workers=2, limit=TIME_LIMIT, method="spawn"):
    """Yield ``(number, kind, text)`` of configurations as they end."""
    context = multiprocessing.get_context(method)
    numbers = list(numbers)
    workers = [Worker(context, limit) for _ in range(min(n_workers, len(numbers)))]
    waiting, left = iter(numbers), len(numbers)
    try:
        for worker, number in zip(workers, waiting, strict=False):
            worker.take(number)
        while left:
            for worker in workers:
                found = worker.result()
                if found is None:
                    continue
                left -= 1
                number = next(waiting, None)
                if number is not None:
                    worker.take(number)
                yield found
    finally:
        for worker in workers:
            worker.stop()


def _known(path):
    """Numbers with an outcome in a log."""
    if path is None or not path.exists():
        return set()
    return {int(line.split()[0]) for line in path.read_text().splitlines() if line}


def main():
    """Run configurations and print those that fail."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="first number")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--only", type=int, help="one number, in this process")
    parser.add_argument("--time-limit", type=float, default=TIME_LIMIT)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--log", type=Path)
    arguments = parser.parse_args()
    if arguments.only is not None:
        print(*outcome(arguments.only, trace=True))
        return
    known = _known(arguments.log)
    numbers = range(arguments.seed, arguments.seed + arguments.count)
    numbers = [number for number in numbers if number not in known]
    counts = dict.fromkeys(("fit", "refused", "failed"), 0)
    options = {"n_workers": arguments.workers, "limit": arguments.time_limit}
    for number, kind, text in run(numbers, **options):
        counts[kind] += 1
        if arguments.log is not None:
            with arguments.log.open("a") as log:
                log.write(f"{number} {kind} {text}\n")
        if kind == "failed":
            print(number, text, flush=True)
    print(counts)
    sys.exit(counts["failed"] > 0)


if __name__ == "__main__":
    main()
