"""Fingerprints change with what the interpreter would do otherwise, and with nothing else."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from dataclasses import replace
from modulefinder import ModuleFinder
from pathlib import Path
from random import Random

import pytest

from components.chain import TABLE
from components.core.fingerprints import Code, digest_code, outside_parts
from components.inputs import code_of, modules_of
from tests.extensions import install
from tests.root import ROOT

TABLE_MODULE = "components.chain"
COMPARISONS = {ast.Lt: "<=", ast.Gt: ">=", ast.Eq: "!=", ast.In: "not in", ast.Is: "is not"}
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Div: "*", ast.BitOr: "&"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, which tests change and put right again."""
    root = tmp_path_factory.mktemp("code")
    shutil.copytree(ROOT / "components", root / "components")
    return root


@pytest.fixture(scope="module")
def closures(tree: Path) -> dict[str, set[str]]:
    code = Code(tree)
    return {
        name: set(code.closure(*modules_of(stage), apart=(TABLE_MODULE,)))
        for name, stage in TABLE.items()
    }


def fingerprints(root: Path) -> dict[str, str]:
    code = Code(root)
    return {name: code_of(stage, code) for name, stage in TABLE.items()}


def changed(before: dict[str, str], root: Path) -> set[str]:
    return {name for name, digest in fingerprints(root).items() if digest != before[name]}


def file_of(root: Path, module: str) -> Path:
    place = root.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_name(f"{place.name}.py")


def places(source: str) -> Iterator[tuple[ast.expr, ast.expr | None, str]]:
    """Yield where code can be made to do something else: from begin to end of an expression,
    or from the end of one to the begin of another, and what would stand there."""
    other = {
        bool: lambda v: not v,
        int: lambda v: v + 1,
        float: lambda v: 2 * v + 1,
        str: lambda v: v + "x",
    }
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        kind = type(node.value) if isinstance(node, ast.Constant) else None
        if kind in other:
            yield node, None, repr(other[kind](node.value))
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
            yield node.left, node.comparators[0], COMPARISONS[type(node.ops[0])]
        elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            yield node.left, node.right, OPERATORS[type(node.op)]
        checked = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not (checked or text or isinstance(node, ast.JoinedStr)):
            waiting += ast.iter_child_nodes(node)


def mutated(source: str, random: Random) -> str | None:
    """Return `source` with one place changed; None where there is no such place."""
    lines = source.splitlines()

    def apart(left: ast.expr, right: ast.expr | None) -> bool:
        """Return whether nothing but an operator stands between two expressions, on one line."""
        if right is None:
            return left.lineno == left.end_lineno
        between = lines[left.lineno - 1][left.end_col_offset : right.col_offset]
        return left.lineno == left.end_lineno == right.lineno and not set(between) & set("()")

    found = [(a, b, text) for a, b, text in places(source) if apart(a, b) and source.isascii()]
    if not found:
        return None
    left, right, text = random.choice(found)
    line = lines[left.lineno - 1]
    begin, end = left.col_offset, left.end_col_offset
    if right is not None:
        begin, end = left.end_col_offset, right.col_offset
    lines[left.lineno - 1] = f"{line[:begin]} {text} {line[end:]}"
    return "\n".join(lines) + "\n"


