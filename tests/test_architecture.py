"""The laws of the house, read off the source."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from components.chain import STAGES, TABLE, declared_files, dvc_file, split_dvc_name
from components.core.documents import read_yaml
from components.core.paths import (
    CHAMPIONS,
    INPUTS,
    INPUTS_FOLDER,
    MANIFEST,
    PROMPTS,
    Workspace,
    fingerprint_file,
)
from components.core.result import Result
from components.profile import Profile
from tests.root import ROOT

# Rooms in the order of their imports: each may use those before it. Stages stand side by side.
ORDER = ("core", "lm", "judges", "stage", "registry", "studies")
# What a stage may use of another: what it hands on, what it is told, and how its figures are
# counted again, since whoever relies on a figure has it counted again.
PUBLIC = {"result", "settings", "recount"}
# Modules that stand above the stages: the profile and the table of all stages.
JOINING = {"chain", "declared_inputs", "inputs", "profile", "stages"}
MODULES = sorted([*(ROOT / "components").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])
DYNAMIC = {"importlib", "runpy", "pkgutil", "imp", "zipimport"}
OPENS_NOTHING = ("importlib.metadata.", "importlib.util.")
CALLED = {"__import__", "exec", "eval", "compile"}
DECLARATIONS = [m for m in MODULES if m.name in ("settings.py", "result.py")]
HEAVY = (
    "torch transformers peft accelerate datasets mlflow prefect dvc great_expectations sklearn "
    "pandas matplotlib optuna openai"
)


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def rank(room: str) -> int:
    """Return the place of a room among those before and after it."""
    return ORDER.index("stage" if room in STAGES else room)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path):
    parts = path.relative_to(ROOT).parts
    ours = [name.split(".") for name in imports(path)]
    if parts[0] == "flows":
        below = {"runner": {"runner"}, "doctor": {"runner", "doctor"}}
        used = {name[1] for name in ours if name[0] == "flows" and name[1] != parts[1]}
        allowed = below.get(parts[1], used)
        assert used <= allowed, f"{name_of(path)} imports {used - allowed}"
        return
    assert not [name for name in ours if name[0] == "flows"], "components know nothing of flows"
    if len(parts) == 2:
        return
    room = parts[1]
    for name in (name for name in ours if name[0] == "components" and name[1] != room):
        if name[1] in JOINING:
            assert rank(room) > rank("stage"), f"{name_of(path)} imports {'.'.join(name)}"
            continue
        assert rank(name[1]) <= rank(room), f"{name_of(path)} imports {'.'.join(name)}"
        beside = rank(name[1]) == rank(room)
        assert not beside or name[2] in PUBLIC, f"{name_of(path)} imports {'.'.join(name)}"


def test_no_circle_of_imports():
    """Whatever a module imports, anywhere in it, does not import it in turn."""
    modules = {name_of(m).removesuffix(".py").replace("/", "."): m for m in MODULES}
    graph = {name: {i for i in imports(m) if i in modules} for name, m in modules.items()}
    for name, module in modules.items():
        graph[name] |= {i.rpartition(".")[0] for i in imports(module)} & modules.keys()
    TopologicalSorter(graph).prepare()  # raises CycleError with the circle


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("mlflow", "components/registry/mlflow_"),
        ("prefect", "flows/"),
        ("optuna", "components/studies/tune/search.py"),
    ],
)
def test_a_library_is_known_in_one_place(library: str, home: str):
    users = [name_of(p) for p in MODULES if any(n.split(".")[0] == library for n in imports(p))]
    assert users and all(user.startswith(home) for user in users), users


def test_a_stage_has_one_name_everywhere():
    """Each row's function, result and section are where the row says, and no other folder is."""
    rooms = (ROOT / "components", ROOT / "components" / "studies")
    folders = {path.parent.name for room in rooms for path in room.glob("*/stage.py")}
    assert folders == TABLE.keys() <= Profile.model_fields.keys()
    for name, stage in TABLE.items():
        function, result = stage.function, stage.result_class
        signature = inspect.signature(function)
        returned = getattr(sys.modules[result.__module__], signature.return_annotation)
        assert issubclass(returned, result) and issubclass(result, Result)
        taken = tuple(signature.parameters)
        assert taken[-2:] == ("seed", "out"), f"{name} takes {taken}"
        assert len(taken) - 2 == 1 + len(stage.settings) + len(stage.upstream) + stage.champion
        assert stage.file_only == tuple(u for u in stage.upstream if u in stage.file_only)


def test_dvc_yaml_is_written_from_the_table():
    written = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert written == dvc_file(declared_files(ROOT)), "run `python -m components.chain`"
    graph = read_yaml(ROOT / "dvc.yaml")["stages"]
    first = graph.pop(INPUTS)
    assert (first["outs"], first["deps"]) == ([INPUTS_FOLDER], ["components", "profiles"])
    for called, stage in graph.items():
        name, profile = split_dvc_name(called)
        do, key = stage.get("do", stage), profile or "${key}"
        folder = Workspace(Path(), key).stage(name)
        plots = [path for plot in do.get("plots", []) for path in plot]
        written = {Path(path) for path in (*do["outs"], *do.get("metrics", []), *plots)}
        assert written == ({folder / f for f in TABLE[name].files} or {folder})
        ((_, watched),) = do["params"][0].items()
        assert set(watched) == {TABLE[name].seed, name, *TABLE[name].settings}
        inputs = [dep for dep in do["deps"] if dep.startswith(("artifacts/${", "data/prepared/"))]
        upstream = {
            before
            for before in TABLE
            for dep in inputs
            if f"{dep}/".startswith(f"{Workspace(Path(), '${key}').stage(before).as_posix()}/")
        }
        assert upstream == set(TABLE[name].upstream), f"{name} reads what DVC does not watch"
        assert (f"{CHAMPIONS}/${{key}}" in do["deps"]) is TABLE[name].champion


