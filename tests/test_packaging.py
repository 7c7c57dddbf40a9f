"""What is installed, from where, and that lock, pyproject and environment.yml say the same."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = [
    Requirement(line)
    for line in (ROOT / "locks" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
MINORS = ["3.10", "3.11", "3.12", "3.13"]
COLAB_OLDEST = {"torch": "2.6.0", "numpy": "2.0.2", "matplotlib": "3.10.0", "pandas": "2.2.2", "ipywidgets": "7.7.1"}


def locked(minor, system="linux"):
    """{package: version} of the lock on Python `minor`."""
    names = {"linux": ("posix", "Linux"), "darwin": ("posix", "Darwin"), "win32": ("nt", "Windows")}
    where = {
        "python_version": minor,
        "python_full_version": minor + ".5",
        "sys_platform": system,
        "os_name": names[system][0],
        "platform_system": names[system][1],
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    lines = [line for line in LOCK if line.marker is None or line.marker.evaluate(where)]
    versions = {}
    for line in lines:
        assert line.name not in versions, f"{line.name} stands twice in the lock for Python {minor}"
        (pin,) = line.specifier
        assert pin.operator == "==", f"{line} is not an exact version"
        versions[canonical(line.name)] = Version(pin.version)
    return versions


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def project_requirements():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


# ------------------------------------------------------------------------------------------ lock, pyproject and conda


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_the_lock_satisfies_every_dependency(minor, system):
    versions = locked(minor, system)
    for requirement in project_requirements():
        name = canonical(requirement.name)
        assert name in versions, f"{name} is missing in the lock: add it to locks/requirements.in, run locks/make.py"
        assert versions[name] in requirement.specifier, f"{requirement} does not allow the locked {versions[name]}"


def test_the_lock_holds_all_that_its_source_names():
    source = (ROOT / "locks" / "requirements.in").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line.split("#")[0]) for line in source if line.split("#")[0].strip()]
    for minor in MINORS:
        versions = locked(minor)
        for requirement in wanted:
            assert versions[canonical(requirement.name)] in requirement.specifier
    assert Requirement("torch==2.13.0") in wanted


def test_the_lock_leaves_cuda_to_torch_and_has_no_hashes():
    assert not [line for line in LOCK if re.match("nvidia|cuda|triton", line.name)]
    text = (ROOT / "locks" / "requirements.txt").read_text(encoding="utf-8")
    assert "--hash" not in text and "://" not in text


def test_conda_users_get_the_same_versions():
    yaml = pytest.importorskip("yaml")
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    assert pip == ["-r locks/requirements.txt", "-e ."]  # nothing that the lock does not say
    (python,) = [line.split("=")[1] for line in conda if line.startswith("python=")]
    assert python in MINORS and set(conda) == {f"python={python}", "pip"}


def test_the_same_pythons_everywhere():
    assert PROJECT["requires-python"] == ">=3.10"
    course = (ROOT / "course.py").read_text(encoding="utf-8")
    assert "OLDEST, NEWEST = (3, 10), (3, 13)" in course


# ---------------------------------------------------------------------------------------------------- floors for Colab


def test_the_project_sets_floors_only():
    for requirement in project_requirements():
        assert [pin.operator for pin in requirement.specifier] == [">="], f"{requirement} is more than a floor"
    assert "ma-gym" not in {canonical(requirement.name) for requirement in project_requirements()}


def test_colabs_own_packages_are_new_enough():
    for requirement in map(Requirement, PROJECT["dependencies"]):
        if requirement.name in COLAB_OLDEST:
            assert Version(COLAB_OLDEST[requirement.name]) in requirement.specifier


def test_pip_install_would_change_no_other_package():
    """What pip would do for `pip install .` beside a finished PyTorch: install marlcourse, and nothing else."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation", "--quiet"]
    done = subprocess.run([*command, "--report", "-", str(ROOT)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    changed = {entry["metadata"]["name"] for entry in json.loads(done.stdout)["install"]}
    assert changed == {"marlcourse"}


# ----------------------------------------------------------------------------------------------------- what a wheel has


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    script = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def test_the_wheel_holds_the_package_and_its_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"marlcourse", f"marlcourse-{PROJECT['version']}.dist-info"}
    data = {path.relative_to(ROOT / "datasets").as_posix() for path in (ROOT / "datasets").rglob("*") if path.is_file()}
    assert {f"marlcourse/_datasets/{name}" for name in data} <= set(names)
    assert not [name for name in names if name.endswith((".pyc", ".ipynb"))]


def test_an_installed_package_finds_its_data(wheel, tmp_path):
    """From the wheel alone, far from the repository; a stranger's `datasets` beside it is not taken for ours."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "datasets").mkdir()  # the import package of that name which Colab has
    (tmp_path / "datasets" / "__init__.py").write_text("")
    script = "from marlcourse.course.data import dataset_folders; print(*dataset_folders(), sep='\\n')"
    env = {key: value for key, value in os.environ.items() if key != "MARLCOURSE_DATASETS"} | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines() == [str(tmp_path / "marlcourse" / "_datasets")], done.stderr


def test_the_version_stands_in_one_way_everywhere():
    import marlcourse

    assert marlcourse.__version__ == PROJECT["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {PROJECT['version']}\n" in citation
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------- skips that are seen


def run_pytest(folder, *arguments):
    for name in ("conftest.py", "pytest.ini"):
        (folder / name).write_text((ROOT / "tests" / name).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "expected_skips.txt").write_text("* | no CUDA device | most machines have none\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder), *arguments]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # starts in half the time
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


ALONE, PARALLEL = [], ["-p", "xdist", "-n", "1", "--dist", "loadfile"]


@pytest.mark.parametrize("how", [ALONE, PARALLEL], ids=["alone", "parallel"])
@pytest.mark.parametrize(
    "code",
    [
        "import pytest\n@pytest.mark.skip(reason='lazy')\ndef test_it(): pass",
        "import pytest\npytest.importorskip('no_such_module')\ndef test_it(): pass",
    ],
    ids=["test", "module"],
)
def test_an_unexpected_skip_fails_the_run(tmp_path, code, how):
    (tmp_path / "test_skips.py").write_text(code)
    done = run_pytest(tmp_path, *how)
    assert done.returncode == 1, done.stdout
    assert "UNEXPECTED  test_skips.py" in done.stdout


@pytest.mark.parametrize("how", [ALONE, PARALLEL], ids=["alone", "parallel"])
def test_an_expected_skip_is_listed_and_passes(tmp_path, how):
    (tmp_path / "test_skips.py").write_text(
        "import pytest\n@pytest.mark.skip(reason='no CUDA device')\ndef test_it(): pass\ndef test_other(): pass"
    )
    done = run_pytest(tmp_path, *how)
    assert done.returncode == 0, done.stdout
    assert "expected    test_skips.py::test_it: no CUDA device" in done.stdout


def test_optional_tests_run_only_when_asked(tmp_path):
    (tmp_path / "test_optional.py").write_text("import pytest\n@pytest.mark.everything\ndef test_it(): assert False")
    assert "1 deselected" in run_pytest(tmp_path).stdout
    assert "1 failed" in run_pytest(tmp_path, "--all").stdout
