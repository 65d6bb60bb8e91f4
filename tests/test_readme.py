"""What README shows of Python runs as it stands."""

import re
from pathlib import Path

import pytest

_README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_lines_of_python_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    [lines] = re.findall(r"^```python\n(.*?)^```", _README.read_text(), re.DOTALL | re.MULTILINE)
    exec(lines, {})
    error, classes = capsys.readouterr().out.splitlines()
    assert error.startswith("top-1 error ")
    assert len(eval(classes)) == 3
