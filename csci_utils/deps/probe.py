"""What one interpreter finds on its path: a program of its own, which that interpreter runs in isolated mode.

It needs Python 3.6, the standard library and nothing else of this project; it reads files, imports nothing that it
finds, and prints JSON after one control character, since whatever starts with the interpreter may print as well.
It must stay ASCII: an old interpreter with no locale reads it from its standard input.

`importlib.metadata` is not used: it is missing before 3.8, and what it does with broken or doubled metadata differs
from version to version. A test holds that both find the same where nothing is broken.
"""

import json
import os
import re
import sys

MARK = "\x1e"
SITE_FOLDERS = ("site-packages", "dist-packages")


def report(with_modules: bool) -> "dict[str, object]":
    """Give what this interpreter is, and what lies on its path."""
    found = []
    for folder, site in search_path():
        found += read_folder(folder, site, with_modules)
    return {
        "executable": sys.executable,
        "prefix": sys.prefix,
        "markers": marker_values(),
        "stdlib": sorted(getattr(sys, "stdlib_module_names", ())) if with_modules else [],
        "distributions": found,
    }


def marker_values() -> "dict[str, str]":
    """Give what PEP 508 compares markers with."""
    import platform

    version = sys.implementation.version
    implementation = "{}.{}.{}".format(*version[:3])
    if version.releaselevel != "final":
        implementation += version.releaselevel[0] + str(version.serial)
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": implementation,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "platform_python_implementation": platform.python_implementation(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def search_path() -> "list[tuple[str, str]]":
    """Give the folders that an ordinary start has on its path, the user's among them, and whose they are."""
    base = getattr(sys, "base_prefix", sys.prefix)
    path = [(folder, site_of(folder, base)) for folder in sys.path if folder]
    user = [(folder, "user") for folder in user_folders(base)]
    wanted = "env" if sys.prefix == base else "system"
    place = [n for n, (folder, site) in enumerate(path) if site == wanted and os.path.basename(folder) in SITE_FOLDERS]
    at = place[0] if place else len(path)
    unique: dict[str, tuple[str, str]] = {}
    for folder, site in path[:at] + user + path[at:]:
        unique.setdefault(os.path.realpath(folder), (folder, site))
    return list(unique.values())


def site_of(folder: str, base: str) -> str:
    """Tell whose a folder of the path is."""
    if within(folder, sys.prefix):
        return "env" if below_site(folder) or sys.prefix == base else "path"
    if sys.prefix != base and within(folder, base):
        return "system"
    return "env" if os.path.basename(folder) in SITE_FOLDERS and sys.prefix == base else "path"


