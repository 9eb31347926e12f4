"""Which code decides a result: import closures, read off the source, and their fingerprints.

Nothing is imported for it. A fingerprint changes with whatever the interpreter would do otherwise,
and not with comments, docstrings, blanks or line breaks. It is the same under every Python: the
syntax tree is written out here, since the form of `ast.dump` differs between versions.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Iterator
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path

from components.storage import digest_bytes, digest_file

ROOT = Path(__file__).parents[1]
_INIT = "__init__"


class Code:
    """The modules below `root` as they are on disk now.

    Modules are named as in an import statement, and one is in a closure where it is imported
    anywhere in another, in functions too, but for imports that only type checkers see. With it come
    the packages that hold it, and whatever they hold beside modules: templates count byte for byte.
    """

    def __init__(self, root: Path = ROOT) -> None:
        """Take the packages that lie in `root`."""
        self._root = root

    def closure(self, *modules: str, apart: Collection[str] = ()) -> list[str]:
        """Return `modules` and what they import, directly or not, by name; nothing of `apart`.

        Raises `ModuleNotFoundError` for one of `modules` that is not there.
        """
        found: set[str] = set()
        waiting = list(modules)
        for module in modules:
            if self._file(module) is None:
                raise ModuleNotFoundError(f"{module} is not below {self._root}")
        while waiting:
            module = waiting.pop()
            file = self._file(module)
            if file is None or module in found or module in apart:
                continue
            found.add(module)
            package = module if file.stem == _INIT else module.rpartition(".")[0]
            waiting += [package, *_parsed(file.read_bytes(), package)[1]]
        return sorted(found)

    def fingerprint(self, *modules: str, apart: Collection[str] = (), also: str = "") -> str:
        """Return the SHA-256 of the closure of `modules`, without `apart`, and of `also`."""
        parts = [also]
        for module in self.closure(*modules, apart=apart):
            file = self._file(module)
            assert file is not None, "it is in the closure"
            parts += [module, digest_code(file)]
            if file.stem == _INIT:
                parts += _beside(file.parent)
        return digest_bytes(json.dumps(parts).encode())

    def _file(self, module: str) -> Path | None:
        """Return the file of a module or package; None for what is no module of ours."""
        place = self._root.joinpath(*module.split(".")) if module else self._root
        for file in (place / f"{_INIT}.py", place.with_suffix(".py")):
            if file.is_file() and module:
                return file
        return None


def digest_code(*places: Path) -> str:
    """Return the SHA-256 of the code in modules and in folders of modules, without comments,
    docstrings and layout."""
    files = [
        file
        for place in places
        for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])
    ]
    parts = [(file.name, _parsed(file.read_bytes(), "")[0]) for file in files]
    return digest_bytes(json.dumps(parts).encode())


def _beside(package: Path) -> list[str]:
    """Return names and digests of the files of a package that are no modules."""
    files = [
        file
        for file in sorted(package.rglob("*"))
        if file.is_file() and file.suffix not in (".py", ".pyc") and _holder(file) == package
    ]
    return [text for f in files for text in (f.relative_to(package).as_posix(), digest_file(f))]


def _holder(file: Path) -> Path:
    """Return the innermost package that a file lies in."""
    return next(folder for folder in file.parents if (folder / f"{_INIT}.py").is_file())


@lru_cache(maxsize=1024)
def _parsed(source: bytes, package: str) -> tuple[str, frozenset[str]]:
    """Return the digest of a module's code, and the names that it imports, modules or parts of
    them; relative ones are those of `package`."""
    tree = ast.parse(source)
    told = json.dumps(_plain(tree), separators=(",", ":"))
    return digest_bytes(told.encode()), frozenset(_imported(tree, package))


def _plain(node: object) -> object:
    """Return a syntax tree as lists of texts and numbers, without what has no effect."""
    if isinstance(node, ast.Constant):
        return [type(node.value).__name__, ascii(node.value)]
    if isinstance(node, ast.AST):
        # What a version of Python added is left out where it is not used.
        fields = [(n, value) for n, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *([name, _plain(value)] for name, value in fields)]
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
