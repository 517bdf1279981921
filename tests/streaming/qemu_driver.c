// Runs compiled kernels in an emulator: tensors come on stdin, the kernels of calls.h run in order, all tensors go to
// stdout. It stands in for TVM's runtime: the kernels reach that only through the weak pointers that are filled here.
//
// A tensor on stdin: int32 rank, int32 bits of a float (16 or 32), int64 extents, data; before the first one an int32,
// their number. Data only on stdout.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dlpack/dlpack.h>
#include <tvm/ffi/c_api.h>

typedef int Kernel(void *, const TVMFFIAny *, int32_t, TVMFFIAny *);
typedef struct {
  Kernel *kernel;
  int32_t count;
  const int *tensors;  // the arguments, by number
} Call;
#include "calls.h"  // kernels, and the table `calls`

enum { TASKS = 3 };  // of a parallel loop, and the threads there seem to be; tasks run one after another

typedef struct {
  void *sync;
  int32_t tasks;
} Group;
typedef int Task(int, Group *, void *);

static void *allocate(int device, int id, uint64_t bytes, int code, int bits) {
  (void)device, (void)id, (void)code, (void)bits;
  void *data = NULL;
  if (posix_memalign(&data, 128, bytes ? bytes : 1)) return NULL;
  memset(data, 0xff, bytes);  // NaN: nobody may count on zeros
  return data;
}

static int release(int device, int id, void *data) {
  (void)device, (void)id;
  free(data);
  return 0;
}

static int launch(Task *task, void *data, int count) {
  Group group = {NULL, count ? count : TASKS};
  for (int i = 0, failed; i < group.tasks; i++)
    if ((failed = task(i, &group, data))) return failed;
  return 0;
}

static void raised(const char *kind, const char *message) { fprintf(stderr, "%s: %s\n", kind, message); }
static void raised_parts(const char *kind, const char **parts, int32_t count) {
  fprintf(stderr, "%s: ", kind);
  for (int i = 0; i < count; i++) fputs(parts[i], stderr);
  fputc('\n', stderr);
}

// The one global function kernels ask for is runtime.NumThreads: whatever they look up and call is that.
static int look_up(void *library, const char *name, void **found) {
  (void)library;
  if (strcmp(name, "runtime.NumThreads")) {
    fprintf(stderr, "no function %s\n", name);
    return -1;
  }
  *found = (void *)name;
  return 0;
}

static int once(void **handle, int (*make)(void **)) { return *handle ? 0 : make(handle); }

static int call(void *function, TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
  (void)function, (void)arguments, (void)count;
  result->type_index = kTVMFFIInt;
  result->v_int64 = TASKS;
  return 0;
}

// Object code calls these by name or by pointer, depending on how TVM made it; either may be absent.
void *TVMBackendAllocWorkspace(int d, int i, uint64_t n, int c, int b) { return allocate(d, i, n, c, b); }
int TVMBackendFreeWorkspace(int d, int i, void *p) { return release(d, i, p); }
int TVMBackendParallelLaunch(Task *t, void *d, int n) { return launch(t, d, n); }
void TVMFFIErrorSetRaisedFromCStr(const char *k, const char *m) { raised(k, m); }
void TVMFFIErrorSetRaisedFromCStrParts(const char *k, const char **p, int32_t n) { raised_parts(k, p, n); }
extern void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) __attribute__((weak));
extern int (*__TVMBackendFreeWorkspace)(int, int, void *) __attribute__((weak));
extern int (*__TVMBackendParallelLaunch)(Task *, void *, int) __attribute__((weak));
int TVMFFIEnvModLookupFromImports(void *l, const char *n, void **f) { return look_up(l, n, f); }
int TVMFFIHandleInitOnce(void **h, int (*m)(void **)) { return once(h, m); }
int TVMFFIFunctionCall(void *f, TVMFFIAny *a, int32_t n, TVMFFIAny *r) { return call(f, a, n, r); }
extern int (*__TVMFFIEnvModLookupFromImports)(void *, const char *, void **) __attribute__((weak));
extern int (*__TVMFFIHandleInitOnce)(void **, int (*)(void **)) __attribute__((weak));
extern int (*__TVMFFIFunctionCall)(void *, TVMFFIAny *, int32_t, TVMFFIAny *) __attribute__((weak));
extern void (*__TVMFFIErrorSetRaisedFromCStr)(const char *, const char *) __attribute__((weak));
extern void (*__TVMFFIErrorSetRaisedFromCStrParts)(const char *, const char **, int32_t) __attribute__((weak));

static void fill(void) {
  if (&__TVMBackendAllocWorkspace) __TVMBackendAllocWorkspace = allocate;
  if (&__TVMBackendFreeWorkspace) __TVMBackendFreeWorkspace = release;
  if (&__TVMBackendParallelLaunch) __TVMBackendParallelLaunch = launch;
  if (&__TVMFFIEnvModLookupFromImports) __TVMFFIEnvModLookupFromImports = look_up;
  if (&__TVMFFIHandleInitOnce) __TVMFFIHandleInitOnce = once;
  if (&__TVMFFIFunctionCall) __TVMFFIFunctionCall = call;
  if (&__TVMFFIErrorSetRaisedFromCStr) __TVMFFIErrorSetRaisedFromCStr = raised;
  if (&__TVMFFIErrorSetRaisedFromCStrParts) __TVMFFIErrorSetRaisedFromCStrParts = raised_parts;
}

static void get(void *data, size_t bytes) {
  if (fread(data, 1, bytes, stdin) != bytes) {
    fprintf(stderr, "stdin ends early\n");
    exit(2);
  }
}

int main(void) {
  fill();
  int32_t count;
  get(&count, sizeof count);
  DLTensor *tensors = calloc(count, sizeof *tensors);
  size_t *bytes = calloc(count, sizeof *bytes);
  for (int i = 0; i < count; i++) {
    DLTensor *t = tensors + i;
    int32_t rank, bits;
    get(&rank, sizeof rank);
    get(&bits, sizeof bits);
    int64_t *shape = calloc(2 * rank, sizeof *shape), *strides = shape + rank, size = 1;
    get(shape, rank * sizeof *shape);
    for (int axis = rank; axis--; size *= shape[axis]) strides[axis] = size;
    bytes[i] = size * bits / 8;
    *t = (DLTensor){allocate(0, 0, bytes[i], 0, 0), {kDLCPU, 0}, rank, {kDLFloat, bits, 1}, shape, strides, 0};
    get(t->data, bytes[i]);
  }
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    TVMFFIAny *arguments = calloc(calls[i].count, sizeof *arguments), result = {0};
    for (int j = 0; j < calls[i].count; j++) {
      arguments[j].type_index = kTVMFFIDLTensorPtr;
      arguments[j].v_ptr = tensors + calls[i].tensors[j];
    }
    if (calls[i].kernel(NULL, arguments, calls[i].count, &result)) return 3;
    free(arguments);
  }
  for (int i = 0; i < count; i++) fwrite(tensors[i].data, 1, bytes[i], stdout);
  return 0;
}
