"""docs/rules.md and docs/rule-tests.md: their tables are the declarations', the list of faults is complete, and their YAML is sound."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mqbridge.rules import load
from mqbridge.rules.declarations import Ignored, Refused, RulesDocument, settings_of
from mqbridge.telemetry import METRICS
from mqbridge_cli.reference import filled, main, sections
from mqbridge_cli.rule_tests import RuleTests

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "rules.md"
TEXT = PAGE.read_text()
PAGES: list[tuple[str, type]] = [
    (TEXT, RulesDocument),
    ((ROOT / "docs" / "rule-tests.md").read_text(), RuleTests),
]
of_each_page = pytest.mark.parametrize(("text", "document"), PAGES, ids=["rules", "rule-tests"])


@of_each_page
def test_the_page_has_the_tables_of_the_declarations(text: str, document: type) -> None:
    assert filled(text) == text, f"run make docs: {document.__name__}"


def test_the_page_of_metrics_is_the_registry_s() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert filled(text) == text, "run make docs"
    assert all(f"| `{name}` |" in text for name in METRICS)


def test_the_command_fills_a_page_in_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- generated: Tls -->\nstale\n<!-- end -->\nafter\n")
    assert main([str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- generated: Tls -->\n\n### Tls\n")
    assert text.endswith("\n\n<!-- end -->\nafter\n")
    assert "| `CaFile` | a file's path |" in text
    assert "stale" not in text


def test_a_marker_that_names_no_section_is_an_error() -> None:
    with pytest.raises(KeyError, match="Nonsense"):
        filled("<!-- generated: Nonsense -->\n<!-- end -->")


def part_of(text: str, name: str) -> list[str]:
    """Return the lines of a page below a heading."""
    return text.partition(f"\n### {name}\n")[2].partition("\n### ")[0].splitlines()


@of_each_page
def test_every_section_stands_on_its_page_once(text: str, document: type) -> None:
    known = sections(document)
    assert len(known) > 8
    assert {name: text.count(f"\n### {name}\n") for name in known} == dict.fromkeys(known, 1)


@of_each_page
def test_every_setting_has_its_row_or_is_named_beside_the_table(text: str, document: type) -> None:
    for name, section in sections(document).items():
        lines = part_of(text, name)
        aside = "\n".join(line for line in lines if line.startswith(("Accepted", "Refused")))
        for declared in settings_of(section).values():
            if isinstance(declared.kind, Ignored | Refused):
                assert f"`{declared.key}`" in aside
            else:
                (row,) = [line for line in lines if line.startswith(f"| `{declared.key}` |")]
                assert declared.doc.replace("|", r"\|") in row


@of_each_page
def test_links_within_the_page_have_a_heading_to_go_to(text: str, document: type) -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line[:1] == "#"
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) - headings == set(), document


def test_the_page_keeps_the_order_of_reference_pages() -> None:
    parts = [line[3:] for line in TEXT.splitlines() if line.startswith("## ")]
    assert parts == [
        "Common settings",
        "All settings",
        "Guarantees and metadata",
        "Fields",
        "Errors",
        "Troubleshooting",
    ]


# Fault codes.


def raised_codes() -> Iterator[str]:
    for folder in ("layers/common/mqbridge", "cli/mqbridge_cli"):
        for module in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(module.read_text())):
                if isinstance(node, ast.Constant) and re.fullmatch(r"MB\d{3}", str(node.value)):
                    yield str(node.value)


def test_every_fault_code_is_on_the_page_with_what_it_means() -> None:
    listed = {}
    for line in TEXT.partition("## Errors")[2].partition("\n## ")[0].splitlines():
        if found := re.match(r"\| `(MB\d{3})` \|", line):
            assert found[1] not in listed
            listed[found[1]] = [cell.strip() for cell in line.strip("|").split(" | ")]
    assert set(listed) == set(raised_codes())
    assert list(listed) == sorted(listed)
    for code, cells in listed.items():
        assert len(cells) == 4, f"{code}: code, what, example, use instead"
        assert all(cells), code


# YAML.


def yaml_blocks(page: Path) -> Iterator[str]:
    yield from re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_every_rules_document_of_a_page_is_valid(page: Path) -> None:
    for block in yaml_blocks(page):
        for document in yaml.safe_load_all(block):
            if isinstance(document, dict) and "Instances" in document:
                load(document)


def test_the_pages_have_rules_documents() -> None:
    assert sum("Instances:" in block for block in [*yaml_blocks(ROOT / "README.md"), *yaml_blocks(PAGE)]) >= 2
