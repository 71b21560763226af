"""From what is imported to the distribution that brings it: by the environment, else by known and likely names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from csci_utils.deps.facts import Environment, normal_name

_STUBS_OF_PYTHON = frozenset({"_typeshed", "__main__"})
_GONE: Mapping[tuple[int, int], str] = {
    (3, 11): "binhex",
    (3, 12): "asynchat asyncore distutils imp smtpd",
    (
        3,
        13,
    ): "aifc audioop cgi cgitb chunk crypt imghdr lib2to3 mailcap msilib nis nntplib ossaudiodev pipes sndhdr spwd "
    "sunau telnetlib uu xdrlib",
}
"""What Python brought itself until a version."""
_LIKELY = ("{}", "python-{}", "{}-python", "py{}", "py-{}", "{}-py", "{}-client")

ALIASES: Mapping[str, tuple[str, ...]] = {
    "attr": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "bson": ("pymongo",),
    "Crypto": ("pycryptodome",),
    "Cryptodome": ("pycryptodomex",),
    "cairo": ("pycairo",),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "dateutil": ("python-dateutil",),
    "distutils": ("setuptools",),
    "django_filters": ("django-filter",),
    "dns": ("dnspython",),
    "docx": ("python-docx",),
    "dotenv": ("python-dotenv",),
    "factory": ("factory-boy",),
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "fitz": ("pymupdf",),
    "git": ("gitpython",),
    "github": ("pygithub",),
    "gitlab": ("python-gitlab",),
    "gi": ("pygobject",),
    "google.oauth2": ("google-auth",),
    "google.protobuf": ("protobuf",),
    "googleapiclient": ("google-api-python-client",),
    "grpc": ("grpcio",),
    "grpc_status": ("grpcio-status",),
    "jose": ("python-jose",),
    "jwt": ("pyjwt",),
    "kafka": ("kafka-python",),
    "ldap": ("python-ldap",),
    "Levenshtein": ("levenshtein", "python-levenshtein"),
    "magic": ("python-magic",),
    "memcache": ("python-memcached",),
    "mpl_toolkits": ("matplotlib",),
    "multipart": ("python-multipart",),
    "MySQLdb": ("mysqlclient",),
    "nacl": ("pynacl",),
    "odf": ("odfpy",),
    "OpenSSL": ("pyopenssl",),
    "OpenGL": ("pyopengl",),
    **{
        f"opentelemetry.{each}": ("opentelemetry-api",)
        for each in ("baggage", "context", "metrics", "propagate", "propagators", "trace")
    },
    "osgeo": ("gdal",),
    "PIL": ("pillow",),
    "pdfminer": ("pdfminer-six",),
    "pkg_resources": ("setuptools",),
    "pptx": ("python-pptx",),
    "psycopg2": ("psycopg2", "psycopg2-binary"),
    "pylab": ("matplotlib",),
    "pynvml": ("nvidia-ml-py", "pynvml"),
    "pythoncom": ("pywin32",),
    "pywintypes": ("pywin32",),
    "rest_framework": ("djangorestframework",),
    "ruamel.yaml": ("ruamel-yaml",),
    "serial": ("pyserial",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "slugify": ("python-slugify",),
    "snappy": ("python-snappy",),
    "socks": ("pysocks",),
    "speech_recognition": ("speechrecognition",),
    "telegram": ("python-telegram-bot",),
    "umap": ("umap-learn",),
    "usb": ("pyusb",),
    "websocket": ("websocket-client",),
    "win32api": ("pywin32",),
    "win32con": ("pywin32",),
    "win32com": ("pywin32",),
    "wx": ("wxpython",),
    "xdist": ("pytest-xdist",),
    "Xlib": ("python-xlib",),
    "yaml": ("pyyaml",),
    "zmq": ("pyzmq",),
    "_pytest": ("pytest",),
    "_cffi_backend": ("cffi",),
}
"""What is known where no environment tells, each use of it a guess: by dotted name, as an import spells it.