def within(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or lies below it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def below_site(folder: str) -> bool:
    """Tell a folder of Python's own layout from a project that holds its environment inside itself or the reverse."""
    return any(os.sep + name in folder for name in SITE_FOLDERS) or os.sep + "lib" in folder[len(sys.prefix) :].lower()


def user_folders(base: str) -> "list[str]":
    """Give the user's site folder and what its `.pth` files add, if an ordinary start would look there."""
    if os.environ.get("PYTHONNOUSERSITE") or (sys.prefix != base and not sees_system()):
        return []
    try:
        import site

        folder = site.getusersitepackages()
    except Exception:  # what an odd home folder makes of it; an ordinary start then has none either
        return []
    return [folder] + pth_folders(folder) if os.path.isdir(folder) else []


def sees_system() -> bool:
    """Tell whether this virtual environment was made to see the base interpreter's libraries."""
    lines = (read_text(os.path.join(sys.prefix, "pyvenv.cfg")) or "").splitlines()
    pairs = [line.partition("=") for line in lines]
    return any(key.strip() == "include-system-site-packages" and "true" in value.lower() for key, _, value in pairs)


def pth_folders(folder: str) -> "list[str]":
    """Give the folders that the `.pth` files of a folder name; their lines of code are not run."""
    found = []
    for name in sorted(listed(folder)):
        if name.endswith(".pth") and not name.startswith("."):
            for line in (read_text(os.path.join(folder, name)) or "").splitlines():
                path = os.path.join(folder, line.strip())
                if line.strip() and not line.startswith(("#", "import ", "import\t")) and os.path.isdir(path):
                    found.append(path)
    return found


def read_folder(folder: str, site: str, with_modules: bool) -> "list[dict[str, object]]":
    """Read every distribution whose metadata lies in a folder, in the order in which Python looks."""
    if os.path.isfile(folder):
        return read_archive(folder, site)
    if folder.endswith(".egg") and os.path.isdir(os.path.join(folder, "EGG-INFO")):
        return [read_metadata(folder, "EGG-INFO", site, with_modules)]
    found = []
    for name in listed(folder):
        if name.lower().endswith((".dist-info", ".egg-info")):
            found.append(read_metadata(folder, name, site, with_modules))
    return found


def read_archive(path: str, site: str) -> "list[dict[str, object]]":
    """Read what lies in a zip file on the path, with the interpreter's own library; nothing before Python 3.8."""
    if not path.endswith((".zip", ".egg", ".whl")):
        return []
    try:
        from importlib.metadata import distributions

        return [
            entry(
                {"Name": [each.metadata["Name"]], "Version": [each.version], "Requires-Dist": each.requires or []},
                path=path,
                folder=path,
                site=site,
            )
            for each in distributions(path=[path])
        ]
    except Exception:  # no such library, or a zip file that it cannot read: Python would import nothing from it
        return []


def read_metadata(folder: str, name: str, site: str, with_modules: bool) -> "dict[str, object]":
    """Read one distribution; what is wrong with it is said in its `problems`."""
    path = os.path.join(folder, name)
    problems: list[str] = []
    header = read_header(path, problems)
    guessed, version = name_and_version(os.path.basename(folder) if name == "EGG-INFO" else name)
    if not header.get("Name"):
        header["Name"] = [guessed]
    if not header.get("Version"):
        problems.append("its metadata gives no version")
        header["Version"] = [version] if version else []
    if os.path.isdir(path) and not header.get("Requires-Dist"):
        header["Requires-Dist"] = required_by_egg(read_text(os.path.join(path, "requires.txt")) or "")
    found = entry(header, path=path, folder=folder, site=site)
    found["problems"] = problems
    found["installer"] = (read_text(os.path.join(path, "INSTALLER")) or "").strip() or None
    found["direct_url"] = read_direct_url(path, problems)
    if with_modules:
        found["modules"] = top_modules(path, folder)
    return found


def entry(header: "dict[str, list[str]]", path: str, folder: str, site: str) -> "dict[str, object]":
    """Put what a header says into the form that is printed."""
    return {
        "name": header["Name"][0],
        "version": (header["Version"] or [None])[0],  # type: ignore[list-item]  # None where nothing says it
        "requires": header.get("Requires-Dist", []),
        "extras": header.get("Provides-Extra", []),
        "path": path,
        "folder": folder,
        "site": site,
        "problems": [],
        "installer": None,
        "direct_url": None,
        "modules": None,
    }


def read_header(path: str, problems: "list[str]") -> "dict[str, list[str]]":
    """Read the fields at the head of METADATA or PKG-INFO, up to the first line that is none."""
    names = [""] if os.path.isfile(path) else ["METADATA", "PKG-INFO"]
    if path.lower().endswith(".egg-info"):
        names.reverse()
    for name in names:
        try:
            with open(os.path.join(path, name) if name else path, "rb") as file:
                raw = file.read()
        except OSError:
            continue
        try:
            return fields_of(raw.decode("utf-8"))
        except UnicodeDecodeError:
            problems.append("its " + (name or "metadata") + " is not UTF-8")
            return fields_of(raw.decode("utf-8", "replace"))
    problems.append("its " + " or ".join(name for name in names if name) + " is missing or cannot be read")
    return {}


def fields_of(text: str) -> "dict[str, list[str]]":
    """Give the fields of a header; a line that begins with a blank goes on with the one before."""
    fields: dict[str, list[str]] = {}
    last = None
    for line in text.splitlines():
        if line[:1] in (" ", "\t") and last is not None:
            last[-1] += " " + line.strip()
            continue
        key, colon, value = line.partition(":")
        if not colon or not key or " " in key:
            break
        last = fields.setdefault(key.title(), [])
        last.append(value.strip())
    for key in ("Name", "Version"):
        fields[key] = [value for value in fields.get(key, []) if value and value != "UNKNOWN"]
    return fields


def name_and_version(name: str) -> "tuple[str, str | None]":
    """Take apart the name of a metadata folder, `name-1.0.dist-info` or `name-1.0-py3.8.egg-info`."""
    stem = re.sub(r"-py[0-9.]+$", "", os.path.splitext(name)[0])
    first, dash, rest = stem.partition("-")
    return first, rest if dash else None


def required_by_egg(text: str) -> "list[str]":
    """Turn an egg's requires.txt, whose headings are `[extra:marker]`, into requirements as METADATA writes them."""
    found = []
    extra = marker = ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            extra, _, marker = line[1:-1].partition(":")
        elif line and not line.startswith("#"):
            conditions = ["(" + marker.strip() + ")"] if marker.strip() else []
            conditions += ['extra == "' + extra.strip() + '"'] if extra.strip() else []
            found.append(line + (" ; " + " and ".join(conditions) if conditions else ""))
    return found


def read_direct_url(path: str, problems: "list[str]") -> "dict[str, object] | None":
    """Read what PEP 610 has an installer write about a distribution that no index gave."""
    text = read_text(os.path.join(path, "direct_url.json"))
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict) and isinstance(found.get("url"), str):
        return found
    problems.append("its direct_url.json cannot be read")
    return None


