"""The codes of the C interface, said once: the header, the library and the tests take them from here."""

from __future__ import annotations

VERSION = 1  # of the interface: a program that was compiled with another version's header is refused

# Names and texts by code, 0 first.
STATUSES: tuple[tuple[str, str], ...] = (
    ("OK", "all went well"),
    ("ERROR_NULL", "a pointer is null"),
    ("ERROR_SIZE", "height, width or number of images is below 1, or too large"),
    ("ERROR_STRIDE", "a stride is less than a row of pixels"),
    ("ERROR_WORKSPACE_SIZE", "the workspace is too small: ask workspace_bytes, for as many threads"),
    ("ERROR_WORKSPACE_ALIGNMENT", "the workspace does not begin at a multiple of 64 bytes"),
    ("ERROR_WORKSPACE_BUSY", "another run has the workspace: each run at a time needs its own"),
    ("ERROR_ALIGNMENT", "floats do not begin at a multiple of 4 bytes"),
    ("ERROR_OVERLAP", "input, output and workspace share memory"),
    ("ERROR_FORMAT", "no such pixel format, or one that the network does not take"),
    ("ERROR_THREADS", "the number of threads is below 1 or above 256"),
    ("ERROR_USE", "no such use of a workspace"),
    ("ERROR_VERSION", "the header is of another version than the library"),
    ("ERROR_PROCESSOR", "the processor lacks instructions that the kernels were compiled with"),
    ("ERROR_MEMORY", "no memory or no threads left"),
    ("ERROR_CALLER", "a function of the caller's said that it failed"),
    ("ERROR_NOT_FINITE", "the network gives NaN or infinite pixels: its weights are damaged"),
    ("ERROR_INTERNAL", "a kernel failed: a bug of ours"),
    ("ERROR_DEVICE", "no OpenCL device runs the network, or one failed: get_device, or the options' text, says why"),
    ("ERROR_OPTION", "no such choice of a device"),
)

# Uses of a workspace by code, with what the header says of them.
USES: tuple[tuple[str, str], ...] = (
    ("WHOLE", "run_f32 of the whole picture: nothing is copied or computed twice"),
    ("TILES", "run_u8, or run_f32 of any size in little memory: the usual"),
    ("TILES_LEAST", "the least that these two take, which is slower"),
    ("ROWS", "run_rows: the usual"),
    ("ROWS_LEAST", "the least that it takes, which is slower"),
)

# Pixel formats, numbered from 1 as in sr_pixels.h.
FORMATS: tuple[tuple[str, str], ...] = (
    ("RGB", "3 bytes a pixel: red, green, blue"),
    ("BGR", "3 bytes: blue, green, red"),
    ("RGBA", "4 bytes: red, green, blue, alpha"),
    ("BGRA", "4 bytes: blue, green, red, alpha"),
    ("GREY", "1 byte"),
)

# What a network for a device runs on, by code from 0 on.
DEVICES: tuple[tuple[str, str], ...] = (
    ("AUTO", "a GPU where one runs the network, else the CPU"),
    ("CPU", "the CPU"),
    ("OPENCL", "an OpenCL device, be it a CPU's; creating fails where there is none"),
)

# What became of compiled kernels in the cache's folder, by code from 0 on.
CACHES: tuple[tuple[str, str], ...] = (
    ("NOT_CACHED", "no folder was named, or there is no device"),
    ("CACHE_READ", "they came from there"),
    ("CACHE_WRITTEN", "they were compiled, and are there now"),
    ("CACHE_FAILED", "they were compiled, and could not be written there"),
)

FUNCTIONS = (
    *("version", "text", "get_properties", "workspace_bytes", "create", "destroy"),
    *("run_f32", "run_u8", "run_rows"),
)
DEVICE_FUNCTIONS = ("create_on", "get_device")  # only networks for a device have them

# Hexagon's libraries have no threads, memory or floats of their own, and a code more, for rows.
HEXAGON_ALIGNMENT = 128
_ON_HEXAGON = {
    "ERROR_SIZE": "height or width is below 1, or picture or result too large",
    "ERROR_WORKSPACE_SIZE": "the workspace is too small: ask workspace_bytes",
    "ERROR_WORKSPACE_ALIGNMENT": f"the workspace does not begin at a multiple of {HEXAGON_ALIGNMENT} bytes",
}
HEXAGON_STATUSES: tuple[tuple[str, str], ...] = (
    *((code, _ON_HEXAGON.get(code, text)) for code, text in STATUSES),
    ("ERROR_ROWS", "no such rows: first must be 0 or more, end larger, and at most the height"),
)
HEXAGON_USES: tuple[tuple[str, str], ...] = (
    ("PLANES", "run_planes: line buffers alone, of a size that the width decides"),
    ("PIXELS", "run_u8: these, and the planes of picture and result"),
)
HEXAGON_FUNCTIONS = ("version", "text", "get_properties", "workspace_bytes", "run_planes", "run_u8")
