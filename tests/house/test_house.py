"""The house stands: pins agree, vendored files are as published, the contents exist."""

import ast
import hashlib
import json
import re
import sys
import tomllib
from itertools import chain

import yaml
from book_pages import ROOT, contents
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

sys.path.insert(0, str(ROOT / "tools"))
import build_book
import draw_floors
from draw_floors import PACKAGE, floor, imports

VENDOR = ROOT / "book" / "_static" / "vendor"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name: str) -> dict[str, str]:
    """Package to version, for a file of exact pins."""
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    found = {}
    for line in filter(None, lines):
        package, version = line.split(";")[0].split("==")
        found[canonicalize_name(package)] = version
    return found


def conda() -> tuple[dict[str, str], list[str]]:
    """Conda specs as package to the rest of the spec, and pip's lines."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    specs = dict((spec + "=").split("=", 1) for spec in listed if isinstance(spec, str))
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    return {k: v.rstrip("=") for k, v in specs.items()}, pip


def test_direct_pins_are_in_the_lock():
    lock, direct = pins("requirements.lock"), pins("requirements.txt") | pins("requirements-bench.txt")
    assert {k: lock.get(k) for k in direct} == direct


def test_pins_satisfy_pyproject():
    groups = PROJECT["optional-dependencies"].values()
    wanted = [Requirement(r) for r in [*PROJECT["dependencies"], *chain(*groups)]]
    have = pins("requirements.txt") | pins("requirements-bench.txt")
    wrong = [str(r) for r in wanted if have.get(canonicalize_name(r.name)) not in r.specifier]
    assert not wrong, f"requirements.txt and requirements-bench.txt do not satisfy {wrong}"


def test_environment_yml_agrees_with_the_pins():
    specs, pip = conda()
    direct = pins("requirements.txt")
    assert specs["python"] == "3.11"
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains("3.11")
    version, build = specs["pytorch"].split("=")
    assert version == direct["torch"] and build.startswith("cpu")
    assert specs["numpy"] == direct["numpy"]
    assert pip == ["-r requirements.txt", "-c requirements.lock", "-e ."]


def test_pythons_agree():
    """What the workflow runs is what the package claims and the pages say."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    claimed = [line.split(" :: ")[-1] for line in PROJECT["classifiers"] if line.startswith("Programming Language")]
    assert matrix["python"] == claimed and PROJECT["requires-python"] == f">={claimed[0]}"
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos"}
    for page in ("README.md", "book/how_to_run.md"):
        text = (ROOT / page).read_text()
        assert not [version for version in claimed if version not in text], page


def test_actions_are_pinned_by_commit():
    """A tag can be moved to other code; a commit cannot."""
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    lines = re.findall(r"uses: (.*)", "".join(path.read_text() for path in workflows))
    assert lines and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line) for line in lines), lines


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert f"Version {PROJECT['version']}" in (ROOT / "book" / "how_to_cite.md").read_text()
    sections = re.findall(r"^## \[([\w.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert sections[:2] == ["Unreleased", PROJECT["version"]]


def test_running_environment_is_the_pinned_one():
    from importlib.metadata import version

    have = {name: version(name).split("+")[0] for name in pins("requirements.txt")}
    assert have == pins("requirements.txt")


def test_contents_exist():
    for document in contents():
        assert any((ROOT / f"{document}{end}").exists() for end in (".md", ".ipynb")), document


def test_vendored_files_have_licence_and_checksum():
    listed = {}
    for line in (VENDOR / "CHECKSUMS.sha256").read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        listed[name.removeprefix("./")] = digest
    own = {"CHECKSUMS.sha256", "README.md"}
    files = {p.relative_to(VENDOR).as_posix(): p for p in VENDOR.rglob("*") if p.is_file()}
    actual = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if name not in own}
    assert actual == listed
    for folder in (p for p in VENDOR.iterdir() if p.is_dir()):
        assert (folder / "LICENSE").exists(), folder.name


