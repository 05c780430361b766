"""What is imported when, and what the library keeps its hands off: judged by the source and by a fresh process."""

import ast
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import localstore
from tests.effort import sampled

pytestmark = pytest.mark.xdist_group("imports")  # one process reads the sources
_log = logging.getLogger(__name__)
ROOT = Path(localstore.__file__).parent
START = ROOT / "__main__.py"
"""Starts the command line, as `python -m localstore`. Nothing imports it, so it belongs to no layer."""
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != START
}
LAYERS = [
    {"errors", "models"},
    {"format"},
    {"disk", "exporting"},
    {"index"},
    {"engine"},
    {"maintenance"},
    {"storage"},
    {"agents", "integrations", "databases"},
    {"viewer"},
]
"""From the left to the right: a module imports only what stands to the left of it, or in its own folder."""


def layer(module: str) -> int:
    """Return the number of the layer that a module belongs to."""
    return next(number for number, names in enumerate(LAYERS) if top_folder(module) in names)


def top_folder(module: str) -> str:
    """Return the folder or module directly below `localstore` that a module belongs to."""
    return module.split(".")[1]


@dataclass
class Source:
    """What the tests look for in the source of a module."""

    imports: list[tuple[str, bool]] = field(default_factory=list)
    """Each module that it imports anywhere, also for the type checker alone, and whether at its top level."""
    calls: set[str] = field(default_factory=set)
    """The functions that it calls by a plain name."""
    attributes: set[str] = field(default_factory=set)
    attributes_of_os: set[str] = field(default_factory=set)


