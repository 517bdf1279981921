/* How much memory a picture takes, and which tiles fit into what there is. */
#ifndef SR_PLAN_H
#define SR_PLAN_H

#include "sr_pixels.h"
#include "sr_program.h"

enum { SR_LEAST_ROWS = 16, SR_LEAST_COLUMNS = 64 /* of a tile */ };

/* Sizes: SIZE_MAX stands for anything too large. */
static size_t sr_add(size_t a, size_t b) { return a > SIZE_MAX - b ? SIZE_MAX : a + b; }
static size_t sr_times(size_t a, size_t b) { return b && a > SIZE_MAX / b ? SIZE_MAX : a * b; }
static size_t sr_round(size_t n) {
  return n > SIZE_MAX - SR_ALIGNMENT ? SIZE_MAX : (n + SR_ALIGNMENT - 1) & ~(size_t)(SR_ALIGNMENT - 1);
}

static size_t sr_bytes(const sr_size *size, int32_t height, int32_t width) {
  size_t sum = 0;
  for (uint32_t i = 0; i < size->count; i++) {
    const sr_term *term = &size->terms[i];
    size_t product = term->factor > SIZE_MAX ? SIZE_MAX : (size_t)term->factor;
    for (uint32_t k = 0; k < term->height; k++) product = sr_times(product, (size_t)height);
    for (uint32_t k = 0; k < term->width; k++) product = sr_times(product, (size_t)width);
    sum = sr_add(sum, product);
  }
  return sr_round(sum);
}

static int32_t sr_margin(void) {
  int32_t halo = sr_the_program.halo > SR_ALPHA_REACH ? sr_the_program.halo : SR_ALPHA_REACH;
  return (halo + sr_the_program.step - 1) / sr_the_program.step * sr_the_program.step;
}

static int32_t sr_least(int64_t a, int64_t b) { return (int32_t)(a < b ? a : b); }

/* What the kernels need for a picture of a size. */
static size_t sr_kernel_bytes(int32_t height, int32_t width, int32_t threads) {
  const sr_program *p = &sr_the_program;
  size_t sum = sr_times(sr_bytes(&p->per_task, height, width), (size_t)threads);
  sum = sr_add(sum, sr_bytes(&p->once, height, width));
  for (uint32_t i = 0; i < p->buffer_count; i++) sum = sr_add(sum, sr_bytes(&p->buffers[i], height, width));
  return sum;
}

typedef struct {
  int32_t height, width, threads;
  int32_t pixel; /* bytes of one, where rows come and go by functions; else 0 */
} sr_picture;

/* The parts of the memory of a run in tiles. */
typedef struct {
  int32_t rows, columns; /* that are kept of a tile, at most */
  size_t in, out, rows_in, rows_out, total;
} sr_plan;

static sr_plan sr_plan_of(const sr_picture *picture, int32_t rows, int32_t columns) {
  int32_t margin = 2 * sr_margin(), s = sr_the_program.scale;
  int32_t height = sr_least(picture->height, (int64_t)rows + margin);
  int32_t width = sr_least(picture->width, (int64_t)columns + margin);
  size_t scaled = (size_t)s * (size_t)s;
  sr_plan plan = {rows, columns, 0, 0, 0, 0, 0};
  plan.in = sr_times(sr_times((size_t)height, (size_t)width), (size_t)sr_the_program.channels * sizeof(float));
  plan.out = sr_round(sr_times(plan.in, scaled));
  plan.in = sr_round(plan.in);
  if (picture->pixel) {
    size_t line = sr_times((size_t)picture->width, (size_t)picture->pixel);
    plan.rows_in = sr_round(sr_times(line, (size_t)height));
    plan.rows_out = sr_round(sr_times(sr_times(line, scaled), (size_t)sr_least(picture->height, rows)));
  }
  plan.total = sr_add(sr_add(plan.in, plan.out), sr_add(plan.rows_in, plan.rows_out));
  plan.total = sr_add(plan.total, sr_kernel_bytes(height, width, picture->threads));
  return plan;
}

static sr_plan sr_least_plan(const sr_picture *picture) {
  return sr_plan_of(picture, SR_LEAST_ROWS, SR_LEAST_COLUMNS);
}

/* Of the tiles that fit into so many bytes, those by which the least is computed twice; rows is 0 if none fits. */
static sr_plan sr_best_plan(const sr_picture *picture, size_t bytes) {
  sr_plan best = {0, 0, 0, 0, 0, 0, 0};
  int32_t step = sr_the_program.step, margin = 2 * sr_margin();
  double least = 0;
  if (bytes < sr_least_plan(picture).total) return best;
  for (int32_t parts = 1;; parts += 1 + parts / 4) {
    int32_t columns = (picture->width + parts - 1) / parts;
    columns = (columns + step - 1) / step * step;
    int last = columns <= SR_LEAST_COLUMNS;
    if (last) columns = SR_LEAST_COLUMNS;
    int32_t low = 0, high = (picture->height + step - 1) / step;
    while (low < high) {
      int32_t middle = low + (high - low + 1) / 2;
      if (sr_plan_of(picture, middle * step, columns).total <= bytes)
        low = middle;
      else
        high = middle - 1;
    }
    if (low) {
      int32_t rows = sr_least((int64_t)low * step, picture->height), wide = sr_least(columns, picture->width);
      double down = sr_least(picture->height, (int64_t)rows + margin), along = sr_least(picture->width, (int64_t)wide + margin);
      double work = down / rows * along / wide;
      if (best.rows == 0 || work < least) {
        least = work;
        best = sr_plan_of(picture, low * step, columns);
      }
    }
    if (last) return best;
  }
}

#endif
