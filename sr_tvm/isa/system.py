"""Mesa's compilers for phone GPUs, unpacked beside the project by ``make system-deps``.

Nothing is installed and no root is needed. Debian's arm64 packages have Mesa's drm-shims, which pretend that a GPU is
there: the driver compiles for it and prints machine code. The packages come by the ordinary apt client, with a
configuration of its own, from the mirror that this machine uses already; an emulator (static qemu) runs them.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import platformdirs

from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.system import files
from sr_tvm.system import program as programs
from sr_tvm.system.death import how_ended

VARIABLE = "SR_TVM_GPU_ISA"
HINT = "run 'make system-deps' (python -m sr_tvm.isa.system), which unpacks it beside the project"
# Mesa 26 has max_waves in its statistics and better Mali code than trixie's 25.
SUITE, MESA_SUITE = "trixie", "trixie-backports"
PACKAGES = ("mesa-opencl-icd", "mesa-drm-shim", "ocl-icd-libopencl1")
EMULATOR = "qemu-user"  # static from 10 on; older ones fail on what rusticl asks of the kernel
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEADLINE = 900.0  # seconds for a step of apt on a slow line
LIBRARIES = "usr/lib/aarch64-linux-gnu"


def folder() -> Path:
    """Name the folder of the compilers.

    Returns:
        The folder that the environment variable SR_TVM_GPU_ISA names, else one in the user's cache; it need not be
        there.
    """
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("sr-tvm")) / "gpu-isa"


def missing() -> str | None:
    """Say what of the compilers is not there.

    Returns:
        One line with the command that unpacks them; None: all is there.
    """
    place = folder()
    if all((place / part).exists() for part in ("mesa", "root/lib", "bin/qemu-aarch64")):
        return None
    return f"the compilers for Adreno and Mali are not in {place}; {HINT}"


def mesa_version() -> str:
    """Read the version of the unpacked Mesa.

    Returns:
        Such as "26.1.6".

    Raises:
        SrTvmError: The compilers are not there.
    """
    why = missing()
    if why:
        raise SrTvmError(why)
    return (folder() / "mesa").read_text(encoding="utf-8").strip()


def unpack() -> Path:
    """Unpack the compilers where they are missing: 390 MB, about a minute, whole or not at all.

    Returns:
        Their folder; at once where they are there.

    Raises:
        SrTvmError: This is no Debian with apt, a package could not be had, where the message has apt's last line, or
            the folder cannot be written.
    """
    place = folder()
    if missing() is None:
        return place
    for tool in ("apt-get", "apt-config", "dpkg", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise SrTvmError(f"there is no {tool} here: Mesa's compilers are unpacked from Debian's packages")
    with files.atomic_folder(place) as partial, tempfile.TemporaryDirectory() as scratch:
        archives = _download(Path(scratch))
        for wanted in (EMULATOR, *PACKAGES):
            if not any(archive.name.startswith(f"{wanted}_") for archive in archives):
                raise SrTvmError(f"apt downloaded no package {wanted} of {SUITE} or {MESA_SUITE}; try again")
        root, version = partial / "root", ""
        for archive in archives:
            name = archive.name.split("_")[0]
            if name == EMULATOR:
                _run(["dpkg-deb", "-x", str(archive), str(Path(scratch) / "emulator")])
                (partial / "bin").mkdir(parents=True, exist_ok=True)
                emulator = Path(scratch) / "emulator/usr/bin/qemu-aarch64"
                if not emulator.is_file():
                    raise SrTvmError(f"{archive.name} has no usr/bin/qemu-aarch64: Debian moved the emulator")
                shutil.copy2(emulator, partial / "bin")
            else:
                _run(["dpkg-deb", "-x", str(archive), str(root)])
            if name == "mesa-opencl-icd":
                version = _run(["dpkg-deb", "-f", str(archive), "Version"]).strip()
        # Packages of a merged /usr: what links them to /lib is in a package of its own, which we need not have.
        (root / "lib").symlink_to("usr/lib")
        shutil.rmtree(root / "usr/share/doc", ignore_errors=True)
        (partial / "mesa").write_text(version.split("-")[0].split("~")[0] + "\n", encoding="utf-8")
    return place


def _download(scratch: Path) -> list[Path]:
    for part in ("etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"):
        (scratch / part).mkdir(parents=True)
    (scratch / "state/status").touch()
    host = _run(["dpkg", "--print-architecture"]).strip()
    architectures = sorted({"arm64", host})
    sources = "".join(
        f"deb [arch={','.join(architectures)} signed-by={KEYRING}] {_mirror()} {suite} main\n"
        for suite in (SUITE, MESA_SUITE)
    )
    (scratch / "sources.list").write_text(sources, encoding="utf-8")
    configuration = scratch / "apt.conf"
    listed = " ".join(f'"{a}";' for a in architectures)
    # Proxies and the like stay as the machine has them.
    inherited = [line for line in _run(["apt-config", "dump"]).splitlines() if line.startswith("Acquire::http")]
    lines = [
        *inherited,
        f'Dir::Etc "{scratch}/etc"; Dir::Etc::sourcelist "{scratch}/sources.list"; Dir::Etc::sourceparts "/dev/null";',
        f'Dir::State "{scratch}/state"; Dir::State::status "{scratch}/state/status"; Dir::Cache "{scratch}/cache";',
        f'APT::Architecture "arm64"; APT::Architectures {{{listed}}}; APT::Install-Recommends "false";',
        'Acquire::Languages "none"; Acquire::GzipIndexes "true"; APT::Sandbox::User "root";',
    ]
    configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
    environment = {**os.environ, "APT_CONFIG": str(configuration)}
    _run(["apt-get", "-qq", "update"], environment)
    get = ["apt-get", "-qq", "install", "-y", "--download-only"]
    _run([*get, "-t", MESA_SUITE, *PACKAGES], environment)
    # Of the emulator only the one package: it is static.
    cache = scratch / "cache/archives"
    _run(["apt-get", "-qq", "download", f"{EMULATOR}:{host}/{SUITE}"], environment, cache)
    return sorted(cache.glob("*.deb"))


def _mirror() -> str:
    used = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split()
    for uri in used:
        if uri.endswith("/debian/"):
            return uri
    raise SrTvmError("apt here has no Debian mirror (an address that ends in /debian/); run this on Debian")


def _run(command: list[str], environment: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    what = f"'{' '.join(command[:3])}'"
    done = programs.run(command, what, DEADLINE, environment=environment, cwd=cwd, hint="try again")
    if done.returncode:
        raise SrTvmError(f"{what} failed: {one_line(done.stderr or done.stdout) or how_ended(done.returncode)}")
    return done.stdout


def main() -> None:
    """Unpack the compilers and print where they are, as ``make system-deps`` asks for.

    Where they can't be had, the process exits with the message and code 1.
    """
    try:
        place = unpack()
        sys.stdout.write(f"Mesa {mesa_version()} for Adreno and Mali: {place}\n")
    except SrTvmError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
