# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""A private apt root: fetches Debian packages of another architecture without installing anything, without
root, and without touching the host's package lists. apt itself checks the chain archive key -> InRelease ->
Packages -> .deb; what it found is recorded, so a second run needs no network."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import Exit, TwainError
from .paths import cache_dir

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "http://deb.debian.org"
RELEASE = "bookworm"


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    sha256: str  # of the .deb, as the signed index states it
    path: str


def root(architecture="arm64"):
    return cache_dir() / "apt" / architecture


def download(packages, architecture="arm64", refresh=False):
    """Returns {name: Package} for the newest versions. What was downloaded before is taken as it is unless
    `refresh`: then the index is fetched anew."""
    with _locked(architecture) as base:
        record_path = base / "packages.json"
        record = {} if refresh else _read_record(record_path)
        found = {name: package for name in packages if (package := _recorded(record, name))}
        absent = [name for name in packages if name not in found]
        if absent:
            _prepare(base, architecture)
            _update(base, architecture, force=refresh)
            for name in absent:
                found[name] = _fetch(base, architecture, name)
            record = {**_read_record(record_path), **{name: asdict(found[name]) for name in absent}}
            _write(record_path, json.dumps(record, indent=2) + "\n")
        return found


def depends(package, architecture="arm64", refresh=False):
    """Names of the packages that the newest version of a package depends on (recorded like downloads)."""
    with _locked(architecture) as base:
        record_path = base / "depends.json"
        record = _read_record(record_path)
        if refresh or package not in record:
            _prepare(base, architecture)
            _update(base, architecture, force=refresh)
            fields = _show(base, architecture, package)
            record[package] = re.findall(r"(?:^|, )([a-z0-9][a-z0-9+.-]*)", fields.get("Depends", ""))
            _write(record_path, json.dumps(record, indent=2) + "\n")
        return record[package]


def extract(package, destination, members=None):
    """Unpacks a .deb (Package or path) below a directory; with `members` only those whose path, without the
    leading `./`, matches one of these regular expressions in full. Returns the paths of the files."""
    path = package.path if isinstance(package, Package) else str(package)
    patterns = [re.compile(pattern) for pattern in members] if members is not None else None
    destination = Path(destination)
    destination.mkdir(parents=True, exist_ok=True)
    written = []
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if ".." in name.split("/") or name.startswith("/"):
                    raise TwainError(Exit.RUN, f"{path} holds a path that leads outside: {name}")
                if patterns is None or any(pattern.fullmatch(name) for pattern in patterns):
                    archive.extract(member, destination)
                    if member.isfile() or member.issym():
                        written.append(destination / name)
        process.stdout.read()
    if process.returncode != 0:
        raise TwainError(Exit.RUN, f"cannot unpack {path}")
    return written


def file_sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------------------------------------- inside


@contextmanager
def _locked(architecture):
    base = root(architecture)
    base.mkdir(parents=True, exist_ok=True)
    with open(base / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield base


def _read_record(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _recorded(record, name):
    try:
        package = Package(**record[name])
    except (KeyError, TypeError):
        return None
    path = Path(package.path)
    return package if path.is_file() and file_sha256(path) == package.sha256 else None


def _write(path, text):
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    os.replace(temporary, path)


def _prepare(base, architecture):
    if not shutil.which("apt-get"):
        raise TwainError(Exit.MISSING, "guest images are made from Debian packages, and apt-get is not here",
                         hint="make them on a Debian system, or name your own kernel and initrd (docs/guests.md)")
    if not os.path.exists(KEYRING):
        raise TwainError(Exit.MISSING, f"{KEYRING} is missing", hint="install the package debian-archive-keyring")
    for directory in ("lists/partial", "archives/partial", "etc/preferences.d"):
        (base / directory).mkdir(parents=True, exist_ok=True)
    (base / "status").touch()
    mirror = os.environ.get("TWAIN_DEBIAN_MIRROR", MIRROR).rstrip("/")
    options = f"[arch={architecture} signed-by={KEYRING}]"
    _write(base / "etc/sources.list", f"deb {options} {mirror}/debian {RELEASE} main\n"
                                      f"deb {options} {mirror}/debian {RELEASE}-updates main\n"
                                      f"deb {options} {mirror}/debian-security {RELEASE}-security main\n")


def _options(base, architecture):
    settings = {
        "Dir::State": base, "Dir::State::lists": base / "lists", "Dir::State::status": base / "status",
        "Dir::Cache": base, "Dir::Cache::archives": base / "archives", "Dir::Etc::sourcelist": base / "etc/sources.list",
        "Dir::Etc::sourceparts": "-", "Dir::Etc::preferences": "-", "Dir::Etc::preferencesparts": base / "etc/preferences.d",
        "APT::Architecture": architecture, "APT::Architectures": architecture, "APT::Sandbox::User": "",
        "APT::Install-Recommends": "false", "Acquire::Languages": "none", "Acquire::Retries": "2",
        "APT::Update::Post-Invoke": "", "APT::Update::Post-Invoke-Success": "",
    }
    return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]


def _run(base, architecture, program, *arguments, cwd=None):
    result = subprocess.run([program, *_options(base, architecture), *arguments], cwd=cwd, capture_output=True, text=True,
                            stdin=subprocess.DEVNULL, timeout=900)
    if result.returncode != 0:
        raise TwainError(Exit.RUN, f"{program} {' '.join(arguments)} failed in the private apt root",
                         detail=(result.stdout + result.stderr).splitlines()[-10:],
                         hint="the network is needed once; TWAIN_DEBIAN_MIRROR names another mirror")
    return result.stdout


def _update(base, architecture, force):
    if force or not list((base / "lists").glob("*InRelease")):
        _run(base, architecture, "apt-get", "-q", "-y", "--error-on=any", "update")


def _show(base, architecture, name):
    text = _run(base, architecture, "apt-cache", "show", "--no-all-versions", name)
    return dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", text, re.MULTILINE))


def _fetch(base, architecture, name):
    fields = _show(base, architecture, name)
    archives = base / "archives"
    try:
        _run(base, architecture, "apt-get", "-q", "download", f"{name}={fields['Version']}", cwd=archives)
    except TwainError:
        # An index that is too old names files that the archive no longer has.
        _update(base, architecture, force=True)
        fields = _show(base, architecture, name)
        _run(base, architecture, "apt-get", "-q", "download", f"{name}={fields['Version']}", cwd=archives)
    escaped = fields["Version"].replace(":", "%3a")
    path = archives / f"{name}_{escaped}_{fields['Architecture']}.deb"
    if not path.is_file() or file_sha256(path) != fields["SHA256"]:
        raise TwainError(Exit.RUN, f"{path.name} does not match the SHA-256 of the signed index")
    return Package(name, fields["Version"], fields["SHA256"], str(path))
