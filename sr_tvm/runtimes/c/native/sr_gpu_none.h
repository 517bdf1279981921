/* In place of sr_gpu_run.h where a network runs on the CPU alone: nothing is ever asked of it. */
#ifndef SR_GPU_NONE_H
#define SR_GPU_NONE_H

#include "sr_plan.h"

typedef struct {
  int32_t works;
} sr_gpu;

static int sr_gpu_fits(int32_t height, int32_t width) { return (void)height, (void)width, 0; }
static int sr_gpu_takes(sr_gpu *gpu, int32_t height, int32_t width) { return (void)height, (void)width, gpu->works; }
static sr_plan sr_gpu_plan(const sr_picture *picture) { return sr_least_plan(picture); }
static int sr_gpu_band(int32_t height, int32_t row, sr_rect *keep, sr_rect *read) {
  return (void)height, (void)row, (void)keep, (void)read, 0;
}
static int sr_gpu_run_band(sr_gpu *gpu, sr_run *run, sr_tile *tile, int32_t row) {
  return (void)gpu, (void)run, (void)tile, (void)row, 0;
}
static int sr_gpu_run(sr_gpu *gpu, sr_run *run, sr_tile *tile) { return (void)gpu, (void)run, (void)tile, 0; }
static void sr_gpu_stop(sr_gpu *gpu) { gpu->works = 0; }

#endif
