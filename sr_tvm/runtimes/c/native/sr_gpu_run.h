/* Pictures of any size through kernels of one: by tiles that all have that size.
 *
 * A convolution takes what lies outside a picture for zeros, and the kernels do so at their tile's edge. So a tile at the
 * picture's edge ends there: the last one of a row, and of a column, is moved back instead of being cut. What a tile has
 * within a halo of an edge that is none of the picture's is not kept. Tiles depend on the picture's size alone, so the
 * result does, too. A picture that is lower or narrower than a tile has none, and is left to the CPU. */
#ifndef SR_GPU_RUN_H
#define SR_GPU_RUN_H

#include "sr_cl_device.h"
#include "sr_pixels.h"
#include "sr_plan.h"

/* The tile of number ``i`` along a side of length ``whole``: what it reads, from ``first`` on, and what is kept of it. */
typedef struct {
  int32_t first, begin, end;
} sr_span;

/* How many tiles of length ``size`` a side takes. */
static int32_t sr_gpu_count(int32_t whole, int32_t size) {
  int32_t step = size - 2 * sr_margin(); /* more than 0, or it would not have been packaged */
  return 1 + (int32_t)(((int64_t)whole - size + step - 1) / step);
}

static sr_span sr_gpu_span(int32_t whole, int32_t size, int32_t i) {
  int32_t margin = sr_margin(), step = size - 2 * margin, last = sr_gpu_count(whole, size) - 1;
  sr_span span;
  span.first = i < last ? i * step : whole - size;
  span.begin = i ? i * step + margin : 0;
  span.end = i < last ? (i + 1) * step + margin : whole;
  return span;
}

/* Whether a picture has a tile's size at least. */
static int sr_gpu_fits(int32_t height, int32_t width) {
  return height >= sr_the_cl_program.height && width >= sr_the_cl_program.width;
}

/* Whether a picture goes through the device, as long as that works. */
static int sr_gpu_takes(sr_gpu *gpu, int32_t height, int32_t width) {
  return sr_gpu_fits(height, width) && __atomic_load_n(&gpu->works, __ATOMIC_ACQUIRE);
}

/* The memory for rows that come and go by functions: those of a row of tiles. */
static sr_plan sr_gpu_plan(const sr_picture *picture) {
  size_t scale = (size_t)sr_the_program.scale, rows = (size_t)sr_the_cl_program.height;
  size_t line = sr_times((size_t)picture->width, (size_t)picture->pixel);
  sr_plan plan = {sr_the_cl_program.height, sr_the_cl_program.width, 0, 0, 0, 0, 0};
  plan.rows_in = sr_round(sr_times(line, rows));
  plan.rows_out = sr_round(sr_times(sr_times(line, rows), scale * scale));
  plan.total = sr_add(plan.rows_in, plan.rows_out);
  return plan;
}

/* The rows of a row of tiles; 0 after the last. */
static int sr_gpu_band(int32_t height, int32_t row, sr_rect *keep, sr_rect *read) {
  if (row >= sr_gpu_count(height, sr_the_cl_program.height)) return 0;
  sr_span span = sr_gpu_span(height, sr_the_cl_program.height, row);
  keep->top = span.begin;
  keep->bottom = span.end;
  read->top = span.first;
  read->bottom = span.first + sr_the_cl_program.height;
  return 1;
}

/* Notes that the device failed, for which ``why`` has the reason: what comes next is done on the CPU. */
static int sr_gpu_lost(sr_gpu *gpu) {
  __atomic_store_n(&gpu->works, 0, __ATOMIC_RELEASE);
  return SR_ERROR_DEVICE;
}

/* One tile; the device is locked. */
static int sr_gpu_run_tile(sr_gpu *gpu, sr_run *run, sr_tile *tile) {
  if (!gpu->works) return SR_ERROR_DEVICE;
  tile->in = sr_gpu_map(gpu, SR_CL_INPUT);
  if (!tile->in) return sr_gpu_lost(gpu);
  int failed = sr_parallel(run, run->threads, sr_load_rows, tile);
  if (sr_gpu_unmap(gpu, SR_CL_INPUT, tile->in)) return sr_gpu_lost(gpu);
  if (failed) return SR_ERROR_INTERNAL;
  if (sr_gpu_launch(gpu)) return sr_gpu_lost(gpu);
  tile->out = sr_gpu_map(gpu, SR_CL_OUTPUT);
  if (!tile->out) return sr_gpu_lost(gpu);
  failed = sr_parallel(run, run->threads, sr_store_rows, tile);
  if (sr_gpu_unmap(gpu, SR_CL_OUTPUT, tile->out)) return sr_gpu_lost(gpu);
  if (failed) return SR_ERROR_INTERNAL;
  return tile->not_finite ? SR_ERROR_NOT_FINITE : SR_OK;
}

/* The tiles of a row of them; runs at the same time take turns, tile by tile. */
static int sr_gpu_run_band(sr_gpu *gpu, sr_run *run, sr_tile *tile, int32_t row) {
  int32_t width = sr_the_cl_program.width;
  if (!sr_gpu_band(tile->height, row, &tile->keep, &tile->read)) return SR_ERROR_INTERNAL;
  for (int32_t i = 0; i < sr_gpu_count(tile->width, width); i++) {
    sr_span span = sr_gpu_span(tile->width, width, i);
    tile->keep.left = span.begin;
    tile->keep.right = span.end;
    tile->read.left = span.first;
    tile->read.right = span.first + width;
    pthread_mutex_lock(&gpu->lock);
    int status = sr_gpu_run_tile(gpu, run, tile);
    pthread_mutex_unlock(&gpu->lock);
    if (status) return status;
  }
  return SR_OK;
}

/* A whole picture. */
static int sr_gpu_run(sr_gpu *gpu, sr_run *run, sr_tile *tile) {
  int status = SR_OK;
  for (int32_t row = 0; !status && row < sr_gpu_count(tile->height, sr_the_cl_program.height); row++)
    status = sr_gpu_run_band(gpu, run, tile, row);
  return status;
}

#endif
