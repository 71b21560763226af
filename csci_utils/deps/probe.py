"""What one interpreter finds on its path: a program of its own, which that interpreter runs alone, without `site`.

It needs Python 3.6, the standard library and nothing else of this project; it reads files, imports nothing that it
finds, and prints JSON after one control character, since a script that starts an interpreter may print as well.
It must stay ASCII: an old interpreter with no locale reads it from its standard input.

`importlib.metadata` is not used: it is missing before 3.8, and what it does with broken or doubled metadata differs
from version to version. A test holds that both find the same where nothing is broken.
"""

import json
import os
import re
import stat
import sys

MARK = "\x1e"
SITE_FOLDERS = ("site-packages", "dist-packages")


def report(with_modules: bool) -> "dict[str, object]":
    """Give what this interpreter is, and what lies on its path."""
    enter_environment()
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


def enter_environment() -> None:
    """Make `sys.prefix` that of a virtual environment, as `site` would, which is not run (`-S`)."""
    if settings_file():
        sys.prefix = sys.exec_prefix = os.path.dirname(os.path.dirname(sys.executable))


def settings_file() -> str:
    """Give the file that makes a virtual environment of the folder that the interpreter lies in; empty for none."""
    folder = os.path.dirname(os.path.abspath(sys.executable)) if sys.executable else ""
    files = [os.path.join(each, "pyvenv.cfg") for each in (folder, os.path.dirname(folder)) if each]
    return ([each for each in files if os.path.isfile(each)] or [""])[0]


def search_path() -> "list[tuple[str, str]]":
    """Give the folders that an ordinary start has on its path, the user's among them, and whose they are.

    They are found as `site` finds them, and nothing of them is run: neither a `sitecustomize` nor the lines of code in
    a `.pth` file. What only such code would add is not found.
    """
    base = getattr(sys, "base_prefix", sys.prefix)
    alone = sys.prefix != base and not sees_system()
    path = [(folder, site_of(folder, base)) for folder in sys.path if folder]
    if sys.prefix != base:
        path += with_added(site_folders(sys.prefix), "env", base)
    if not alone:
        path += with_added(user_folders(), "user", base)
        path += with_added(site_folders(base), "env" if sys.prefix == base else "system", base)
    unique: dict[str, tuple[str, str]] = {}
    for folder, site in path:
        unique.setdefault(os.path.realpath(folder), (folder, site))
    return list(unique.values())


def with_added(folders: "list[str]", site: str, base: str) -> "list[tuple[str, str]]":
    """Give folders, each with those that its `.pth` files add, and whose they are."""
    found = []
    for folder in folders:
        found.append((folder, site))
        found += [(each, site if site == "user" else site_of(each, base)) for each in pth_folders(folder)]
    return found


def site_folders(prefix: str) -> "list[str]":
    """Give the folders of distributions below a prefix, in the layout that this interpreter was built with."""
    library = os.path.dirname(os.__file__)
    if os.path.exists(os.path.join(library, "orig-prefix.txt")):  # virtualenv before 20: its `site` runs on import
        return [os.path.join(library, "site-packages")]
    import site  # with -S its import runs nothing

    return [each for each in site.getsitepackages([prefix]) if os.path.isdir(each)]


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


def user_folders() -> "list[str]":
    """Give the user's site folder, if an ordinary start would look there."""
    if os.environ.get("PYTHONNOUSERSITE"):
        return []
    try:
        import site

        folder = site.getusersitepackages()
    except Exception:  # what an odd home folder makes of it; an ordinary start then has none either
        return []
    return [folder] if os.path.isdir(folder) else []


def sees_system() -> bool:
    """Tell whether this virtual environment was made to see the base interpreter's libraries; it does unless told."""
    lines = (read_text(settings_file()) or "").lower().splitlines()
    pairs = [(key.strip(), value.strip()) for key, _, value in (line.partition("=") for line in lines)]
    return dict(pairs).get("include-system-site-packages", "true") == "true"


def pth_folders(folder: str) -> "list[str]":
    """Give what the `.pth` files of a folder add to the path."""
    names = [name for name in sorted(listed(folder)) if name.endswith(".pth") and not name.startswith(".")]
    return [path for name in names for path in named_by_pth(folder, name)]


def named_by_pth(folder: str, name: str) -> "list[str]":
    """Give what one `.pth` file names and is there; its lines of code are not run."""
    lines = [line.rstrip() for line in (read_text(os.path.join(folder, name)) or "").splitlines()]
    wanted = [line for line in lines if line.strip() and not line.startswith(("#", "import ", "import\t"))]
    paths = [os.path.join(folder, line) for line in wanted if "\0" not in line]
    return [path for path in paths if os.path.exists(path)]


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
        raw = read_bytes(os.path.join(path, name) if name else path)
        if raw is None:
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
    except (ValueError, RecursionError):
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
                for source in named_by_pth(folder, name):
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
    """Read a small file, whatever bytes it holds, with any kind of line ends; None if there is none."""
    raw = read_bytes(path)
    return None if raw is None else raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: str) -> "bytes | None":
    """Read a regular file; None if there is none. What else may lie there, such as a pipe, may never end."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    sys.stdout.write(MARK + json.dumps(report("modules" in sys.argv[1:])))