def remarked(source: str) -> str:
    """Return `source` laid out anew, with other docstrings, remarks and blank lines."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            if ast.get_docstring(node) is not None:
                del node.body[0]
            future = isinstance(node, ast.Module)
            node.body.insert(0, ast.Expr(ast.Constant("Another docstring." if future else "Other")))
    lines = ast.unparse(ast.fix_missing_locations(tree)).splitlines()
    return "# a remark\n\n" + "\n".join(lines) + "\n\n\n# and one more: x = 1\n"


def test_a_change_of_code_changes_the_stages_that_import_it_and_no_others(tree, closures):
    before = fingerprints(tree)
    everywhere = sorted(set().union(*closures.values()))
    assert len(everywhere) > 100
    tried = 0
    for module in Random(len(everywhere)).sample(everywhere, 24):
        file, random = file_of(tree, module), Random(module)
        source = file.read_text()
        if (other := mutated(source, random)) is None:
            continue
        file.write_text(other)
        holding = {name for name, closure in closures.items() if module in closure}
        assert changed(before, tree) == holding, module
        file.write_text(source)
        tried += 1
    assert tried > 12
    assert not changed(before, tree)


def test_remarks_docstrings_and_layout_change_nothing(tree):
    before = fingerprints(tree)
    originals = {file: file.read_text() for file in (tree / "components").rglob("*.py")}
    for file, source in originals.items():
        file.write_text(remarked(source))
    assert fingerprints(tree) == before
    for file, source in originals.items():
        file.write_text(source)


def test_what_is_outside_of_a_closure_changes_nothing(tree, closures):
    before = fingerprints(tree)
    inside = {file_of(tree, module) for module in set().union(*closures.values())}
    outside = sorted(set((tree / "components").rglob("*.py")) - inside)
    exports = tree / "components/evaluate/exports/inspect_log.py"
    registry = tree / "components/registry/mlflow_registry.py"
    assert {exports, registry} <= set(outside)
    originals = {file: file.read_text() for file in outside}
    for file, text in originals.items():
        file.write_text(f"{text}\nimport components.evaluate.stage\nX = 1\n")
    assert not changed(before, tree)
    for file, text in originals.items():
        file.write_text(text)


def test_closures_are_those_that_pythons_own_finder_finds(tree, closures):
    """`modulefinder` reads compiled code, where imports for type checkers are imports, too."""
    for name in ("evaluate", "baselines"):
        closure = closures[name]
        finder = ModuleFinder(path=[str(tree)])
        for module in modules_of(TABLE[name]):
            finder.import_hook(module)
        found = {module for module in finder.modules if module.partition(".")[0] == "components"}
        assert closure <= found
        imported = {m for known in closure for m in at_run_time(file_of(tree, known))}
        for more in found - closure:
            assert more not in imported or more == TABLE_MODULE, (
                f"{name}: {more} is imported and not in the closure"
            )


def at_run_time(file: Path) -> set[str]:
    """Return what a file imports, but for the blocks that only type checkers read."""
    tree = ast.parse(file.read_text())
    hidden = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = set()
    for node in set(ast.walk(tree)) - hidden:
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize(
    ("template", "stages"),
    [("report/report.html", {"report"}), ("prepare/data_docs.html", {"prepare"})],
)
def test_templates_count_byte_for_byte(tree, template, stages):
    before = fingerprints(tree)
    file = tree / "components" / template
    whole = file.read_bytes()
    file.write_bytes(whole + b"\n")
    assert changed(before, tree) == stages
    file.write_bytes(whole)
    (file.parent / ".swap").write_text("")
    assert not changed(before, tree)


def test_of_the_table_a_stage_has_its_own_row(monkeypatch, tree):
    before = fingerprints(tree)
    row = replace(TABLE["probe"], upstream=("models", "prepare"))
    monkeypatch.setitem(TABLE, "probe", row)
    assert changed(before, tree) == {"probe"}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package `p` of its own, whose module `a` imports `b` in a function and `c` never."""
    folder = tmp_path / "p" / "deep"
    folder.mkdir(parents=True)
    for path in (tmp_path / "p", folder):
        (path / "__init__.py").write_text("")
    (tmp_path / "p" / "a.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from p import c\n"
        "def work():\n    from p import b\n    return b.X\n"
    )
    (tmp_path / "p" / "b.py").write_text("from .deep.d import Y as X\n")
    (tmp_path / "p" / "c.py").write_text("")
    (folder / "d.py").write_text("from ..e import Y\n")
    (tmp_path / "p" / "e.py").write_text("Y = 1\n")
    return tmp_path


def test_a_closure_follows_functions_packages_and_relative_imports(package):
    code = Code(package)
    assert code.closure("p.a") == ["p", "p.a", "p.b", "p.deep", "p.deep.d", "p.e"]
    assert code.closure("p.a", apart=["p.deep.d"]) == ["p", "p.a", "p.b"]
    with pytest.raises(ModuleNotFoundError, match=r"p\.gone is not below"):
        code.closure("p.gone")
    before = code.fingerprint("p.a")
    (package / "p" / "deep" / "__init__.py").write_text("import p.c")
    assert "p.c" in Code(package).closure("p.a")
    assert Code(package).fingerprint("p.a") != before


SYNTAX = '''
"""A docstring."""
from __future__ import annotations
import os.path as path
async def f(a, /, b: int = 1, *c, d=-0.0, **e) -> str:
    """Another."""
    match a:
        case [1, *_] | {"k": None, **r} if b >= 2: pass
        case P(x=True) as q: return f"{q!r:>{b}} é {{}}"
    async with a as b, c: x = [y async for y in c if not y]; del x
    try: yield (z := 1_0)
    except* OSError as g: raise ValueError from g
    else: global h; h = lambda: ...; assert h, b"\\x00"
@f
class C(B, metaclass=M): x: int; y = 1j; z = a[1:, ::2, ...]
if 0x10 < a is not None != b in c: print(*a, **b, end="")
'''


def test_a_fingerprint_is_the_same_under_every_python(tmp_path):
    """Written under 3.11; the same came out under 3.12 and 3.13."""
    file = tmp_path / "m.py"
    file.write_text(SYNTAX)
    expected = "8f0774eab3ad602dcfec7e1883281853f02bcfa34f3d29ded8e4645c84672876"
    assert digest_code(file) == expected
    file.write_text(SYNTAX.replace("a[1:, ::2, ...]", "a[1:, ::2]"))
    assert digest_code(file) != expected


def test_a_part_of_another_package_counts_where_parts_of_its_kind_are_used(
    package, tmp_path_factory, monkeypatch
):
    (package / "p" / "b.py").write_text("KINDS: Extensions[int] = Extensions('graders')\nX = 1\n")

    def digests() -> tuple[str, str]:
        return Code(package).fingerprint("p.a"), Code(package).fingerprint("p.e")

    user, other = digests()
    folder = tmp_path_factory.mktemp("outside")
    install(folder, monkeypatch, kind="graders", name="far", code="import missing\nX = 1\n")
    with_part, unchanged = digests()
    assert with_part != user and unchanged == other
    assert ["graders", "far"] in [part[:2] for part in outside_parts()]
    file = folder / "outside_graders_far.py"
    file.write_text("# a remark\nimport missing\nX = 1\n")
    assert digests() == (with_part, other)
    file.write_text("import missing\nX = 2\n")
    assert digests()[0] not in (user, with_part) and digests()[1] == other
