/* A program as tables: kernels in the order of their calls, their tensors, and the memory between them.
 *
 * sr-tvm writes these tables for a network (package/tables.py); everything else here reads them. Kernels have TVM's
 * packed convention, whose types are repeated here as far as it goes, so that no header of TVM is needed.
 */
#ifndef SR_PROGRAM_H
#define SR_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { SR_MAX_RANK = 6, SR_MAX_ARGUMENTS = 32, SR_ALIGNMENT = 64 };

/* DLPack's tensor. */
typedef struct {
  int32_t type, id;
} sr_device;

typedef struct {
  uint8_t code, bits;
  uint16_t lanes;
} sr_dtype;

typedef struct {
  void *data;
  sr_device device;
  int32_t rank;
  sr_dtype dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} sr_dltensor;

/* TVM's value of any type, as far as kernels see it. */
enum { SR_ANY_INT = 1, SR_ANY_TENSOR = 7 };

typedef struct {
  int32_t type;
  uint32_t padding;
  union {
    int64_t integer;
    double real;
    void *pointer;
  } value;
} sr_any;

typedef int (*sr_kernel)(void *self, const sr_any *arguments, int32_t count, sr_any *result);

/* A dimension: factor, times the height of the picture, its width, or nothing. */
enum { SR_PLAIN = 0, SR_HEIGHT = 1, SR_WIDTH = 2 };

typedef struct {
  int32_t factor, name;
} sr_dim;

/* factor * height^height * width^width bytes; a size is the sum of such terms. */
typedef struct {
  uint64_t factor;
  uint32_t height, width;
} sr_term;

typedef struct {
  const sr_term *terms;
  uint32_t count;
} sr_size;

/* Where a tensor lies: in the caller's memory, at a byte of the weights, or in a buffer of that number. */
enum { SR_INPUT, SR_OUTPUT, SR_WEIGHTS, SR_BUFFER };

typedef struct {
  int32_t where, rank;
  uint64_t place;
  sr_dtype dtype;
  sr_dim shape[SR_MAX_RANK];
} sr_value;

typedef struct {
  sr_kernel kernel;
  const uint16_t *arguments; /* numbers of values */
  int32_t count;
} sr_call;

typedef struct {
  const sr_value *values;
  const sr_size *buffers;
  const sr_call *calls;
  const uint8_t *weights;
  uint32_t buffer_count, call_count;
  sr_size once, per_task; /* scratch memory of the kernels, and of each of their tasks */
  int32_t channels, scale, halo, step;
} sr_program;

#endif
