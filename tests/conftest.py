"""What every test run shares: one torch thread, markers that depend on the machine, and no silent skips.

A skip must match a line of expected_skips.txt. Any other one fails the run, and the end of the run says which.
"""

import fnmatch
import os
import signal
from pathlib import Path
from typing import NamedTuple

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before anything imports torch: two workers share two cores
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what runs in its background; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests of the stop button need one that is heard

import pytest  # noqa: E402

EXPECTED_SKIPS = Path(__file__).with_name("expected_skips.txt")


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="also run the tests marked `everything`")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # under xdist only the process that started the workers sees every report
        config.pluginmanager.register(SkipJudge(read_expected_skips(EXPECTED_SKIPS)), "marlcourse-skips")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--all"):
        optional = [item for item in items if item.get_closest_marker("everything")]
        if optional:
            config.hook.pytest_deselected(items=optional)
            items[:] = [item for item in items if item not in optional]
    on_a_card = [item for item in items if item.get_closest_marker("gpu")]
    if on_a_card and not cuda_is_available():
        for item in on_a_card:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def cuda_is_available():
    import torch

    return torch.cuda.is_available()


class ExpectedSkip(NamedTuple):
    test: str
    reason: str

    def covers(self, test, reason):
        return fnmatch.fnmatchcase(test, self.test) and self.reason in reason


def read_expected_skips(path):
    """The lines `test id | words of the reason | why` of a file; a line without its three parts is an error."""
    expected = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 3 or not all(parts):
            raise pytest.UsageError(f"{path.name}:{number}: write 'test id | words of the reason | why'")
        expected.append(ExpectedSkip(parts[0], parts[1]))
    return expected


class SkipJudge:
    """Collects every skip, lists them at the end, and fails the run where one is not expected."""

    def __init__(self, expected):
        self.expected = expected
        self.skips = {}  # (test id, reason) -> is it expected?

    def note(self, report):
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        test = report.nodeid.removeprefix("tests/")
        self.skips[test, reason] = any(skip.covers(test, reason) for skip in self.expected)

    def pytest_runtest_logreport(self, report):
        self.note(report)

    def pytest_collectreport(self, report):
        self.note(report)

    @property
    def unexpected(self):
        return [skip for skip, expected in self.skips.items() if not expected]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session, exitstatus):
        if self.unexpected and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        if not self.skips:
            terminalreporter.section("no test was skipped", sep="-")
            return
        terminalreporter.section("skipped tests and why", sep="-")
        for (test, reason), expected in sorted(self.skips.items()):
            terminalreporter.line(f"{'expected  ' if expected else 'UNEXPECTED'}  {test}: {reason}")
        if self.unexpected:
            terminalreporter.line(
                f"{len(self.unexpected)} unexpected skip(s) fail this run: install what is missing, "
                "or give a line of tests/expected_skips.txt the reason why it may be skipped",
                red=True,
            )