def test_cache_key_covers_helpers_pins_and_data(tmp_path):
    seen = set()
    for name in ("qrnn_helpers/a.py", "qrnn_helpers/sub/b.py", "requirements.txt",
                 "requirements.lock", "data/x.nc", "data/study/y.nc"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for text in ("one", "two"):
            path.write_text(text)
            seen.add(build_book.fingerprint(tmp_path))
    assert len(seen) == 12
    (tmp_path / "README.md").write_text("not an input")
    assert build_book.fingerprint(tmp_path) in seen


def test_cache_is_emptied_only_when_inputs_change(tmp_path, monkeypatch):
    monkeypatch.setattr(build_book, "BUILD", tmp_path)
    monkeypatch.setattr(build_book, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(build_book, "STAMP", tmp_path / "stamp")
    build_book.forget_stale_results("a")
    (tmp_path / "cache").mkdir()
    build_book.forget_stale_results("a")
    assert (tmp_path / "cache").exists()
    build_book.forget_stale_results("b")
    assert not (tmp_path / "cache").exists()


def test_makefile_help_lists_every_target():
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.M).group(1).split()
    described = re.findall(r"^([a-z]+):.*##", text, re.M)
    assert sorted(phony) == sorted(described)


FLOORS = [
    *("checks", "torch_modes", "storage", "show", "tasks", "circuits", "dynamics", "simulation", "backends"),
    *("gradients", "models", "training", "baselines", "study"),
]
"""From ground to roof: a file may import its own folder, and the faces of those before it."""


def test_floors_are_all_there_and_on_the_map():
    found = {floor(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert found == set(FLOORS) == {*draw_floors.PLACES, *draw_floors.FOR_ALL} and len(found) <= 14
    text = (ROOT / "book" / "architecture.md").read_text()
    names = [f"`{name}/" if (PACKAGE / name).is_dir() else f"`{name}.py`" for name in FLOORS]
    assert [text.index(name) for name in names] == sorted(text.index(name) for name in names)


def test_the_map_is_drawn_from_the_imports():
    drawn = draw_floors.PICTURE.read_text(encoding="utf-8")
    assert drawn == draw_floors.picture(), "draw it anew: python tools/draw_floors.py"
    rows = {name: row for name, (_, row) in draw_floors.PLACES.items()}
    assert all(rows[user] > rows[target] for user, target in draw_floors.arrows())


def test_files_import_their_own_folder_and_the_faces_below():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        for module, name in imports(path):
            to = module.split(".")[1:] or [name]
            if path == PACKAGE / "__init__.py":
                continue
            if to[0] == floor(path):
                fine = len(to) == 2 or not path.parent.samefile(PACKAGE / to[0])
            else:
                fine = len(to) == 1 and FLOORS.index(to[0]) < FLOORS.index(floor(path))
            if not fine or name.startswith("_"):
                wrong.append((str(path.relative_to(PACKAGE)), module, name))
    assert not wrong


def test_no_module_bears_the_name_of_what_its_face_hands_on():
    for face in PACKAGE.rglob("__init__.py"):
        siblings = {path.stem for path in face.parent.iterdir()} - {"__init__"}
        assert not siblings & {name for _, name in imports(face)}, face


def test_chapters_import_faces_only():
    faces = {"qrnn_helpers", *(f"qrnn_helpers.{name}" for name in FLOORS if (PACKAGE / name).is_dir())}
    wrong = []
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        found = set(re.findall(r"^\s*(?:from|import) (qrnn_helpers[\w.]*)", code, re.M))
        wrong += [(path.name, module) for module in found - faces]
    assert not wrong


def imported(sources) -> set[str]:
    """The distributions that Python sources import; the package and what comes with others left out."""
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    names = {"PIL": "pillow", "sklearn": "scikit-learn"}
    found = {module.split(".")[0] for module in modules} - sys.stdlib_module_names
    return {canonicalize_name(names.get(m, m)) for m in found} - {"qrnn-helpers", "cycler"}  # cycler: matplotlib's own


def required(group) -> set[str]:
    return {canonicalize_name(Requirement(r).name) for r in group}


def test_package_imports_only_what_it_requires():
    found = imported(path.read_text() for path in (ROOT / "qrnn_helpers").rglob("*.py"))
    in_notebooks = {"myst-nb", "ipywidgets", "ipython"}  # show and panel, on first use
    on_a_cluster = required(PROJECT["optional-dependencies"]["cluster"])  # the command line, if told an address
    on_a_device = required(
        PROJECT["optional-dependencies"]["device"]
    )  # on first use, where `device_sampler` says what to install
    assert found <= required(PROJECT["dependencies"]) | in_notebooks | on_a_cluster | on_a_device


def test_notebooks_import_only_what_the_package_or_the_book_requires():
    cells = [
        "".join(cell["source"])
        for path in (ROOT / "notebooks").glob("*.ipynb")
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    book = required(PROJECT["optional-dependencies"]["book"])
    assert imported(cells) <= required(PROJECT["dependencies"]) | book | {"ipython"}
