"""The Android form of a package: an AAR with the library for prefab and for Java, and the sources of the Java side."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sr_tvm.package.templates import render

ABI = "arm64-v8a"
API = 21  # the first with 64-bit processors
NDK = 27  # the first that links for pages of 16 KB by itself; prefab wants a number
# The names by which an app can open a vendor's OpenCL; its manifest must have them if it targets Android 12 or later.
OPENCL = ("libOpenCL.so", "libOpenCL-pixel.so", "libOpenCL-car.so")
TEXT_BYTES = 4096  # of the buffers in which Java is told what a driver says
_WHEN = (1980, 1, 1, 0, 0, 0)  # in archives: equal packages are equal files


def java_class(name: str) -> str:
    """Make the name of a network's Java class: WdsrX237k of wdsr_x2_37k.

    It has no underscores, which JNI would mangle.

    Args:
        name: The network's, a C identifier in small letters.

    Returns:
        The class's name, without its package.
    """
    return "".join(part.capitalize() for part in re.split("_+", name) if part)


def exports(name: str, device: bool = False) -> list[str]:
    """List the functions of the library that Java calls.

    Args:
        name: The network's.
        device: Whether the network is for a device; then there is one more.

    Returns:
        Their symbols.
    """
    natives = ("text", "workspaceBytes", "create", "destroy", "run", *(("device",) if device else ()))
    return [f"Java_srtvm_{java_class(name)}_{native}" for native in natives]


def write(folder: Path, name: str, facts: Mapping[str, Any], library: Path, header: Path) -> None:
    """Write ``NAME.aar``, and the sources of the Java side, into a folder.

    Args:
        folder: Which is made.
        name: The network's.
        facts: For the templates.
        library: The shared library.
        header: The C header.
    """
    java, cpp = folder / "java" / "srtvm", folder / "cpp"
    java.mkdir(parents=True)
    cpp.mkdir()
    (java / f"{java_class(name)}.java").write_text(render("Network.java", facts), encoding="utf-8")
    (cpp / f"{name}_jni.c").write_text(render("jni.c", facts), encoding="utf-8")
    module = f"prefab/modules/{name}"
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as jar:
        _add(jar, "META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n\n")
    with zipfile.ZipFile(folder / f"{name}.aar", "w", zipfile.ZIP_DEFLATED) as aar:
        _add(aar, "AndroidManifest.xml", _manifest(name, bool(facts["device"])).encode())
        _add(aar, "classes.jar", empty.getvalue())
        _add(aar, "R.txt", b"")
        _add(aar, f"jni/{ABI}/lib{name}.so", library.read_bytes())
        _add(aar, "prefab/prefab.json", _json(schema_version=2, name=name, version="1.0.0", dependencies=[]))
        _add(aar, f"{module}/module.json", _json(export_libraries=[], library_name=f"lib{name}"))
        _add(aar, f"{module}/include/{header.name}", header.read_bytes())
        _add(aar, f"{module}/libs/android.{ABI}/lib{name}.so", library.read_bytes())
        _add(aar, f"{module}/libs/android.{ABI}/abi.json", _json(abi=ABI, api=API, ndk=NDK, stl="none", static=False))


def _manifest(name: str, device: bool) -> str:
    """Return the archive's manifest, which a build merges into the app's."""
    asked = "".join(f'        <uses-native-library android:name="{o}" android:required="false" />\n' for o in OPENCL)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="srtvm.{name}">\n'
        f'    <uses-sdk android:minSdkVersion="{API}" />\n'
        + (f"    <application>\n{asked}    </application>\n" if device else "")
        + "</manifest>\n"
    )


def _json(**value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _WHEN)
    info.compress_type = archive.compression
    info.external_attr = 0o644 << 16
    archive.writestr(info, data)
