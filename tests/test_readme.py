"""The README's examples run, and print what the README says they print."""

import re
from pathlib import Path

import matplotlib as mpl

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```(python|text)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_examples_print_what_the_readme_shows(tmp_path, monkeypatch, capsys):
    mpl.use("agg")
    monkeypatch.chdir(tmp_path)
    namespace = {}
    shown = []
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, str(README), "exec"), namespace)
        else:
            shown.append(text.strip())
    assert capsys.readouterr().out.strip() == "\n".join(shown)
    assert (tmp_path / "displacement.png").stat().st_size > 1000
