"""The page of stored results: every record is counted once, under its own commit, state and machine."""

import json
import re
import sys

from book_pages import ROOT, contents

sys.path.insert(0, str(ROOT / "book" / "_ext"))
import stored


def record(path, commit, dirty, **times):
    machine = {"processor": "Chip", "cpus": 2, "time": "2026-01-02T03:04:05+00:00"}
    origin = {"code": {"commit": commit, "dirty": dirty}, "machine": machine}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"apart": {"provenance": origin, **times}}))


def test_rows_of_known_records(tmp_path):
    record(tmp_path / "laws" / "a.json", "a" * 40, False, seconds=900.0, core_seconds=60.0)
    record(tmp_path / "laws" / "b.json", "a" * 40, False, seconds=30.0)
    record(tmp_path / "laws" / "c.json", "a" * 40, True, seconds=6.0)
    record(tmp_path / "other" / "d.json", None, None)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "speed.json").write_text('{"provenance": {}}')
    assert stored.table(tmp_path)[2:] == [
        "| `run laws` | `aaaaaaa` | **not as committed** | Chip, 2 cores | 2026-01-02 | 1 | 0.1 |",
        "| `run laws` | `aaaaaaa` | as committed | Chip, 2 cores | 2026-01-02 | 2 | 1.5 |",
        "| `run other` | `none` | not known | Chip, 2 cores | 2026-01-02 | 1 | not kept |",
    ]


def test_every_record_here_has_a_card():
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in stored.table()[2:]]
    records = [path for path in (ROOT / "data").glob("*/*.json") if path.parent.name != "bench"]
    assert sum(int(row[5]) for row in rows) == len(records) > 1000
    assert all(re.fullmatch(r"`[0-9a-f]{7}`", row[1]) for row in rows)
    page = (ROOT / "book" / "how_to_run.md").read_text()
    assert not [row[0] for row in rows if f"qrnn_helpers.study {row[0].strip('`')}`" not in page]


def test_the_page_has_the_table():
    text = [(ROOT / "book" / "stored.md").read_text()]
    stored.insert(None, "book/stored", text)
    assert stored.table()[-1] in text[0] and stored.MARK not in text[0] and "book/stored" in contents()