Several may bring the same. Names that follow from each other (`python-x`, `pyx`, dashes for dots) need no entry.
"""

NAMESPACES = frozenset(
    {
        *("azure", "azure.ai", "azure.cognitiveservices", "azure.keyvault", "azure.mgmt", "azure.storage"),
        *("backports", "collective", "five", "google", "google.cloud", "jaraco", "oslo", "plone", "plone.app"),
        *("opentelemetry", "opentelemetry.exporter", "opentelemetry.instrumentation", "opentelemetry.propagator"),
        *("repoze", "ruamel", "sphinxcontrib", "z3c", "zc", "zope", "zope.app"),
    }
)
"""Names that many share, each part brought by what is called like it, with dashes; the first name is another's."""


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What brings an import.

    Attributes:
        by: distributions, in normal form, each of which does; never empty.
        guessed: whether that is by its name alone; then no environment has it.
        sure: whether a guess is likely enough to be installed: of a namespace it often is not.
    """

    by: tuple[str, ...]
    guessed: bool = False
    sure: bool = True


@dataclass(frozen=True, kw_only=True)
class Modules:
    """What is known of imports and distributions.

    Attributes:
        environment: the project's, with modules, or None.
        named: by the project's settings, dotted name to distribution.
        expected: names that a guess may hit: those that are declared or locked.
        python: the version that imports are judged by where the environment does not tell its standard library, `3.9`.
    """

    environment: Environment | None
    named: Mapping[str, str]
    expected: frozenset[str]
    python: str = "3.13"

    @cached_property
    def _installed(self) -> Mapping[str, tuple[str, ...]]:
        """Dotted name, and that of each namespace above it, to what brings it."""
        found: dict[str, list[str]] = {}
        for each in self.environment.active().values() if self.environment else ():
            for module in each.modules or ():
                for name in (module, *(f"{above}." for above in _above(module))):
                    found.setdefault(name, []).append(each.name)
        return {name: tuple(dict.fromkeys(brought)) for name, brought in found.items()}

    def is_standard(self, module: str) -> bool:
        """Tell whether Python itself brings an import."""
        first = module.partition(".")[0]
        return first in self._standard or first in _STUBS_OF_PYTHON

    @cached_property
    def _standard(self) -> frozenset[str]:
        if self.environment and self.environment.stdlib:
            return self.environment.stdlib
        version = tuple(int(each) for each in self.python.split(".")[:2] if each.isdecimal())
        gone = " ".join(names for until, names in _GONE.items() if version < until)
        return sys.stdlib_module_names | {*gone.split()}

    def is_shared(self, module: str) -> bool:
        """Tell whether distributions of the environment share a name as a namespace, and none has it as its own."""
        return f"{module}." in self._installed and module not in self._installed

    def bring(self, module: str, name: str | None = None) -> Brought:
        """Tell what brings an import.

        Args:
            module: dotted.
            name: what is taken from it, which may be a module of its own: `storage` of `google.cloud`.
        """
        names = list(_from_the_longest(f"{module}.{name}" if name and name != "*" else module))
        for each in names:
            if each in self.named:
                return Brought(by=(normal_name(self.named[each]),))
        for each in names:
            if each in self._installed:
                return Brought(by=self._installed[each])
        namespace = f"{module}."  # nothing but a namespace is imported: any part of it will do
        if namespace in self._installed and not name:
            return Brought(by=self._installed[namespace])
        return self._guess(names)

    def _guess(self, names: list[str]) -> Brought:
        """Take a known name, else one that is declared or locked and looks like it, else the import's own.

        Args:
            names: the import's, and those above it, the longest first.
        """
        for each in names:
            if each in ALIASES:
                return Brought(by=ALIASES[each], guessed=True)
        for each in names:
            likely = [normal_name(form.format(each)) for form in _LIKELY]
            hits = tuple(each for each in likely if each in self.expected)
            if hits:
                return Brought(by=hits, guessed=True)
        for place, above in enumerate(names):
            if above in NAMESPACES or self.is_shared(above):
                part = names[max(place - 1, 0)]  # the name below it
                sure = above in NAMESPACES and part != above
                return Brought(by=(normal_name(part),), guessed=True, sure=sure)
        return Brought(by=(normal_name(names[-1]),), guessed=True)

    def of(self, distribution: str) -> tuple[str, ...]:
        """Give what a distribution is likely imported as: as installed, else by known names and its own."""
        found = self.environment.active().get(distribution) if self.environment else None
        if found is not None and found.modules:
            return found.modules
        known = [module for module, brought in ALIASES.items() if distribution in brought]
        named = [module for module, brought in self.named.items() if normal_name(brought) == distribution]
        return tuple(dict.fromkeys([*named, *known, distribution.replace("-", "_")]))


def _from_the_longest(module: str) -> Iterator[str]:
    yield module
    yield from _above(module)


def _above(module: str) -> Iterable[str]:
    """Give what a dotted name lies below, the nearest first."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]
