"""Which tests belong to which rules: `rules.test.yaml` lies beside `rules.yaml`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NoTests", "Pair", "pairs_of"]

_ENDINGS = (".yaml", ".yml", ".json", ".toml")
_MARK = ".test"


class NoTests(Exception):
    """There are no tests, or no rules, where some should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A rules document and its tests."""

    rules: Path
    tests: Path


def pairs_of(path: Path) -> list[Pair]:
    """Return the pair that `path`, rules or tests, is half of; of a folder, all pairs in it and below.

    Raises:
        NoTests: says what is missing.
    """
    if path.is_dir():
        found = [pair for tests in _test_files(path) for pair in pairs_of(tests)]
        if not found:
            raise NoTests(f"{path}: no tests: expected a file such as rules{_MARK}.yaml beside rules.yaml")
        return found
    if _is_tests(path):
        return [Pair(rules=_first(path.with_name(path.stem.removesuffix(_MARK)), "no rules", path), tests=path)]
    return [Pair(rules=path, tests=_first(path.with_name(path.stem + _MARK), "no tests", path))]


def _first(without_ending: Path, what: str, beside: Path) -> Path:
    candidates = [without_ending.with_name(without_ending.name + ending) for ending in _ENDINGS]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise NoTests(f"{beside}: {what} beside it: expected {candidates[0].name}")


def _is_tests(path: Path) -> bool:
    return path.suffix in _ENDINGS and path.stem.endswith(_MARK)


def _test_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "node_modules")):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _test_files(path)
        elif _is_tests(path):
            yield path
