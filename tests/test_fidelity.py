"""docs/fidelity.md names code and tests; every name it gives must exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
ANCHOR = re.compile(r"`([\w/]+\.py):([\w.]+)`")


def defined_names(path: Path) -> set[str]:
    """Functions, classes, methods, fields and constants of a module, dotted."""

    def names(body: list[ast.stmt], prefix: str) -> set[str]:
        found: set[str] = set()
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    found |= names(node.body, f"{prefix}{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            found |= {prefix + target.id for target in targets if isinstance(target, ast.Name)}
        return found

    return names(ast.parse(path.read_text(encoding="utf-8")).body, "")


def test_every_anchor_exists() -> None:
    anchors = set(ANCHOR.findall(TEXT))
    assert len(anchors) > 100
    wrong = []
    for file, name in sorted(anchors):
        room = "tests" if Path(file).name.startswith("test_") else "src/alexnet"
        path = ROOT / room / file
        if not path.is_file() or name not in defined_names(path):
            wrong.append(f"{room}/{file}:{name}")
    assert wrong == []


def test_every_trap_has_its_row() -> None:
    section = TEXT.split("## 3. The 34 porting traps")[1].split("## Departures")[0]
    rows = re.findall(r"^\| (\d+) \| .+ \| (.+) \|$", section, flags=re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 35))
    for number, answer in rows:
        assert ANCHOR.search(answer) or "come with" in answer, f"trap {number}"


def test_every_departure_is_listed_and_used() -> None:
    body, departures = TEXT.split("## Departures")
    listed = re.findall(r"^\| (D\d+) \|", departures, flags=re.MULTILINE)
    assert listed == [f"D{number}" for number in range(1, len(listed) + 1)]
    for name in listed:
        assert re.search(rf"\b{name}\b", body), name
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    marked = {name for text in sources for name in re.findall(r"# 2012 \((D\d+)\): ", text)}
    assert marked == set(listed)
