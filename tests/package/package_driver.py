"""OpenCL libraries that are the machine's but for some functions, which tests write in C."""

# What a test's driver overrides is written after this; the rest is the real library's, on which it depends.
DRIVER = r"""
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
static void *real(const char *name) { return dlsym(dlopen("libOpenCL.so.1", RTLD_NOW), name); }
typedef int info(void *, unsigned, size_t, void *, size_t *);
static int tell(const void *value, size_t bytes, size_t size, void *at, size_t *needed) {
  if (needed) *needed = bytes;
  if (at && size >= bytes) memcpy(at, value, bytes);
  return 0;
}
"""
AS_GPU = r"""
int clGetDeviceIDs(void *platform, uint64_t type, unsigned count, void **ids, unsigned *found) {
  if (type != 4) return -1;
  int (*get)(void *, uint64_t, unsigned, void **, unsigned *);
  void *there = real("clGetDeviceIDs");
  memcpy(&get, &there, sizeof get);
  return get(platform, 2, count, ids, found);
}
"""


def asked(what: str, value: str) -> str:
    """A driver that says something else of its device."""
    return (
        "int clGetDeviceInfo(void *id, unsigned what, size_t size, void *at, size_t *needed) {\n"
        f"  {value};\n  if (what == {what}) return tell(&value, sizeof value, size, at, needed);\n"
        '  return ((info *)real("clGetDeviceInfo"))(id, what, size, at, needed);\n}\n'
    )


def failing(name: str, parameters: str, arguments: str, after: int = 0) -> str:
    """A driver whose function fails with -5 from a call on."""
    return (
        f"int {name}({parameters}) {{\n  static int calls;\n  if (calls++ >= {after}) return -5;\n"
        f'  return ((int (*)({parameters}))real("{name}"))({arguments});\n}}\n'
    )


LAUNCH = failing(
    "clEnqueueNDRangeKernel",
    "void *q, void *k, unsigned n, const size_t *o, const size_t *g, const size_t *l, unsigned e, void *w, void *v",
    "q, k, n, o, g, l, e, w, v", after=9,
)  # fmt: skip