def top_modules(path: str, folder: str) -> "list[str] | None":
    """Give what a distribution can be imported as, by the list of its files, else by its top_level.txt."""
    named = [line.strip().replace("/", ".") for line in (read_text(os.path.join(path, "top_level.txt")) or "").split()]
    shared = set((read_text(os.path.join(path, "namespace_packages.txt")) or "").split())
    record = read_text(os.path.join(path, "RECORD"))
    if record is None:
        return sorted(set(named)) or None
    files = [line.split(",")[0].strip('"').replace("\\", "/") for line in record.splitlines()]
    found = modules_of_files(files, shared)
    if not found and not named:
        for name in files:  # an editable one has nothing here but the path to its source
            if name.endswith(".pth") and "/" not in name:
                for source in pth_lines(os.path.join(folder, name)):
                    found |= modules_of_files(sources(source), shared)
    return sorted(found or named) or None


def modules_of_files(files: "list[str]", shared: "set[str]") -> "set[str]":
    """Give the outermost packages and modules among files that are no namespaces."""
    python = [name for name in files if re.search(r"\.(py|pyd|so|pyi)$", name) and not name.startswith(("..", "/"))]
    packages = set()
    for name in python:
        if name.endswith(("/__init__.py", "/__init__.pyi")) or re.search(r"/__init__\.[^/]+\.so$", name):
            packages.add(os.path.dirname(name))
    found = set()
    for name in python:
        parts = name.split("/")
        if any(part.endswith((".data", ".dist-info")) or part.startswith("__editable__") for part in parts[:1]):
            continue
        if any("-" in part for part in parts[:-1]):
            continue
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in packages and ".".join(parts[:depth]) not in shared:
                found.add(".".join(parts[:depth]))
                break
        else:
            module = parts[-1].split(".")[0]
            if module.isidentifier() and module != "__init__":
                found.add(".".join(parts[:-1] + [module]))
    return found


def pth_lines(path: str) -> "list[str]":
    """Give the folders that one `.pth` file names."""
    lines = [line.strip() for line in (read_text(path) or "").splitlines()]
    return [line for line in lines if os.path.isdir(line)]


def sources(folder: str) -> "list[str]":
    """Give the packages and modules of a source folder as the files of a list would name them."""
    names = listed(folder)
    packages = [name + "/__init__.py" for name in names if os.path.isfile(os.path.join(folder, name, "__init__.py"))]
    return packages + [name for name in names if name.endswith(".py") and name != "setup.py"]


def listed(folder: str) -> "list[str]":
    """Give the names in a folder, none if it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def read_text(path: str) -> "str | None":
    """Read a small file, whatever bytes it holds; None if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


if __name__ == "__main__":
    sys.stdout.write(MARK + json.dumps(report("modules" in sys.argv[1:])))