@cache
def source(path: Path) -> Source:
    found = Source()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.imports += ((alias.name, node in tree.body) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.imports.append((whole if whole in MODULES else node.module, node in tree.body))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.calls.add(node.func.id)
        elif isinstance(node, ast.Attribute):
            found.attributes.add(node.attr)
            if isinstance(node.value, ast.Name) and node.value.id == "os":
                found.attributes_of_os.add(node.attr)
    return found


def imported(path: Path) -> list[tuple[str, bool]]:
    return source(path).imports


def imports() -> dict[str, set[str]]:
    """Return the modules of this package that each of its modules imports; `localstore` itself, which loads every
    module at its first use, and packages that only re-export are left out."""
    names = [name for name in MODULES if name not in PACKAGES]
    return {
        name: {other for other, _ in imported(MODULES[name]) if other in MODULES and other not in PACKAGES}
        for name in names
    }


PACKAGES = {name for name in MODULES if name.endswith(".__init__")}


def test_imports_point_left_only() -> None:
    for module in sorted(MODULES.keys() - PACKAGES):
        for name, _ in imported(MODULES[module]):
            if not name.startswith("localstore."):
                assert name not in ("localstore", "localstore_cli", "cli"), f"{module} imports {name}"
                continue
            assert (
                top_folder(name) == top_folder(module)
                or layer(name) < layer(module)
                or {top_folder(name), top_folder(module)} == LAYERS[0]
            ), f"{module} imports {name}"


def test_python_m_only_starts_the_command_line() -> None:
    assert [name for name, _ in imported(START)] == ["importlib"]


def test_no_modules_import_each_other_in_a_circle(record_property: Callable[[str, object], None]) -> None:
    """Modules that import each other in a circle cannot be read, tested or moved separately. Imports inside functions
    and for the type checker count."""
    graph = imports()
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")
    arrows = {(top_folder(name), top_folder(other)) for name, others in graph.items() for other in others}
    between_folders = sorted(f"{name} -> {other}" for name, other in arrows if name != other)
    record_property("imports between folders", len(between_folders))
    _log.info(
        "%s folders, %s imports between them: %s",
        len({top_folder(name) for name in graph}),
        len(between_folders),
        between_folders,
    )


def test_the_exports_import_only_models_format_and_errors() -> None:
    """An export turns a session into text, and needs neither the disk nor a storage for it."""
    for module in (name for name in MODULES if top_folder(name) == "exporting"):
        folders = {top_folder(name) for name, _ in imported(MODULES[module]) if name.startswith("localstore.")}
        assert folders <= {"exporting", "models", "format", "errors"}, module


def test_the_errors_import_nothing() -> None:
    assert list(imported(ROOT / "errors.py")) == []


def test_the_command_line_reaches_into_no_private_name() -> None:
    for path in sorted((ROOT.parent / "cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("localstore"):
                assert not [alias.name for alias in node.names if alias.name.startswith("_")]


def test_one_module_alone_makes_files_durable_and_replaces_them() -> None:
    """The crash tests see and fail only what goes through this module."""
    for module in MODULES.keys() - {"localstore.disk.filesystem"}:
        used = source(MODULES[module]).attributes_of_os
        assert not used & {"fsync", "fdatasync", "replace", "rename", "ftruncate", "pwrite"}, module


PEOPLE = {"localstore.agents.terminal.keyboard", "localstore.agents.terminal.screen"}
"""Only these use the standard streams; what prints goes through them."""


def test_the_library_does_not_print_and_reads_no_environment() -> None:
    for module, path in MODULES.items():
        used = source(path)
        assert not used.calls & ({"print"} if module in PEOPLE else {"print", "input"}), module
        assert not used.attributes & {"environ", "environb", "getenv", "expanduser", "expandvars", "home"}, module
        assert module in PEOPLE or not used.attributes & {"stdout", "stderr", "stdin"}, module


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


HEAVY = {
    "openai",
    "click",
    "rich",
    "yaml",
    "pydantic",
    "filelock",
    "orjson",
    "asyncio",
    "httpx",
    "sqlalchemy",
    "psycopg",
    "sqlite3",
}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import localstore") & HEAVY


def test_listing_loads_neither_pydantic_nor_yaml(tmp_path: Path) -> None:
    loaded = loaded_after(f"import localstore\nlocalstore.JsonStorage({str(tmp_path / 'store')!r}).list_sessions()")
    assert not loaded & {"openai", "click", "rich", "yaml", "pydantic"}


def test_storing_loads_no_model_client_and_no_terminal(tmp_path: Path) -> None:
    code = (
        "from localstore import JsonStorage, Run\n"
        f"storage = JsonStorage({str(tmp_path / 'store')!r})\n"
        "storage.append('s1', Run())\nstorage.read('s1')"
    )
    assert not loaded_after(code) & {"openai", "click", "rich", "yaml"}


def test_reading_loads_nothing_that_only_writes_need(tmp_path: Path) -> None:
    """`ctypes` took a third of the time that a new process needs for its first read."""
    storage = localstore.JsonStorage(tmp_path / "store")
    storage.append("s1", localstore.Run())
    code = f"import localstore\nassert localstore.JsonStorage({str(storage.root)!r}).read('s1').runs"
    assert "ctypes" not in loaded_after(code)


LIGHT_COMMANDS = [
    "ls",
    "ls --json",
    "path s1",
    "rename s1 trip",
    "search hello",
    "search hello --json",
    "show",
    "show s1 --json",
    "show s1 --last 1",
    "show s1 --messages --tools",
    "show s1 --run 1",
    "diff s1 s1",
    "state s1",
    "stats",
    "tag s1 travel",
]
NEEDED_BY_COMMANDS = {"click", "filelock", "orjson"}
"""The packages that a light command may load, besides Python's own and localstore."""


@pytest.mark.parametrize("command", sampled(LIGHT_COMMANDS, 3))
def test_a_light_command_loads_no_models_and_no_terminal(tmp_path: Path, command: str) -> None:
    """`show` took three times as long as `ls`, most of it to import pydantic, which it did not need."""
    storage = localstore.JsonStorage(tmp_path / "store")
    storage.append("s1", localstore.Run(messages=[localstore.Message(role="user", content="hello")]))
    storage.close()
    code = (
        "import sys\nbefore = {*sys.modules}\n"
        "from localstore_cli.app import main\n"
        f"sys.argv = ['localstore', *{command.split()!r}, '--store', {str(tmp_path / 'store')!r}]\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code, done.code\n"
        "print()\nprint(*{name.partition('.')[0] for name in sys.modules.keys() - before})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
        stdin=subprocess.DEVNULL,
    )
    loaded = set(done.stdout.splitlines()[-1].split()) - {"localstore", "localstore_cli"}
    assert loaded - sys.stdlib_module_names <= NEEDED_BY_COMMANDS


def test_exporting_loads_a_library_for_markdown_only_to_render_it() -> None:
    assert "markdown_it" not in loaded_after("from localstore.exporting import json_array, markdown_text")


def test_the_public_names_are_sorted_and_all_there() -> None:
    assert localstore.__all__ == sorted(localstore.__all__)
    assert set(localstore.__all__) <= set(dir(localstore))
    for name in localstore.__all__:
        assert getattr(localstore, name).__name__ == name


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = localstore.Nothing
