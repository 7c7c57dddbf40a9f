"""The command line: a whole run through its commands, and one sentence for every mistake."""

from importlib import metadata

import pytest
import torch

from marlcourse import cli
from marlcourse.course import doctor, install


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "vdn"
    command = ["train", "two-step", "--algo", "vdn", "--steps", "400", "--seed", "3", "--num-envs", "4"]
    assert cli.main([*command, "--device", "cpu", "--run-dir", str(folder)]) == 0
    return folder


def test_train_evaluate_watch(run_dir, tmp_path, capsys):
    assert cli.main(["evaluate", str(run_dir), "--episodes", "8"]) == 0
    from_run = capsys.readouterr().out
    assert from_run.startswith("VDN on two-step, 8 episodes: return ")
    assert cli.main(["evaluate", str(run_dir / "team.pt"), "--episodes", "8", "--env", "two-step"]) == 0
    assert capsys.readouterr().out == from_run
    film = tmp_path / "film.gif"
    assert cli.main(["watch", str(run_dir), "--out", str(film)]) == 0
    assert film.read_bytes()[:4] == b"GIF8"


def test_resume_goes_on_to_the_total(run_dir, capsys):
    command = ["train", "two-step", "--num-envs", "4", "--device", "cpu", "--run-dir", str(run_dir)]
    assert cli.main([*command, "--steps", "600", "--resume"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("VDN on two-step: ") and " after 6" in out
    assert cli.main([*command, "--steps", "600"]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_presets_and_seeds_arrive(monkeypatch):
    import marlcourse as mc

    seen = {}

    class Stop(ValueError):
        pass

    class Spy:
        def __init__(self, env, team, *, seed, run_dir):
            seen.update(config=team.config, seed=(seed, team.seed), num_envs=env.num_envs)
            raise Stop("seen")

    monkeypatch.setattr(mc, "Trainer", Spy, raising=False)
    assert cli.main(["train", "two-step", "--preset", "two-step", "--seed", "5", "--num-envs", "3"]) == 2
    assert seen == {"config": mc.QMIX.Config.preset("two-step"), "seed": (5, 5), "num_envs": 3}


@pytest.mark.parametrize(
    "command, words",
    [
        (["train", "two-stp"], ["two-stp", "'two-step'"]),
        (["train", "two-step", "--algo", "qmxi"], ["qmxi", "'qmix'"]),
        (["train", "two-step", "--preset", "two-stp"], ["two-stp", "'two-step'"]),
        (["train", "two-step", "--resume"], ["--run-dir"]),
        (["install", "ma-gim"], ["ma-gim", "'ma-gym'"]),
        (["evaluate", "no/such/run"], ["no/such/run"]),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(command, words, capsys):
    assert cli.main(command) == 2
    err = capsys.readouterr().err
    assert err.startswith("marlcourse: ") and err.count("\n") == 1
    assert all(word in err for word in words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device to train on")
def test_a_missing_card_is_answered_in_one_sentence(capsys):
    assert cli.main(["train", "two-step", "--device", "cuda"]) == 2
    assert "device='auto'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["OW-QMIX", "ow_qmix", "owqmix", "OWQMIX"])
def test_algorithm_names_are_forgiving(name):
    import marlcourse as mc

    assert cli.algorithm_class(name) is mc.OWQMIX


# ------------------------------------------------------------------------------------------------------------- doctor


def test_the_doctor_examines_everything():
    findings = doctor.examine()
    assert [finding.name for finding in findings][:5] == ["Python", "environment", "PyTorch", "device", "memory"]
    assert all(finding.state in doctor.MARKS and finding.text for finding in findings)
    assert all(finding.fix for finding in findings if finding.state == "broken")


def test_a_broken_requirement_is_named_with_its_command(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "NEEDED", ("numpy", "no_such_package"))
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BROKEN" in out and "-m pip install no_such_package" in out and "Broken: packages" in out


def test_only_optional_findings_leave_status_0(monkeypatch, capsys):
    optional = doctor.Finding("SMAC", "optional", "not there", "get it")
    monkeypatch.setattr(doctor, "examine", lambda: [optional])
    assert cli.main(["doctor"]) == 0
    assert "-> get it" in capsys.readouterr().out


def test_a_notebook_in_the_wrong_environment_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(doctor, "REPOSITORY", tmp_path)
    assert doctor.environment_problem() is None  # nothing was set up here
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "marlcourse-complete").write_text("")
    assert "python3 course.py lab" in doctor.environment_problem()
    monkeypatch.delenv("MARLCOURSE_STRICT", raising=False)
    doctor.report()
    assert "python3 course.py lab" in capsys.readouterr().out
    monkeypatch.setenv("MARLCOURSE_STRICT", "1")  # an author's own run: no path of a Python in committed outputs
    doctor.report()
    assert "python3 course.py lab" not in capsys.readouterr().out
    monkeypatch.setattr(doctor.sys, "prefix", str(tmp_path / ".venv"))
    assert doctor.environment_problem() is None


def test_the_report_is_short(capsys):
    doctor.report()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("marlcourse ") and lines[1].startswith("device: ") and lines[2].startswith("scale: ")


# ------------------------------------------------------------------------------------------------------------ install


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site-packages folder into which a pretended pip puts ma-gym, stray `tests` package and all."""
    calls = []

    def pip(*arguments):
        calls.append(arguments)
        if not any("ma-gym" in word for word in arguments):
            return
        info = tmp_path / f"ma_gym-{install.MA_GYM}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ma-gym\nVersion: {install.MA_GYM}\n")
        files = ["tests/__init__.py", "tests/envs/__init__.py", "tests/envs/test_combat.py", "ma_gym/__init__.py"]
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text("")
        (tmp_path / "tests" / "__pycache__").mkdir()
        (tmp_path / "tests" / "__pycache__" / "__init__.cpython-311.pyc").write_text("")

    def found(package):  # only this folder is searched
        return next(iter(metadata.distributions(name=package, path=[str(tmp_path)])), None)

    monkeypatch.setattr(install, "pip", pip)
    monkeypatch.setattr(install, "metadata_of", lambda package: found(package).version if found(package) else None)
    monkeypatch.setattr(install.metadata, "files", lambda package: found(package).files if found(package) else None)
    return tmp_path, calls


def test_ma_gym_comes_alone_and_is_cleaned_up(site, capsys):
    folder, calls = site
    assert install.ma_gym_problem() == "it is not installed"
    assert cli.main(["install", "ma-gym"]) == 0
    assert calls == [("install", "--no-deps", "--ignore-requires-python", "ma-gym==0.0.14")]
    assert not (folder / "tests").exists() and (folder / "ma_gym" / "__init__.py").exists()
    assert cli.main(["install", "ma-gym"]) == 0
    assert len(calls) == 1 and "already" in capsys.readouterr().out


def test_a_readers_own_tests_stay(site):
    folder, _ = site
    (folder / "tests").mkdir()
    (folder / "tests" / "test_mine.py").write_text("")
    install.install("ma-gym")
    assert [path.name for path in (folder / "tests").iterdir()] == ["test_mine.py"]


@pytest.mark.parametrize(
    "printed, words",
    [
        ("WARNING: Retrying ... NewConnectionError ... Temporary failure in name resolution", "check the network"),
        ("/usr/bin/python: No module named pip", "-m ensurepip"),
        ("ERROR: something else", "something else"),
    ],
)
def test_a_failing_pip_says_what_to_do(monkeypatch, capsys, printed, words):
    failed = install.subprocess.CompletedProcess([], 1, stdout="", stderr=printed)
    monkeypatch.setattr(install, "metadata_of", lambda package: None)
    monkeypatch.setattr(install.subprocess, "run", lambda *a, **k: failed)
    assert cli.main(["install", "ma-gym"]) == 2
    assert words in capsys.readouterr().err
