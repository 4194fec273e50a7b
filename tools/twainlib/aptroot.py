# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Debian packages of another architecture, without touching the host's package database.

A private apt root (own lists, cache and status under the user's cache directory) follows the Debian mirrors
that the host's apt uses. apt checks the archive's signature and each package's SHA-256; what was downloaded
once is checked against the recorded SHA-256 and needs no network.

    python3 -m twainlib.aptroot --arch arm64 --extract DIR PACKAGE...
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .errors import Exit, TwainError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TIMEOUT = 900  # seconds, for one apt command


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    sha256: str  # as in the signed Packages index
    path: Path   # the .deb


def download(packages, architecture="arm64"):
    """Paths of the packages' .deb files, in order; fetched if they are not cached. Raises TwainError."""
    return [package.path for package in fetch(packages, architecture)]


def fetch(packages, architecture="arm64"):
    """As download, with versions and checksums."""
    return AptRoot(architecture).fetch(packages)


def extract(deb, directory):
    """Unpacks a .deb file below `directory`; nothing is installed and no script runs."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    _run(["dpkg-deb", "-x", str(deb), str(directory)], f"cannot unpack {Path(deb).name}")


class AptRoot:
    def __init__(self, architecture="arm64", directory=None):
        self.architecture = architecture
        self.directory = Path(directory or paths.cache_dir() / "apt" / architecture)
        self.debs = self.directory / "debs"
        self._record = self.directory / "packages.json"

    def fetch(self, packages):
        """The packages, from the cache or the network."""
        paths.own_directory(paths.cache_dir())
        self.debs.mkdir(parents=True, exist_ok=True)
        with self._locked():
            known = self._known()
            absent = [name for name in packages if name not in known]
            if absent:
                self._prepare()
                self._update()
                for name in absent:
                    known[name] = self._download(name)
                self._save(known)
            return [known[name] for name in packages]

    def dependency(self, package, pattern):
        """The name of the package's direct dependency that matches the pattern (linux-image-arm64 depends on
        linux-image-6.1.0-NN-arm64), or None. Answers from the .deb, without network once that is cached."""
        deb = self.fetch([package])[0].path
        text = _run(["dpkg-deb", "-f", str(deb), "Depends"], f"cannot read {deb.name}")
        names = [item.split()[0].split(":")[0] for item in re.split(r"[,|]", text) if item.strip()]
        return next((name for name in names if re.fullmatch(pattern, name)), None)

    # What has been fetched before and is still whole.
    def _known(self):
        try:
            entries = json.loads(self._record.read_text(encoding="utf-8"))
            packages = {name: Package(name, e["version"], e["sha256"], self.debs / e["file"])
                        for name, e in entries.items()}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {name: p for name, p in packages.items() if p.path.is_file() and _sha256(p.path) == p.sha256}

    def _save(self, known):
        text = json.dumps({p.name: {"version": p.version, "sha256": p.sha256, "file": p.path.name}
                           for p in known.values()}, indent=1, sort_keys=True) + "\n"
        partial = self._record.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(self._record)

    def _prepare(self):
        for tool in ("apt-get", "dpkg-deb"):
            if not shutil.which(tool):
                raise TwainError(Exit.MISSING, f"{tool} is missing: Debian packages cannot be fetched here",
                                 hint="on another system, copy the cache directory of a Debian machine: "
                                      + str(paths.cache_dir()))
        for name in ("state/lists/partial", "cache/archives/partial", "etc/parts", "etc/trusted"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "state/status").write_text("", encoding="utf-8")
        (self.directory / "etc/sources.list").write_text(sources(self.architecture), encoding="utf-8")
        (self.directory / "etc/apt.conf").write_text(self._configuration(), encoding="utf-8")

    def _configuration(self):
        top = self.directory
        lines = _host_acquire()  # proxies and the like
        lines += [
            f'Dir::State "{top}/state/";', f'Dir::State::status "{top}/state/status";',
            f'Dir::Cache "{top}/cache/";', f'Dir::Etc "{top}/etc/";',
            f'Dir::Etc::sourcelist "{top}/etc/sources.list";', 'Dir::Etc::sourceparts "-";',
            f'Dir::Etc::parts "{top}/etc/parts";', 'Dir::Etc::main "none";',
            f'Dir::Etc::trustedparts "{top}/etc/trusted";', 'Dir::Etc::preferencesparts "-";',
            f'APT::Architecture "{self.architecture}";', f'APT::Architectures {{ "{self.architecture}"; }};',
            'APT::Sandbox::User "root";', 'Acquire::Languages "none";', 'Acquire::GzipIndexes "true";',
            'Acquire::Retries "3";', 'Acquire::http::Timeout "30";', 'Acquire::https::Timeout "30";',
        ]
        return "\n".join(lines) + "\n"

    def _update(self):
        self._apt(["apt-get", "-q", "update"], "the package index could not be fetched")

    def _download(self, name):
        fields = self._show(name)
        self._apt(["apt-get", "-q", "download", f"{name}={fields['Version']}"], f"{name} could not be fetched", cwd=self.debs)
        wanted = fields["SHA256"].lower()
        version = fields["Version"].replace(":", "%3a")
        found = self.debs / f"{name}_{version}_{fields['Architecture']}.deb"
        if not found.is_file() or _sha256(found) != wanted:
            raise TwainError(Exit.MISSING, f"{name}: the downloaded package is not what the archive's index says")
        return Package(name, fields["Version"], wanted, found)

    def _show(self, name):
        text = self._apt(["apt-cache", "--no-all-versions", "show", name], f"no package {name} for {self.architecture}")
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", text.split("\n\n")[0], re.MULTILINE))
        if "SHA256" not in fields or "Version" not in fields:
            raise TwainError(Exit.MISSING, f"no package {name} for {self.architecture} in the archive's index")
        return fields

    def _apt(self, command, failure, cwd=None):
        environment = {**os.environ, "APT_CONFIG": str(self.directory / "etc/apt.conf"), "LC_ALL": "C.UTF-8",
                       "DEBIAN_FRONTEND": "noninteractive"}
        return _run(command, failure, env=environment, cwd=cwd, hint="a network is needed, once")

    @contextlib.contextmanager
    def _locked(self):
        with (self.directory / "lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def sources(architecture):
    """A sources.list for the Debian mirrors of the host's own sources, with their security updates."""
    codename = _codename()
    entries = []
    for mirror, suite, components in _host_sources():
        if "main" in components and re.fullmatch(rf"({codename}|stable)(-updates|-security|/updates)?", suite):
            entries.append((mirror.rstrip("/"), suite))
    if not entries:
        entries = [("http://deb.debian.org/debian", codename)]
    if not any("security" in mirror or suite.endswith("-security") for mirror, suite in entries):
        mirror = entries[0][0]
        security = mirror + "-security" if mirror.endswith("/debian") else "http://security.debian.org/debian-security"
        entries.append((security, f"{codename}-security"))
    option = f"arch={architecture}" + (f" signed-by={KEYRING}" if KEYRING.is_file() else "")
    return "".join(f"deb [{option}] {mirror} {suite} main\n" for mirror, suite in dict.fromkeys(entries))


