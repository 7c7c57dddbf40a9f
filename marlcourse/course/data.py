"""datasets/: measured curves, tables and episodes, each with a sidecar that says where it came from."""

from __future__ import annotations

import datetime
import difflib
import hashlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path

from .exercises import write_atomic

__all__ = ["dataset_folders", "datasets", "load_dataset", "provenance", "save_dataset", "verify"]

# Files that need no sidecar: the description, and the ledger, whose rows carry their own commands.
WITHOUT_SIDECAR = ("README.md", "reproductions.csv")
REQUIRED = ("command", "seeds", "date", "machine", "versions")  # what every sidecar says, beside the sha256


def dataset_folders() -> list[Path]:
    """Where to look, in order: $MARLCOURSE_DATASETS, the repository's datasets/, the installed package's copy."""
    package = Path(__file__).resolve().parents[1]
    folders = [package / "_datasets"]
    if (package.parent / "pyproject.toml").exists():  # a checkout; beside an installed copy lies another `datasets`
        folders.insert(0, package.parent / "datasets")
    if chosen := os.environ.get("MARLCOURSE_DATASETS"):
        folders.insert(0, Path(chosen).expanduser())
    return [folder for folder in folders if folder.is_dir()]


def datasets() -> dict[str, Path]:
    """{file name: path} of every data set that can be found."""
    found: dict[str, Path] = {}
    for folder in reversed(dataset_folders()):  # earlier folders win
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            hidden = any(part.startswith((".", "_")) for part in Path(name).parts)
            if path.is_file() and not hidden and not _is_sidecar(path) and name != "README.md":
                found[name] = path
    return dict(sorted(found.items()))


def find(name: str) -> Path:
    """The path of a data set, by its file name or by its name without the ending."""
    known = datasets()
    matches = [file for file in known if name in (file, file.rsplit(".", 1)[0])]
    if len(matches) == 1 or name in known:
        return known[name if name in known else matches[0]]
    if matches:
        raise FileNotFoundError(f"{name!r} names several data sets: {', '.join(matches)}; give the ending too.")
    close = difflib.get_close_matches(name, [*known, *(file.rsplit(".", 1)[0] for file in known)], n=3, cutoff=0.4)
    there = f"; close: {', '.join(close)}" if close else f"; there are: {', '.join(list(known)[:20]) or 'none'}"
    raise FileNotFoundError(f"No data set {name!r}{there}.")


def load_dataset(name: str):
    """A data set by name: a DataFrame (.csv), a dict (.json, and .npz with arrays), a path (anything else).

    Raises FileNotFoundError, listing close names; ValueError when the file is not the one its sidecar describes.
    """
    path = find(name)
    if problem := _damage(path):
        raise ValueError(problem)
    if path.suffix == ".csv":
        import pandas as pd

        return pd.read_csv(path)
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".npz":
        import numpy as np

        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    return path


def provenance(name: str) -> dict:
    """The sidecar of a data set: command, seeds, machine, versions, date, sha256."""
    sidecar = _sidecar(find(name))
    if not sidecar.exists():
        raise FileNotFoundError(f"{name!r} has no sidecar {sidecar.name}; write the data set with save_dataset.")
    return json.loads(sidecar.read_text(encoding="utf-8"))


def save_dataset(name: str, data, *, command: str, seeds, notes: str = "", folder: str | os.PathLike | None = None) -> Path:
    """Write `data` as datasets/<name> with its sidecar <name>.json, and return the path.

    name: with the ending: .csv takes a DataFrame, .json what JSON can hold, .npz a dict of arrays; bytes go anywhere.
    command: the line that makes it again. seeds: a list, or a text. folder: default the first of dataset_folders().
    """
    if folder is None:
        folders = dataset_folders()
        if not folders:
            raise FileNotFoundError("No datasets folder found; give folder=... or set MARLCOURSE_DATASETS.")
        folder = folders[0]
    path = Path(folder) / name
    content = _encode(path, data)
    note = {
        "file": path.name,
        "command": command,
        "seeds": seeds if isinstance(seeds, (str, int)) else [int(seed) for seed in seeds],
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "sha256": _digest(path, content),
        **({"notes": notes} if notes else {}),
    }
    write_atomic(path, content)
    write_atomic(_sidecar(path), (json.dumps(note, indent=1, ensure_ascii=False) + "\n").encode())
    return path


def _encode(path: Path, data) -> bytes:
    import io

    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    if path.suffix == ".csv" and hasattr(data, "to_csv"):
        return data.to_csv(index=False, lineterminator="\n").encode()
    if path.suffix == ".json":
        return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()
    if path.suffix == ".npz" and isinstance(data, dict):
        import numpy as np

        stream = io.BytesIO()
        np.savez_compressed(stream, **data)
        return stream.getvalue()
    what = "a DataFrame as .csv, plain data as .json, a dict of arrays as .npz, or bytes"
    raise ValueError(f"save_dataset cannot write a {type(data).__name__} as {path.name}; give {what}.")


def machine() -> dict:
    """Processor and cores: what a reader needs to judge a time, and nothing that names a person or a computer."""
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model or platform.processor() or platform.machine(), "cores": cores, "system": platform.system()}


def versions() -> dict:
    """Versions of Python and of what the numbers depend on, as far as installed."""
    found = {"python": platform.python_version()}
    for package in ("marlcourse", "torch", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def verify(folder: str | os.PathLike) -> list[str]:
    """What is wrong with the provenance of a datasets folder, one sentence each; an empty list when nothing is."""
    problems = []
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file() or path.name in WITHOUT_SIDECAR or path.name.startswith("."):
            continue
        if _is_sidecar(path):
            continue
        if not _sidecar(path).exists():
            problems.append(f"{path.name} has no sidecar {path.name}.json; write it with save_dataset.")
        elif problem := _damage(path):
            problems.append(problem)
        else:
            note = json.loads(_sidecar(path).read_text(encoding="utf-8"))
            missing = [key for key in REQUIRED if note.get(key) in (None, "", [], {})]
            if missing:
                problems.append(f"{path.name}.json lacks {', '.join(missing)}.")
    return problems


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _is_sidecar(path: Path) -> bool:
    return path.suffix == ".json" and path.with_suffix("").is_file()


def _digest(path: Path, content: bytes) -> str:
    """sha256; of text files with Unix line ends, so that a checkout on Windows has the same."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n") if path.suffix in (".csv", ".json") else content).hexdigest()


def _damage(path: Path) -> str:
    """A sentence when the file is not the one its sidecar describes, else an empty text."""
    sidecar = _sidecar(path)
    if not sidecar.exists():
        return ""
    expected = json.loads(sidecar.read_text(encoding="utf-8")).get("sha256")
    if _digest(path, path.read_bytes()) == expected:
        return ""
    return f"{path.name} is not the file its sidecar describes (sha256 differs); fetch it again or regenerate it."
