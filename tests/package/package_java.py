"""A package's Java class and its C side, compiled for this machine's Java against a stub of Android's Bitmap."""

from pathlib import Path

from package_compilers import HERE, STRICT, run, static

from sr_tvm.package.android import java_class
from sr_tvm.package.record import Package

OPTIONS = (*STRICT, "-fPIC", "-shared")


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
    glue = sources.folder / "android" / "cpp" / f"{name}_jni.c"
    include, output = f"-I{library.folder / 'include'}", folder / f"lib{name}.so"
    run(need("gcc"), *OPTIONS, include, glue, static(library), "-pthread", "-ldl", "-o", output)
    # OpenCL on the CPU sets signal handlers of its own, of which the check would tell.
    checks = ("-Xcheck:jni", "-XX:+AllowUserSignalHandlers")
    return [need("java"), *checks, "-cp", str(classes), f"-Djava.library.path={folder}", "Main"]
