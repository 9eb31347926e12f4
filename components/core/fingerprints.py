"""Which code decides a result: import closures, read off the source, and their fingerprints.

Nothing is imported for it. A fingerprint changes with whatever the interpreter would do otherwise,
and not with comments, docstrings, blanks or line breaks. It is the same under every Python: the
syntax tree is written out here, since the form of `ast.dump` differs between versions.

No import statement names the parts that another installed package adds (extensions.py). A module
that makes `Extensions("graders")` has the code of all packages with graders in its fingerprint.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec, resolve_name
from pathlib import Path

from components.core.storage import digest_bytes, digest_file

ROOT = Path(__file__).parents[2]
_INIT = "__init__"
_GROUP = "safereact."  # of entry points
_NO_INPUT = re.compile(r"^\.|~$|\.pyc?$")  # modules themselves, and what editors and systems leave


@dataclass(frozen=True, slots=True)
class _Module:
    """A module as it is on disk."""

    digest: str  # of its code, and of the files beside it, where it can read them
    names: frozenset[str]  # what it needs: its package, and what it imports, modules or not
    kinds: frozenset[str]  # of the parts that others may add


class Code:
    """The modules below `root` as they are on disk when they are first asked for.

    Modules are named as in an import statement, and one is in a closure where it is imported
    anywhere in another, in functions too, but for imports that only type checkers see. With it come
    the packages that hold it. Of a module that uses `__file__` what its package holds beside
    modules counts, too: templates byte for byte.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._ours = {folder.name for folder in root.iterdir() if folder.is_dir()}
        self._found: dict[str, _Module | None] = {}

    def closure(self, *modules: str, apart: Collection[str] = ()) -> list[str]:
        """Return `modules` and what they import, directly or not, by name; nothing of `apart`.

        Raises `ModuleNotFoundError` for one of `modules` that is not there.
        """
        if missing := [name for name in modules if self._module(name) is None]:
            raise ModuleNotFoundError(f"{', '.join(missing)} is not below {self._root}")
        found: set[str] = set()
        waiting = set(modules)
        while waiting:
            name = waiting.pop()
            if (module := self._module(name)) and name not in apart:
                found.add(name)
                waiting |= module.names - found
        return sorted(found)

    def fingerprint(self, *modules: str, apart: Collection[str] = (), also: str = "") -> str:
        """Return the SHA-256 of the closure of `modules`, without `apart`, of the parts that other
        packages add to it, and of `also`."""
        closure = self.closure(*modules, apart=apart)
        found = [(name, module) for name in closure if (module := self._module(name))]
        kinds = frozenset[str]().union(*(module.kinds for _, module in found))
        code = [(name, module.digest) for name, module in found]
        outside = [part for part in outside_parts() if part[0] in kinds]
        return digest_bytes(json.dumps([also, code, *outside]).encode())

    def _module(self, name: str) -> _Module | None:
        """Return the module or package of a name; None where it is none of ours."""
        if name.partition(".")[0] not in self._ours:
            return None
        if name not in self._found:
            place = self._root.joinpath(*name.split("."))
            files = (place / f"{_INIT}.py", place.with_name(f"{place.name}.py"))
            file = next((file for file in files if file.is_file()), None)
            self._found[name] = _read(name, file) if file else None
        return self._found[name]


def _read(name: str, file: Path) -> _Module:
    parent = name.rpartition(".")[0]
    package = name if file.stem == _INIT else parent
    source = file.read_bytes()
    digest, imported, kinds = _parsed(source, package)
    # Only a module that knows where it lies can read what lies beside it.
    beside = _beside(file.parent) if b"__file__" in source else []
    whole = digest_bytes(json.dumps([digest, *beside]).encode())
    return _Module(whole, imported | {parent or name}, kinds)


def outside_parts() -> list[list[str]]:
    """Return what other installed packages add: kind, name, module, package, version and digest of
    the code of each part. Nothing of it is imported."""
    groups = [group for group in entry_points().groups if group.startswith(_GROUP)]
    return sorted(_outside_part(point) for g in groups for point in entry_points(group=g))


def _outside_part(point: EntryPoint) -> list[str]:
    spec = find_spec(point.module.partition(".")[0])
    places = spec.submodule_search_locations or [spec.origin or ""] if spec else []
    code = digest_code(*(Path(place) for place in places if place))
    name, version = (point.dist.name, point.dist.version) if point.dist else ("", "")
    return [point.group.removeprefix(_GROUP), point.name, point.value, name, version, code]


def digest_code(*places: Path) -> str:
    """Return the SHA-256 of the code in modules and in folders of modules, without comments,
    docstrings and layout."""
    parts = [
        (file.name, _parsed(file.read_bytes(), "")[0])
        for place in places
        for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])
    ]
    return digest_bytes(json.dumps(parts).encode())


def _beside(package: Path) -> list[str]:
    """Return names and digests of the files of a package that are no modules."""

    def belongs(file: Path) -> bool:
        innermost = next(f for f in file.parents if (f / f"{_INIT}.py").is_file())
        return file.is_file() and not _NO_INPUT.search(file.name) and innermost == package

    files = filter(belongs, sorted(package.rglob("*")))
    return [text for f in files for text in (f.relative_to(package).as_posix(), digest_file(f))]


@lru_cache(maxsize=1024)
def _parsed(source: bytes, package: str) -> tuple[str, frozenset[str], frozenset[str]]:
    """Return the digest of a module's code, the names that it imports, modules or parts of them,
    where relative ones are those of `package`, and the kinds of parts that it lets others add."""
    tree = ast.parse(source)
    written = json.dumps(_plain(tree), separators=(",", ":"))
    kinds = set()
    for node in ast.walk(tree) if b"Extensions(" in source else ():
        match node:
            case ast.Call(func=ast.Name("Extensions"), args=[ast.Constant(str(kind))]):
                kinds.add(kind)
    return digest_bytes(written.encode()), frozenset(_imported(tree, package)), frozenset(kinds)


def _plain(node: object) -> object:
    """Return a syntax tree as lists of texts and numbers, without what has no effect."""
    if isinstance(node, ast.Constant):
        return [type(node.value).__name__, ascii(node.value)]
    if isinstance(node, ast.JoinedStr):  # Python 3.12 puts empty texts among the parts
        return ["f", *(_plain(part) for part in node.values if getattr(part, "value", "x") != "")]
    if isinstance(node, ast.AST):
        fields = [(name, _plain(value)) for name, value in ast.iter_fields(node)]
        # What a version of Python added is not there where it is not used.
        return [type(node).__name__, *(field for field in fields if field[1] not in (None, []))]
    if isinstance(node, list):
        return [_plain(each) for each in _effective(node)]
    return node


def _effective(nodes: list[ast.AST]) -> Iterator[ast.AST]:
    """Yield the statements of a block that do something; a list of other nodes as it is."""
    for node in nodes:
        if isinstance(node, ast.If) and _for_type_checkers(node):
            yield from _effective(list(node.orelse))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring, or an ellipsis in the place of a body
        elif not isinstance(node, ast.Pass):
            yield node


def _for_type_checkers(node: ast.If) -> bool:
    return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        module = resolve_name("." * tree.level + (tree.module or ""), package)
        yield module
        yield from (f"{module}.{alias.name}" for alias in tree.names)
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _for_type_checkers(node):
            for each in node.orelse:
                yield from _imported(each, package)
        else:
            yield from _imported(node, package)
