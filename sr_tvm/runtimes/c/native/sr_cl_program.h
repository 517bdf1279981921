/* A network as kernels of OpenCL, as tables: the memories, and the launches that work on them. Kernels are for one size
 * of picture, so that all of it is fixed. sr-tvm writes the tables (package/device.py); sr_cl_device.h reads them. */
#ifndef SR_CL_PROGRAM_H
#define SR_CL_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

/* The first two memories are input and output; then come the constants, which lie at ``place`` of the weights, then what
 * lies between kernels. Images have a width; their pixels are four numbers of ``bits``. */
enum { SR_CL_INPUT = 0, SR_CL_OUTPUT = 1 };
enum { SR_CL_BETWEEN, SR_CL_CONSTANT };

typedef struct {
  uint64_t bytes, place;
  uint32_t kind, width, height, layers, bits;
} sr_cl_memory;

typedef struct {
  const char *kernel;
  const uint16_t *arguments; /* numbers of memories */
  uint32_t count, groups[3], items[3];
} sr_cl_launch;

typedef struct {
  const uint8_t *source; /* deflated, see sr_inflate.h */
  size_t source_bytes, text_bytes;
  const char *digest; /* of the text, in hexadecimal */
  const uint8_t *weights;
  const sr_cl_memory *memories;
  const sr_cl_launch *launches;
  uint32_t memory_count, launch_count;
  int32_t height, width; /* of the pictures that it takes: tiles */
  int32_t half;          /* whether kernels compute in float16 */
} sr_cl_program;

#endif
