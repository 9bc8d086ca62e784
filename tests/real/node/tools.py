"""The programs of a node that others package: the machine's own, else Debian's, unpacked beside."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "real" / "node"

_PACKAGES = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ctr": "containerd",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "mount": "mount",
    "nsenter": "util-linux",
    "runc": "runc",
    "unshare": "util-linux",
}
_CNI = Path("/usr/lib/cni"), Path("/opt/cni/bin")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class ToolsMissing(RuntimeError):
    """A program that a node needs is not on this machine, and cannot be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Where the programs are."""

    besides: Path | None
    """A folder to be laid beneath /usr, with what the machine lacks; None if it has all."""
    cni: Path
    """The folder of the network plugins, that one laid."""


def get_tools(folder: Path = CACHE) -> Tools:
    """Find the programs, and unpack those that the machine lacks below `folder`.

    The machine itself is not changed: nothing is installed.
    Raises `ToolsMissing`, which says what to install.
    """
    cni = next((path for path in _CNI if (path / "ptp").exists()), None)
    packages = {package for name, package in _PACKAGES.items() if shutil.which(name) is None}
    packages |= set() if cni else {"containernetworking-plugins"}
    packages |= set() if _KEYRING.exists() else {"debian-archive-keyring"}
    if not packages:
        return Tools(besides=None, cni=cni or _CNI[0])
    root = folder / "root"
    stamp = root / "packages"
    wanted = " ".join(sorted(packages))
    if not stamp.exists() or stamp.read_text() != wanted:
        _unpack(sorted(packages), folder, root)
        stamp.write_text(wanted)
    return Tools(besides=root / "usr", cni=cni or _CNI[0])


def _unpack(packages: list[str], folder: Path, root: Path) -> None:
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise ToolsMissing(
                f"A node needs the packages {', '.join(packages)} (as Debian calls them), "
                "which this machine lacks. Install them; only with apt are they fetched for you."
            )
    shutil.rmtree(root, ignore_errors=True)
    archives, lists = folder / "archives", folder / "lists"
    for path in (root, archives / "partial", lists / "partial"):
        path.mkdir(parents=True, exist_ok=True)
    # Lists and archives of one's own, and no locks: the machine's apt is only asked.
    apt = ["apt-get", "--quiet=2", "--yes", "--option", "Debug::NoLocking=1"]
    apt += ["--option", f"Dir::State::lists={lists}", "--option", f"Dir::Cache={folder}"]
    apt += ["--option", "APT::Sandbox::User=root"]
    fetch = ["install", "--download-only", "--no-install-recommends", *packages]
    for command in (["update"], fetch):
        done = subprocess.run([*apt, *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ToolsMissing(
                f"A node needs the packages {', '.join(packages)}, which this machine lacks, "
                f"and apt does not give them: {done.stderr.strip()}"
            )
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", archive, root], check=True)
    _link_iptables(root / "usr" / "sbin")


def _link_iptables(folder: Path) -> None:
    """Give iptables its names, which an installation would."""
    many = folder / "xtables-nft-multi"
    if not many.exists():
        return
    for name in ("iptables", "ip6tables"):
        for ending in ("", "-restore", "-save"):
            link = folder / f"{name}{ending}"
            if not link.exists():
                link.symlink_to(many.name)