def _codename():
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        text = ""
    match = re.search(r'^VERSION_CODENAME="?([a-z]+)"?$', text, re.MULTILINE)
    return match[1] if match and re.search(r'^ID="?debian"?$', text, re.MULTILINE) else "bookworm"


def _host_sources():
    """(mirror, suite, components) of each binary source, one-line and deb822 format (sources.list(5))."""
    etc = Path("/etc/apt")
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]:
        for line in _lines(path):
            match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*?)\s*(?:#.*)?$", line)
            if match:
                yield match[1], match[2], match[3].split()
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", "\n".join(line for line in _lines(path) if not line.startswith("#"))):
            fields = {key.lower(): value.split() for key, value in
                      re.findall(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE)}
            if "deb" not in fields.get("types", []) or fields.get("enabled") == ["no"]:
                continue
            for mirror in fields.get("uris", []):
                for suite in fields.get("suites", []):
                    yield mirror, suite, fields.get("components", [])


def _lines(path):
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _host_acquire():
    """How the host's apt reaches its mirrors: the proxy and certificate settings."""
    if not shutil.which("apt-config"):
        return []
    text = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=30).stdout
    return [line for line in text.splitlines() if re.match(r"Acquire::(https?|ftp)::", line) and not line.endswith(' "";')]


def _run(command, failure, hint=None, **options):
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, timeout=TIMEOUT, **options)
    except FileNotFoundError as error:
        raise TwainError(Exit.MISSING, f"{command[0]} is missing: {failure}") from error
    except subprocess.TimeoutExpired as error:
        raise TwainError(Exit.MISSING, f"{failure}: no end within {TIMEOUT} s", hint=hint) from error
    if result.returncode != 0:
        raise TwainError(Exit.MISSING, failure, detail=(result.stdout + result.stderr).splitlines()[-20:], hint=hint)
    return result.stdout


def _sha256(path):
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def main():
    parser = argparse.ArgumentParser(prog="aptroot", description="Fetches Debian packages and unpacks them.")
    parser.add_argument("--arch", default="arm64", help="Debian architecture, or `host`")
    parser.add_argument("--extract", type=Path, metavar="DIR", help="unpack below DIR")
    parser.add_argument("packages", nargs="+", metavar="PACKAGE")
    options = parser.parse_args()
    try:
        architecture = options.arch
        if architecture == "host":
            architecture = _run(["dpkg", "--print-architecture"], "the host's architecture is unknown").strip()
        for deb in download(options.packages, architecture):
            if options.extract:
                extract(deb, options.extract)
            print(deb)
    except TwainError as error:
        print(error.render(), file=sys.stderr)
        return int(error.code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
