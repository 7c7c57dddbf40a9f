#!/usr/bin/env python3
"""Open the course, or test it. Needs Python 3.10-3.13 and nothing else.

    python3 course.py lab    [--no-browser] [--port 8888] ...   open the notebooks in JupyterLab
    python3 course.py test   [--fast] ...                       run every test; --fast leaves out learning and notebooks

Both make the folder .venv on their first run (a few minutes) and trust it afterwards. Further arguments go to
JupyterLab or to pytest. This file uses the standard library only, and an old Python can read it far enough to be told
that it is too old: keep it free of newer syntax.
"""

import contextlib
import hashlib
import os
import platform
import queue
import re
import shutil
import subprocess
import sys
import threading
import time

OLDEST, NEWEST = (3, 10), (3, 13)
ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
LOCK = os.path.join(ROOT, "locks", "requirements.txt")
FIRST_CHAPTER = os.path.join(ROOT, "chapters", "00_start_here.ipynb")
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
GIGABYTES_NEEDED = 2


class Stop(Exception):
    """A problem the reader can mend; its text is all that is shown."""


# ---------------------------------------------------------------------------------------------- before anything starts


def python_problem(version, bits=64, which=shutil.which):
    """Why this Python cannot run the course, with the way out; None where it can."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return None if bits == 64 else "This is a 32-bit Python, and PyTorch has no such build: install a 64-bit one."
    state = "too old" if tuple(version[:2]) < OLDEST else "newer than the course was tested with"
    text = "Python {}.{} is {}: the course needs 3.10, 3.11, 3.12 or 3.13. ".format(version[0], version[1], state)
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        name = "python3.{}".format(minor)
        if which(name):
            return text + "You have one: run `{} course.py ...` instead.".format(name)
    return text + "Install one from https://www.python.org/downloads and run it with `python3.13 course.py ...`."


def disk_problem(free_bytes, needed=GIGABYTES_NEEDED):
    if free_bytes >= needed * 10**9:
        return None
    return "Only {:.1f} GB are free on the disk that holds {}: free {} GB and run the same command again.".format(
        free_bytes / 10**9, ROOT, needed
    )


# ----------------------------------------------------------------------------------------------- is .venv ready to use?


def venv_python():
    return os.path.join(VENV, "Scripts", "python.exe") if os.name == "nt" else os.path.join(VENV, "bin", "python")


def stamp_path():
    return os.path.join(VENV, "marlcourse-complete")


def fingerprint():
    """Changes with whatever a finished .venv depends on: the lock, the package's metadata, Python, this folder."""
    digest = hashlib.sha256("{}.{} {} {}".format(*(sys.version_info[:2] + (platform.machine(), ROOT))).encode())
    with open(LOCK, "rb") as lock, open(os.path.join(ROOT, "pyproject.toml"), "rb") as project:
        digest.update(lock.read())
        digest.update(project.read().split(b"\n[tool.")[0])  # the settings of linters below change nothing installed
    return digest.hexdigest()


def is_ready():
    """True only for a .venv whose set-up ran to its end with today's lock, and whose Python still starts."""
    try:
        with open(stamp_path()) as file:
            if file.read() != fingerprint():
                return False
        return subprocess.call([venv_python(), "-S", "-c", ""], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


@contextlib.contextmanager
def only_one():
    """Hold .venv.lock: a second set-up waits for the first. The system frees it when the process ends, however."""
    with open(os.path.join(ROOT, ".venv.lock"), "w") as file:
        waiting = False
        while True:
            try:
                if os.name == "nt":
                    import msvcrt

                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                else:
                    import fcntl

                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if not waiting:
                    print("Another course.py is setting up .venv; waiting for it ...", flush=True)
                waiting = True
                time.sleep(1)
        yield


# ------------------------------------------------------------------------------------------------------- making .venv


def child_environment():
    """The user's environment without what would leak another Python's packages into .venv. PIP_* settings stay.

    PYTHONDONTWRITEBYTECODE, which many containers set, goes too: .venv is installed without compiled files, and every
    kernel would spend some ten seconds on compiling torch again.
    """
    dropped = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
    env = {key: value for key, value in os.environ.items() if key not in dropped}
    env["VIRTUAL_ENV"] = VENV
    env["PATH"] = os.path.dirname(venv_python()) + os.pathsep + env.get("PATH", "")
    env["PYTHONNOUSERSITE"] = "1"
    env["PIP_USER"] = "0"
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    env["JUPYTER_PREFER_ENV_PATH"] = "1"
    return env


def has_nvidia_card():
    return os.path.exists("/proc/driver/nvidia/version") or bool(shutil.which("nvidia-smi"))


def answers_at_once(url, seconds=2.0):
    """Does `url` answer within `seconds`, slow name servers included?"""
    answer = []

    def ask():
        import urllib.request

        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=seconds) as reply:
                answer.append(reply.status == 200)
        except Exception:  # any failure means the same: use the ordinary registry
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answer) and answer[0]


