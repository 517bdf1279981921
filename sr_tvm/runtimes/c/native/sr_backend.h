/* What compiled kernels call of TVM's runtime: scratch memory, parallel tasks, the number of threads. Nothing else.
 *
 * The kernels reach these functions through pointers that TVM's loader would set. Packaging prefixes the pointers' names
 * with the network's (package/elf.py), so that two networks in one program do not meet.
 */
#ifndef SR_BACKEND_H
#define SR_BACKEND_H

#include <string.h>

#include "sr_program.h"
#include "sr_threads.h"

#define SR_JOIN2(a, b) a##b
#define SR_JOIN(a, b) SR_JOIN2(a, b)
#define SR_TVM(name) SR_JOIN(SR_PREFIX, name)

/* Before each piece of an arena: how much was used without it, and with it. */
typedef struct {
  size_t before, after;
} sr_piece;

static void *sr_alloc(int device_type, int device_id, uint64_t bytes, int code, int bits) {
  (void)device_type, (void)device_id, (void)code, (void)bits;
  sr_context *context = sr_current();
  if (!context) return NULL;
  sr_arena *arena = context->arena;
  if (bytes > arena->size - arena->used) return NULL;
  size_t size = SR_ALIGNMENT + (((size_t)bytes + SR_ALIGNMENT - 1) & ~(size_t)(SR_ALIGNMENT - 1));
  if (size > arena->size - arena->used) return NULL;
  sr_piece piece = {arena->used, arena->used + size};
  uint8_t *start = arena->base + arena->used;
  memcpy(start, &piece, sizeof piece);
  arena->used = piece.after;
  return start + SR_ALIGNMENT;
}

static int sr_free(int device_type, int device_id, void *pointer) {
  (void)device_type, (void)device_id;
  sr_context *context = sr_current();
  if (!context || !pointer) return -1;
  sr_piece piece;
  memcpy(&piece, (uint8_t *)pointer - SR_ALIGNMENT, sizeof piece);
  if (piece.after == context->arena->used) context->arena->used = piece.before; /* else the end of the task frees it */
  return 0;
}

static int sr_launch(sr_task task, void *data, int count) {
  (void)count; /* the tasks share out the work by the number of them that they are told */
  sr_context *context = sr_current();
  if (!context) return -1;
  if (context->in_task) {
    sr_group alone = {NULL, 1};
    return task(0, &alone, data);
  }
  return sr_parallel(context->run, context->run->threads, task, data);
}

static const char sr_num_threads[] = "runtime.NumThreads";

static int sr_lookup(void *library, const char *name, void **found) {
  (void)library;
  static const char *known = sr_num_threads;
  if (strcmp(name, known) != 0) return -1;
  *found = &known;
  return 0;
}

/* Threads may come here at once; all of them write the same. */
static int sr_handle(void **handle, int (*make)(void **)) {
  void *made = __atomic_load_n(handle, __ATOMIC_ACQUIRE);
  if (made) return 0;
  if (make(&made)) return -1;
  __atomic_store_n(handle, made, __ATOMIC_RELEASE);
  return 0;
}

static int sr_call_function(void *function, const sr_any *arguments, int32_t count, sr_any *result) {
  (void)function, (void)arguments, (void)count;
  sr_context *context = sr_current();
  if (!context) return -1;
  result->type = SR_ANY_INT;
  result->padding = 0;
  result->value.integer = context->run->threads;
  return 0;
}

#define SR_HIDDEN __attribute__((visibility("hidden")))

extern void *(*SR_TVM(__TVMBackendAllocWorkspace))(int, int, uint64_t, int, int) SR_HIDDEN;
extern int (*SR_TVM(__TVMBackendFreeWorkspace))(int, int, void *) SR_HIDDEN;
extern int (*SR_TVM(__TVMBackendParallelLaunch))(sr_task, void *, int) SR_HIDDEN;
extern int (*SR_TVM(__TVMFFIEnvModLookupFromImports))(void *, const char *, void **) SR_HIDDEN;
extern int (*SR_TVM(__TVMFFIHandleInitOnce))(void **, int (*)(void **)) SR_HIDDEN;
extern int (*SR_TVM(__TVMFFIFunctionCall))(void *, const sr_any *, int32_t, sr_any *) SR_HIDDEN;
void SR_TVM(TVMFFIErrorSetRaisedFromCStrParts)(const char *, const char **, int32_t) SR_HIDDEN;
void SR_TVM(TVMFFIErrorSetRaisedFromCStr)(const char *, const char *) SR_HIDDEN;

void *(*SR_TVM(__TVMBackendAllocWorkspace))(int, int, uint64_t, int, int) = sr_alloc;
int (*SR_TVM(__TVMBackendFreeWorkspace))(int, int, void *) = sr_free;
int (*SR_TVM(__TVMBackendParallelLaunch))(sr_task, void *, int) = sr_launch;
int (*SR_TVM(__TVMFFIEnvModLookupFromImports))(void *, const char *, void **) = sr_lookup;
int (*SR_TVM(__TVMFFIHandleInitOnce))(void **, int (*)(void **)) = sr_handle;
int (*SR_TVM(__TVMFFIFunctionCall))(void *, const sr_any *, int32_t, sr_any *) = sr_call_function;

/* A kernel says what it does not like of its arguments; its status, which is not 0, is enough for us. */
void SR_TVM(TVMFFIErrorSetRaisedFromCStrParts)(const char *kind, const char **parts, int32_t count) {
  (void)kind, (void)parts, (void)count;
}
void SR_TVM(TVMFFIErrorSetRaisedFromCStr)(const char *kind, const char *message) { (void)kind, (void)message; }

#endif
