"""The pages to read: no scripts, no links to what is not served, and the place that the page links to."""

import re
from pathlib import Path

import flowedit
from flowedit.app.http import manual


def test_help_is_the_readme_without_links_to_files(tmp_path, monkeypatch):
    page = Path(flowedit.__file__).parent / "app/page/page.py"
    place = re.search(r'/help#([\w-]+)"', page.read_text(encoding="utf-8"))[1]
    told = manual.readme()
    assert re.search(r'<h2 id="([\w-]+)"', told)[1] == place, "it opens on how to use the page"
    assert not re.search(r'href="(?!#|https?://)', told)
    assert "<script" not in told
    assert "<table>" in told
    (tmp_path / "README.md").write_text("# A & b\n<script>x</script> [`a.py`](a.py) [c](https://d.example) [e](#f)\n")
    monkeypatch.setattr(manual, "README", tmp_path / "README.md")
    told = manual.readme()
    assert '<h1 id="a-b">A &amp; b</h1>' in told
    assert "&lt;script&gt;x&lt;/script&gt; <code>a.py</code> " in told
    assert '<a href="https://d.example">c</a> <a href="#f">e</a>' in told
