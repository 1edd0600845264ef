"""Imports point one way, up the list in the design; heavy packages stay where they belong and load when needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import imu_lab

LIBRARY = Path(imu_lab.__file__).parent

# Each room may import only those before it. A module beside the rooms is one, too.
ROOMS = [
    "core", "tasks", "features", "influences", "intensities", "unlearning", "measures", "lab", "studies", "figures",
    "widgets", "lessons", "__init__", "__main__",
]  # fmt: skip

# Who may import what. Anywhere else, importing it is a mistake.
COMPUTING = {"core", "tasks", "features", "influences", "intensities", "unlearning", "measures", "lab", "studies"}
HOMES = {
    "torch": COMPUTING,
    "captum": {"influences", "measures"},
    "plotly": {"figures", "widgets"},
    "ipywidgets": {"widgets", "lessons"},
    "anywidget": {"widgets"},
    "IPython": {"widgets"},
}

# Costs half a second or more: only inside a function, at its first use.
LATE = {"torchvision", "sklearn", "captum", "transformers", "scipy", "matplotlib"}

FILES = sorted(LIBRARY.rglob("*.py"))


def room(path: Path) -> str:
    """The package, or module, at the top of the library that a file belongs to."""
    first = path.relative_to(LIBRARY).parts[0]
    return first.removesuffix(".py")


@cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Absolute dotted names that a file imports, and whether that happens when the file is loaded."""
    return tuple(_imports(path))


@cache
def parsed(path: Path) -> ast.Module:
    """What a file says."""
    return ast.parse(path.read_text(), str(path))


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    package = ["imu_lab", *path.relative_to(LIBRARY).parts[:-1]]
    left: list[tuple[ast.AST, bool]] = [(parsed(path), True)]
    while left:
        node, now = left.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, now) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names = [node.module] if node.module else []
            yield from ((".".join([*base, *names, alias.name]), now) for alias in node.names)
        elif not isinstance(node, ast.expr):  # which holds none
            now = now and not isinstance(node, FUNCTIONS)
            left += [(inner, now) for inner in reversed(list(ast.iter_child_nodes(node)))]


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def own(dotted: str) -> str | None:
    """The room that a name of ours belongs to: ``__init__`` for what the package shows at its face; None for names of others."""
    package, first = (dotted.split(".") + [""])[:2]
    return (first if first in ROOMS else "__init__") if package == "imu_lab" else None


def test_every_file_has_its_room() -> None:
    homeless = {room(path) for path in FILES} - set(ROOMS)
    assert not homeless, "give each new room its place in ROOMS, after all that it imports"


@pytest.mark.parametrize("room_", ROOMS)
def test_imports_go_only_up_the_list(room_: str) -> None:
    mine, higher = [path for path in FILES if room(path) == room_], set(ROOMS[ROOMS.index(room_) + 1 :])
    found = {
        str(path.relative_to(LIBRARY)): {name for name, _ in imports(path) if own(name) in higher} for path in mine
    }
    assert mine and not {path: names for path, names in found.items() if names}


def test_the_finder_of_imports_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules above hold for nothing if this function sees nothing."""
    file = LIBRARY / "tasks" / "never_written.py"
    monkeypatch.setattr(Path, "read_text", lambda self: "from ..core.registry import a\nfrom . import b\nimport c.d\n"
                        "def f():\n    from ...x import e\n    import g\n")  # fmt: skip
    assert list(_imports(file)) == [
        ("imu_lab.core.registry.a", True), ("imu_lab.tasks.b", True), ("c.d", True), ("x.e", False), ("g", False),
    ]  # fmt: skip
    assert own("imu_lab.core.registry.a") == "core" and own("torch.nn") is None
    # ``from .. import __version__``, ``from imu_lab import compare`` and ``import imu_lab`` go through the package's face.
    assert {own(name) for name in ("imu_lab.__version__", "imu_lab.compare", "imu_lab")} == {"__init__"}


def test_no_module_imports_one_that_imports_it() -> None:
    """Within a package, too, nothing goes round in circles."""
    names = {".".join(["imu_lab", *path.relative_to(LIBRARY).with_suffix("").parts]): path for path in FILES}
    wants = {name: {other for other in names if other != name and uses(path, other)} for name, path in names.items()}
    done: set[str] = set()
    while ready := {name for name in wants if name not in done and wants[name] <= done}:
        done |= ready
    assert not {name for name in set(wants) - done if not name.endswith("__init__")}


def uses(path: Path, module: str) -> bool:
    """Whether a file imports a module, or a name from it, when it is loaded."""
    return any(now and (name == module or name.rsplit(".", 1)[0] == module) for name, now in imports(path))


@pytest.mark.parametrize("package", HOMES)
def test_heavy_packages_stay_where_they_belong(package: str) -> None:
    users = {room(path) for path in FILES for name, _ in imports(path) if name.split(".")[0] == package}
    assert users <= HOMES[package]


def test_slow_packages_are_imported_at_first_use() -> None:
    early = {
        (str(path.relative_to(LIBRARY)), name)
        for path in FILES
        for name, now in imports(path)
        if now and name.split(".")[0] in LATE
    }
    assert not early


def test_the_library_prints_nothing() -> None:
    """Only the command line may; a library returns, raises, warns or logs."""
    for path in FILES:
        calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
        printed = [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
        assert path.name == "__main__.py" or not printed, (path, printed)


ALONE = """
import socket, sys
def refuse(*arguments, **settings):
    raise AssertionError("import imu_lab opened a socket")
socket.socket.connect = socket.socket.bind = socket.create_connection = socket.getaddrinfo = refuse
before = set(sys.modules)
import imu_lab
loaded = {"torchvision", "sklearn", "captum", "transformers", "plotly", "ipywidgets", "IPython"} & set(sys.modules)
assert not loaded, loaded
assert callable(imu_lab.plot_curves)
"""


@pytest.mark.full
def test_importing_is_light_and_touches_no_network(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_ground_floor_knows_torch_in_one_file() -> None:
    users = {
        path.name
        for path in FILES
        if room(path) == "core" and any(n.split(".")[0] == "torch" for n, _ in imports(path))
    }
    assert users == {"running.py"}


def test_the_package_shows_its_public_names_and_nothing_else() -> None:
    assert dir(imu_lab) == sorted(imu_lab.__all__) and len(set(imu_lab.__all__)) == len(imu_lab.__all__)
    for name in imu_lab.__all__:
        assert getattr(imu_lab, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'no_such_thing'"):
        imu_lab.no_such_thing


def test_no_public_name_is_or_hides_a_module() -> None:
    """``imu_lab.x`` is one thing, whatever was imported before."""
    rooms = {room(path) for path in FILES}
    hidden = {name for name in imu_lab.__all__ if name in rooms or isinstance(getattr(imu_lab, name), ModuleType)}
    assert {"core", "figures"} <= rooms and hidden == {"tasks"}


def test_few_modules_stand_outside_the_rooms() -> None:
    assert len(list(LIBRARY.glob("*.py"))) <= 6