def torch_source(system, nvidia, env, probe=answers_at_once):
    """Extra pip arguments for torch: PyTorch's CPU wheels on a Linux without an NVIDIA card, else none.

    The ordinary registry's Linux build of torch brings gigabytes of CUDA. A user who named an index keeps it.
    """
    if system != "Linux" or nvidia or env.get("PIP_INDEX_URL") or env.get("PIP_NO_INDEX"):
        return []
    return ["--extra-index-url", CPU_WHEELS] if probe(CPU_WHEELS + "/torch/") else []


ADVICE = (  # the first pattern found in a failed step's output decides
    (
        r"No space left on device|Errno 28|WinError 112|not enough space",
        "The disk is full. Free about {} GB where {} lies (and in the temporary folder), then run the same command again.",
    ),
    (
        r"ensurepip is not available|No module named '?(venv|ensurepip)|returned non-zero exit status 1.*ensurepip",
        "This Python came without its venv module. On Debian and Ubuntu: sudo apt install python{2}-venv; then run the "
        "same command again.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
        "The secure connection was refused, usually by a company's proxy: ask for its certificate file and set "
        "PIP_CERT=/path/to/it, then run the same command again.",
    ),
    (
        r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|getaddrinfo|name resolution"
        r"|Network is unreachable|Connection (refused|reset|aborted)|Max retries exceeded|Could not fetch URL",
        "The package registry cannot be reached. Check the network (behind a proxy set HTTPS_PROXY), then run the same "
        "command again: what was downloaded is kept.",
    ),
    (
        r"No matching distribution found for (?P<package>torch\S*)",
        "There is no build of {package} for this system and Python. PyTorch covers Linux (glibc), Windows and Apple "
        "silicon on 64-bit Python 3.10-3.13; elsewhere use the Colab links of README.md.",
    ),
    (
        r"No matching distribution found for (?P<package>\S+)",
        "The package registry has no {package}, or cannot be reached: check the network and the PIP_* settings, then run "
        "the same command again.",
    ),
    (
        r"Permission denied|Errno 13|WinError 5|Access is denied|Read-only file system",
        "A file could not be written. Put the course into a folder of your own, close programs that use .venv, then "
        "run the same command again.",
    ),
)


def advice(output):
    """One sentence that says what to do about a failed step, found from what it printed."""
    for pattern, sentence in ADVICE:
        found = re.search(pattern, output)
        if found:
            minor = "{}.{}".format(*sys.version_info[:2])
            return sentence.format(GIGABYTES_NEEDED, ROOT, minor, **found.groupdict())
    return "The last lines above name the cause; running the same command again starts this step cleanly."