def test_only_what_tests_depends_on_test_prompts():
    graph = read_yaml(ROOT / "dvc.yaml")["stages"]
    folder = Workspace(Path(), "${key}").stage("prepare").as_posix()
    for name, stage in TABLE.items():
        if "prepare" in stage.upstream:
            watched = {dep for dep in graph[name]["do"]["deps"] if dep.startswith(folder)}
            alone = {f"{folder}/{MANIFEST}", f"{folder}/{PROMPTS}"}
            assert watched == ({folder} if stage.tests else alone), name


def test_of_the_code_a_stage_depends_on_its_fingerprint_alone():
    graph = read_yaml(ROOT / "dvc.yaml")["stages"]
    assert graph.pop(INPUTS)["deps"] == ["components", "profiles"]
    for name, stage in graph.items():
        deps = stage.get("do", stage)["deps"]
        code = [d for d in deps if d.startswith((INPUTS_FOLDER, "components", "flows"))]
        assert code == [fingerprint_file(Path(), split_dvc_name(name)[0]).as_posix()]


def test_no_command_holds_a_name_that_a_shell_would_read():
    graph = read_yaml(ROOT / "dvc.yaml")["stages"]
    commands = [stage.get("do", stage)["cmd"] for stage in graph.values()]
    assert len(commands) == len(TABLE) + 1
    assert all(re.fullmatch(r"python -m components [a-z]+", command) for command in commands)


def test_no_string_that_names_a_module_goes_round_the_imports():
    """A closure is read off import statements: only the table of stages names functions."""
    modules = {name_of(m).removesuffix(".py").replace("/", ".") for m in MODULES}
    modules |= {m.removeprefix("components.") for m in modules if m.count(".") > 1}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
        told = [t for t in texts if isinstance(t, str) and t.partition(":")[0] in modules]
        assert name_of(path) == "components/chain.py" or not told, name_of(path)
        if path.is_relative_to(ROOT / "components"):
            dynamic = [n for n in imports(path) if n.split(".")[0] in DYNAMIC]
            opened = [name for name in dynamic if not name.startswith(OPENS_NOTHING)]
            assert opened == ["importlib"] * (name_of(path) == "components/chain.py"), path
            names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert not names & CALLED, name_of(path)


def test_mlflow_folder_holds_no_python():
    assert not list((ROOT / "mlflow").rglob("*.py"))


def test_nothing_heavy_is_loaded_at_the_front_door():
    light = [name_of(path).removesuffix(".py").replace("/", ".") for path in MODULES]
    light = [
        name
        for name in light
        if name.startswith("components.core.")
        or name.endswith((".settings", ".result"))
        or (name.startswith("components.") and name.count(".") == 1)
        or name
        in ("components.prepare.suites", "flows.cli.commands", "components.registry.promotion")
        or name == "components.registry.registration"  # nothing to do is to be over at once
    ]
    assert len(light) > 40
    code = (
        f"import importlib, sys\nfor name in {light!r}:\n    importlib.import_module(name)\n"
        f"    heavy = sorted(set({HEAVY.split()!r}) & set(sys.modules))\n"
        "    assert not heavy, f'{name} loads {heavy}'"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_no_absolute_paths_and_no_pickle():
    absolute = re.compile(r"""["'(\s=](/(home|root|Users|tmp|work|opt)/)""")
    pickles = re.compile(r"\b(torch\.(load|save)|pickle\.|joblib\.)")
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert not absolute.search(text), name_of(path)
        assert not pickles.search(text), name_of(path)


def test_functions_and_modules_stay_readable():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 350, f"{name_of(path)} is too long"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{name_of(path)}:{node.name} has {length} lines"


def test_every_module_says_what_it_is():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert not text.strip() or ast.get_docstring(ast.parse(text)), name_of(path)


def test_signatures_are_whole():
    """No `*args: Any, **named: Any` hides from the type checker what a function takes."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                rest = (node.args.vararg, node.args.kwarg)
                hidden = [
                    a for a in rest if a and a.annotation and ast.unparse(a.annotation) == "Any"
                ]
                assert len(hidden) < 2, f"{name_of(path)}:{node.lineno} {node.name}"


def test_one_builder_makes_up_evidence():
    built = re.compile(r"\bEvidence(\.model_construct)?\(")
    builders = [
        name_of(path)
        for path in (ROOT / "tests").rglob("*.py")
        if built.search(path.read_text(encoding="utf-8"))
    ]
    assert builders == ["tests/evidence.py"]


def test_the_gate_is_pure():
    """What decides reads files and figures: it knows no model, no server and no chance, and a clock
    only where overrides end. Its files are found, never listed."""
    outside = {*HEAVY.split(), "httpx2", "requests", "socket", "subprocess", "random", "time"}
    for path in (ROOT / "components" / "gate").glob("*.py"):
        known = set(imports(path))
        assert not {name.split(".")[0] for name in known} & outside, name_of(path)
        assert "datetime.datetime" not in known or path.name == "overrides.py", name_of(path)
