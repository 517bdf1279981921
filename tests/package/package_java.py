"""A package's Java class and its C side, compiled for this machine's Java against a stub of Android's Bitmap."""

import subprocess
from pathlib import Path

from sr_tvm.package.android import java_class
from sr_tvm.package.record import Package

HERE = Path(__file__).parent
SECONDS = 300
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fPIC", "-shared")


def run(*command, **more) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=SECONDS, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(sources: Package, library: Package, main: str, need, folder: Path) -> list[str]:
    """Compile the sources of the package ``sources`` for Android, with ``main``, and link them with the static library
    of ``library``, the same network for this machine; gives the command that runs it.
    """
    name, kind = sources.name, java_class(sources.name)
    assert name == library.name
    classes, stub = folder / "classes", folder / "src" / "android" / "graphics" / "Bitmap.java"
    stub.parent.mkdir(parents=True)
    stub.write_text((HERE / "Stub.java").read_text())
    program = folder / "src" / "Main.java"
    program.write_text((HERE / main).read_text().replace("NETWORK", kind))
    java = sources.folder / "android" / "java" / "srtvm" / f"{kind}.java"
    run(need("javac"), "-Xlint:all", "-Werror", "-d", classes, stub, java, program)
    glue, static = sources.folder / "android" / "cpp" / f"{name}_jni.c", library.folder / "lib" / f"lib{name}.a"
    include, output = f"-I{library.folder / 'include'}", folder / f"lib{name}.so"
    run(need("gcc"), *STRICT, include, glue, static, "-pthread", "-ldl", "-o", output)
    # OpenCL on the CPU sets signal handlers of its own, of which the check would tell.
    checks = ("-Xcheck:jni", "-XX:+AllowUserSignalHandlers")
    return [need("java"), *checks, "-cp", str(classes), f"-Djava.library.path={folder}", "Main"]