def run_step(title, command, required=True):
    """Run one step, showing what it does and for how long; a failure shows its last lines and the way out."""
    started, lines, arrived = time.time(), [], queue.Queue()
    print(title, flush=True)
    process = subprocess.Popen(command, env=child_environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def read():
        for raw in process.stdout:
            arrived.put(raw.decode("utf-8", "replace").rstrip())
        arrived.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        follow(arrived, lines, started)
    except BaseException:
        process.kill()
        raise
    if process.wait() == 0:
        return True
    problem = advice("\n".join(lines))
    if not required:
        print("    did not work: " + problem, flush=True)
        return False
    print(
        "\n".join(["", "This step failed: " + " ".join(command)] + ["    " + line for line in lines[-15:]] + [""]), flush=True
    )
    raise Stop(problem)


def follow(arrived, lines, started):
    """Show the newest line of a step, every second on a terminal and every ten seconds in a log."""
    live, shown, newest = sys.stdout.isatty(), time.time(), ""
    width = shutil.get_terminal_size().columns - 1 if live else 119
    while True:
        try:
            line = arrived.get(timeout=1)
            if line is None:
                break
            if line.startswith("Ignoring "):  # pip names every line of the lock that is for another Python
                continue
            lines.append(line)
            if "existing" not in line and "ninstall" not in line:  # after these pip works for a minute on other things
                newest = re.sub(r" \(from .*", "", line.strip())  # without the lock's long path
        except queue.Empty:
            pass
        now = time.time()
        if now - shown >= (1 if live else 10):
            shown = now
            text = "    {:4.0f} s  {}".format(now - started, newest)[:width]
            print(("\r" + text.ljust(width)) if live else text, end="" if live else "\n", flush=True)
    if live:
        print("\r" + " " * width + "\r", end="", flush=True)


def set_up():
    """Make .venv from nothing. Its stamp is written last: an interrupted .venv is never mistaken for a finished one."""
    started = time.time()
    if os.path.exists(VENV):
        print("Removing a .venv that is unfinished or out of date ...", flush=True)
        if os.path.exists(stamp_path()):
            os.remove(stamp_path())
        shutil.rmtree(VENV)
    problem = disk_problem(shutil.disk_usage(ROOT).free)
    if problem:
        raise Stop(problem)
    python, own = venv_python(), getattr(sys, "_base_executable", None) or sys.executable
    source = torch_source(platform.system(), has_nvidia_card(), os.environ)
    pip = [python, "-m", "pip", "install", "--progress-bar", "off", "--no-compile"]  # Python compiles what is used, when it is
    print("Setting up the course in .venv: once, a few minutes, mostly downloading.", flush=True)
    run_step("[1/6] making .venv", [own, "-m", "venv", VENV])
    origin = "PyTorch's CPU builds" if source else "the ordinary registry"
    run_step("[2/6] installing the tested versions (torch from {})".format(origin), pip + source + ["-r", LOCK])
    editable = ["--no-deps", "--no-build-isolation", "--editable", ROOT]
    run_step("[3/6] installing marlcourse itself, editable", pip + editable)
    kernel = ["--sys-prefix", "--name", "python3", "--display-name", "Python (marlcourse)"]
    run_step("[4/6] registering the notebook kernel", [python, "-m", "ipykernel", "install"] + kernel)
    news = jupyter("labextension", "disable", "--level=sys_prefix", "@jupyterlab/apputils-extension:announcements")
    run_step("[5/6] switching off JupyterLab's question about its news", news, required=False)
    ma_gym = [python, "-m", "marlcourse.cli", "install", "ma-gym"]
    if not run_step("[6/6] installing ma-gym", ma_gym, required=False):
        print("    All but the ma-gym/... worlds works without it; later: " + " ".join(ma_gym), flush=True)
    with open(stamp_path(), "w") as file:
        file.write(fingerprint())
    print("Set up in {:.0f} s.".format(time.time() - started), flush=True)


def ensure_environment():
    if is_ready():
        return
    with only_one():
        if not is_ready():  # another course.py may have finished it while this one waited
            set_up()


# ---------------------------------------------------------------------------------------------------- the two commands


def jupyter(*arguments):
    return [venv_python(), "-m", "jupyter"] + list(arguments)


def lab_command(arguments):
    """JupyterLab on the first chapter. A container runs as root, where Jupyter wants to be told that this is meant."""
    command = jupyter("lab", "--ServerApp.root_dir=" + ROOT)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    return command + ([FIRST_CHAPTER] if os.path.exists(FIRST_CHAPTER) else []) + list(arguments)


def test_command(arguments):
    """pytest on two processes. Paths among the arguments replace the default, which is all of tests/."""
    arguments = list(arguments)
    command = [venv_python(), "-m", "pytest", "-c", os.path.join("tests", "pytest.ini"), "--rootdir", ROOT]
    command += ["-n", "2", "--dist", "loadfile"]
    if "--fast" in arguments:
        arguments.remove("--fast")
        command += ["-m", "not learning and not notebook and not browser"]
    names_a_path = any(os.path.exists(os.path.join(ROOT, word.split("::")[0])) for word in arguments if word[:1] != "-")
    return command + arguments + ([] if names_a_path else ["tests"])


def replace_process(command, env):
    """Hand over to `command`. On Windows, which cannot replace a process, wait for it and pass its status on."""
    if os.name != "nt":
        sys.stdout.flush()
        os.execve(command[0], command, env)
    try:
        return subprocess.call(command, env=env)
    except KeyboardInterrupt:
        return 130


def main(argv):
    problem = python_problem(sys.version_info, 64 if sys.maxsize > 2**32 else 32)
    if problem:
        print(problem, file=sys.stderr)
        return 1
    if not argv or argv[0] not in ("lab", "test"):
        print(__doc__.strip())
        return 0 if argv and argv[0] in ("-h", "--help", "help") else 2
    os.chdir(ROOT)
    try:
        ensure_environment()
    except Stop as stop:
        print("\n" + str(stop), file=sys.stderr)
        return 1
    except OSError as error:
        print("\n{}\n{}".format(error, advice(str(error))), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The next run starts the set-up afresh.", file=sys.stderr)
        return 130
    env = child_environment()
    if argv[0] == "lab":
        print("Opening JupyterLab; stop it with Ctrl-C here.", flush=True)
        return replace_process(lab_command(argv[1:]), env)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        env[name] = "1"
    return replace_process(test_command(argv[1:]), env)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
