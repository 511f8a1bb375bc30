"""Make the rules layer: `build_rules.py RULES DIRECTORY` writes DIRECTORY/rules.json, or says what is wrong with RULES.

On Lambda the directory is /opt, on Function Compute /code. What rules use and lies beside them goes along: tables for Enrich and
certificates, which rules.json names by the same relative paths or as /opt/NAME, and the package `transforms`, which is put where Python
finds it: DIRECTORY/python, or what `--packages` names.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

OWN = frozenset({"Makefile", "rules.json"})
# Documents for people, as the rules themselves and their tests, and programs: rules call none but those of `transforms`.
NOT_DATA = frozenset({".yaml", ".yml", ".toml", ".md", ".py", ".sh"})


def main(rules: Path, directory: Path, packages: Path | None = None) -> int:
    """Write the layer and return the command's exit code: 0 written, 1 faults in the rules, 2 unreadable."""
    try:
        from mqbridge.rules.declarations import read_document
        from mqbridge_cli import validate
    except ImportError as error:
        print(
            f"{sys.executable} has no {error.name}: use  make build , or put .venv/bin into PATH first", file=sys.stderr
        )
        return 2
    exit_code = validate.run(str(rules), "text")
    if exit_code:
        return exit_code
    document = read_document(rules.read_text(encoding="utf-8-sig"), str(rules)).data
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "rules.json").write_text(text, encoding="utf-8")
    for each in sorted(rules.parent.iterdir()):
        if each.name in OWN or _is_left_out(each.name):
            continue
        is_package = each.name == "transforms"
        target = (packages or directory / "python" if is_package else directory) / each.name
        if each.is_dir():
            shutil.rmtree(target, ignore_errors=True)  # of an earlier run
            shutil.copytree(each, target, ignore=shutil.ignore_patterns("__pycache__") if is_package else _left_out)
        else:
            shutil.copyfile(each, target)
    return 0


def _left_out(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if _is_left_out(name)]


def _is_left_out(name: str) -> bool:
    return name.startswith((".", "__")) or Path(name).suffix in NOT_DATA


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="build_rules.py")
    parser.add_argument("rules", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--packages", type=Path)
    options = parser.parse_args()
    sys.exit(main(options.rules, options.directory, options.packages))
