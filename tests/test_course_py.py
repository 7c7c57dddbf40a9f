"""course.py: what it decides, what it says when something is wrong, and that a half-made .venv is never trusted."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def course(tmp_path, monkeypatch):
    """course.py as a module of its own, living in an empty folder with a lock and a pyproject."""
    spec = importlib.util.spec_from_file_location("course_under_test", ROOT / "course.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "requirements.txt").write_text("torch==2.13.0\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n\n[tool.ruff]\n")
    monkeypatch.setattr(module, "ROOT", str(tmp_path))
    monkeypatch.setattr(module, "VENV", str(tmp_path / ".venv"))
    monkeypatch.setattr(module, "LOCK", str(tmp_path / "locks" / "requirements.txt"))
    return module


# ------------------------------------------------------------------------------------------------------- which Python


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 11, 7), (3, 12, 1), (3, 13, 9)])
def test_every_supported_python_is_accepted(course, version):
    assert course.python_problem(version) is None


@pytest.mark.parametrize("version, words", [((3, 9, 18), "too old"), ((2, 7, 18), "too old"), ((3, 14, 0), "newer than")])
def test_another_python_is_refused_with_a_way_out(course, version, words):
    nothing = course.python_problem(version, which=lambda name: None)
    assert words in nothing and "python.org" in nothing
    something = course.python_problem(version, which=lambda name: name == "python3.12")
    assert words in something and "`python3.12 course.py" in something


def test_a_32_bit_python_is_refused(course):
    assert "64-bit" in course.python_problem((3, 12), bits=32)


def test_the_file_uses_no_syntax_newer_than_python_3_6():
    import ast

    ast.parse((ROOT / "course.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_the_file_needs_nothing_but_the_standard_library():
    import ast

    tree = ast.parse((ROOT / "course.py").read_text(encoding="utf-8"))
    imported = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported <= set(sys.stdlib_module_names)


# ------------------------------------------------------------------------------------------------ where torch is from


def test_cpu_wheels_on_linux_without_a_card(course):
    asked = []
    probe = lambda url: asked.append(url) or True
    assert course.torch_source("Linux", False, {}, probe) == ["--extra-index-url", course.CPU_WHEELS]
    assert asked == [course.CPU_WHEELS + "/torch/"]


@pytest.mark.parametrize(
    "system, nvidia, env, answers",
    [
        ("Linux", False, {}, False),  # the index does not answer
        ("Linux", True, {}, True),  # a card wants the CUDA build
        ("Darwin", False, {}, True),  # the ordinary registry's builds are CPU builds there
        ("Windows", False, {}, True),
        ("Linux", False, {"PIP_INDEX_URL": "https://mirror.example"}, True),  # the user chose
        ("Linux", False, {"PIP_NO_INDEX": "1"}, True),
    ],
)
def test_the_ordinary_registry_otherwise(course, system, nvidia, env, answers):
    assert course.torch_source(system, nvidia, env, lambda url: answers) == []


def test_a_silent_server_is_given_up_at_once(course):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts the connection, never answers
        started = time.monotonic()
        assert not course.answers_at_once(f"http://127.0.0.1:{server.getsockname()[1]}/", seconds=0.3)
        assert time.monotonic() - started < 5


def test_an_answering_server_is_seen(course):
    import http.server
    import threading

    class Yes(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Yes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert course.answers_at_once(f"http://127.0.0.1:{server.server_port}/", seconds=10)
        server.shutdown()


# ------------------------------------------------------------------------------------------------- failures that help


@pytest.mark.parametrize(
    "output, words",
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError(...): Failed to establish a new "
            "connection: [Errno -3] Temporary failure in name resolution'\n"
            "ERROR: No matching distribution found for anyio==4.16.0",
            "Check the network",
        ),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "PIP_CERT"),
        (
            "The virtual environment was not created successfully because ensurepip is not available.  On "
            "Debian/Ubuntu systems, you need to install the python3-venv package",
            f"sudo apt install python3.{sys.version_info[1]}-venv",
        ),
        ("/usr/bin/python3: No module named venv", "venv"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no build of torch==2.13.0 for this system"),
        ("ERROR: No matching distribution found for anyio==4.16.0", "check the network"),
        ("PermissionError: [Errno 13] Permission denied: '/opt/course/.venv'", "folder of your own"),
        ("something nobody thought of", "last lines above"),
    ],
)
def test_a_failed_step_says_what_to_do(course, output, words):
    assert words in course.advice(output)


def test_a_full_disk_is_noticed_before_anything_is_written(course, monkeypatch):
    assert course.disk_problem(10**12) is None
    monkeypatch.setattr(course.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10**8})())
    with pytest.raises(course.Stop, match="0.1 GB are free"):
        course.set_up()
    assert not Path(course.VENV).exists()


def test_a_failing_step_shows_its_last_lines_and_stops(course, capfd):
    script = "print('first'); print('[Errno 28] No space left on device'); raise SystemExit(1)"
    with pytest.raises(course.Stop, match="disk is full"):
        course.run_step("[1/1] trying", [sys.executable, "-c", script])
    out = capfd.readouterr().out
    assert "[1/1] trying" in out and "No space left" in out


def test_a_failing_optional_step_goes_on(course, capfd):
    assert course.run_step("[1/1] trying", [sys.executable, "-c", "raise SystemExit(1)"], required=False) is False
    assert "did not work" in capfd.readouterr().out


def test_leaking_settings_are_kept_out_and_pip_settings_kept(course, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    env = course.child_environment()
    assert not {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"} & set(env) and env["PIP_FIND_LINKS"] == "/wheels"
    assert env["PATH"].split(os.pathsep)[0] == str(Path(course.venv_python()).parent)


# -------------------------------------------------------------------------------------------- a .venv that is trusted


@pytest.fixture
def made(course):
    """A .venv that looks finished: it has a Python that starts, and the stamp."""
    python = Path(course.venv_python())
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    Path(course.stamp_path()).write_text(course.fingerprint())
    return course


def test_a_finished_environment_is_trusted(made, monkeypatch):
    monkeypatch.setattr(made, "set_up", lambda: pytest.fail("was made again"))
    assert made.is_ready()
    made.ensure_environment()


def test_a_linters_setting_does_not_make_it_again(made):
    Path(made.ROOT, "pyproject.toml").write_text("[project]\n\n[tool.ruff]\nline-length = 100\n")
    assert made.is_ready()


def test_no_environment_is_not_ready(course):
    assert not course.is_ready()


def unfinished(course):
    os.remove(course.stamp_path())


def another_lock(course):
    Path(course.LOCK).write_text("torch==2.14.0\n")


def another_python(course):
    Path(course.stamp_path()).write_text("made by another Python")


def another_dependency(course):
    Path(course.ROOT, "pyproject.toml").write_text('[project]\ndependencies = ["torch>=2.3"]\n')


def python_gone(course):
    os.remove(course.venv_python())


@pytest.mark.parametrize("change", [unfinished, another_lock, another_dependency, another_python, python_gone])
def test_anything_else_is_made_again_from_nothing(made, monkeypatch, change):
    change(made)
    assert not made.is_ready()
    leftover = Path(made.VENV) / "leftover"
    leftover.write_text("")
    steps = []

    def pretend(title, command, required=True):
        steps.append(title)
        Path(made.VENV).mkdir(exist_ok=True)
        return True

    monkeypatch.setattr(made, "torch_source", lambda *a: [])
    monkeypatch.setattr(made, "disk_problem", lambda free: None)
    monkeypatch.setattr(made, "run_step", pretend)
    made.ensure_environment()
    assert not leftover.exists() and len(steps) == 6
    assert Path(made.stamp_path()).read_text() == made.fingerprint()


def test_a_set_up_that_fails_leaves_no_stamp(course, monkeypatch):
    def fail(title, command, required=True):
        Path(course.VENV).mkdir(exist_ok=True)
        if title.startswith("[3/6]"):
            raise course.Stop("no")

    monkeypatch.setattr(course, "torch_source", lambda *a: [])
    monkeypatch.setattr(course, "disk_problem", lambda free: None)
    monkeypatch.setattr(course, "run_step", fail)
    with pytest.raises(course.Stop):
        course.ensure_environment()
    assert not course.is_ready()


def test_a_second_set_up_waits_for_the_first(course):
    with course.only_one():
        script = (
            "import importlib.util as u, sys\n"
            "s = u.spec_from_file_location('c', sys.argv[1]); c = u.module_from_spec(s)\n"
            "s.loader.exec_module(c); c.ROOT = sys.argv[2]\n"
            "with c.only_one(): print('mine', flush=True)"
        )
        command = [sys.executable, "-c", script, str(ROOT / "course.py"), course.ROOT]
        second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert "waiting" in second.stdout.readline()
        assert second.poll() is None
    assert second.communicate(timeout=30)[0].strip() == "mine"


# --------------------------------------------------------------------------------------------------- the two commands


def test_lab_passes_its_arguments_on(course):
    command = course.lab_command(["--no-browser", "--port", "8899"])
    assert command[1:4] == ["-m", "jupyter", "lab"] and command[-3:] == ["--no-browser", "--port", "8899"]
    assert ("--allow-root" in command) == (getattr(os, "geteuid", lambda: 1)() == 0)


def test_lab_opens_the_first_chapter(course, tmp_path, monkeypatch):
    chapter = tmp_path / "00_start_here.ipynb"
    monkeypatch.setattr(course, "FIRST_CHAPTER", str(chapter))
    assert str(chapter) not in course.lab_command([])
    chapter.write_text("{}")
    assert str(chapter) in course.lab_command([])


def test_test_runs_everything_on_two_processes(course):
    command = course.test_command([])
    assert command[-1] == "tests" and "-m" not in command[3:]
    assert " ".join(["-n", "2", "--dist", "loadfile"]) in " ".join(command)


def test_fast_leaves_out_learning_and_notebooks(course):
    command = course.test_command(["--fast", "-x"])
    assert command[command.index("-m", 3) + 1] == "not learning and not notebook and not browser"
    assert "--fast" not in command and command[-2:] == ["-x", "tests"]


def test_a_path_replaces_the_whole(course, tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_one.py").write_text("")
    assert course.test_command(["tests/test_one.py::test_it", "-q"])[-2:] == ["tests/test_one.py::test_it", "-q"]


def test_unknown_words_show_the_usage(course, capsys):
    assert course.main(["lba"]) == 2
    assert "python3 course.py lab" in capsys.readouterr().out


def test_ci_calls_the_readmes_test_command():
    assert "exec python3 course.py test" in (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "python3 course.py test" in (ROOT / "README.md").read_text(encoding="utf-8")
