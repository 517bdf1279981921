/* Between bytes of pixels and planes of floats, as sr-tvm's `upscale` does it: rounded to nearest, clipped to 0..255. */
#ifndef SR_PIXELS_H
#define SR_PIXELS_H

#include <math.h>

#include "sr_alpha.h"
#include "sr_threads.h"

/* Networks of one channel take luma, 16/255 to 235/255; grey is of the full range. */
static const float SR_LUMA_SLOPE = 219.0F / 255.0F, SR_LUMA_BACK = 255.0F / 219.0F, SR_LUMA_OFFSET = 16.0F / 255.0F;

static void sr_make_levels(float *levels, int32_t channels) {
  for (int32_t i = 0; i < 256; i++) {
    float level = (float)i / 255.0F;
    levels[i] = channels == 1 ? level * SR_LUMA_SLOPE + SR_LUMA_OFFSET : level;
  }
}

static int32_t sr_share(int32_t rows, int task, int32_t tasks) {
  return (int32_t)((int64_t)rows * task / tasks);
}

/* A task: some of the rows of the tile, from bytes or floats to planes. */
static int sr_load_rows(int task, sr_group *group, void *data) {
  const sr_tile *tile = data;
  const sr_rect *read = &tile->read;
  int32_t rows = read->bottom - read->top, columns = read->right - read->left;
  size_t plane = (size_t)rows * (size_t)columns;
  for (int32_t y = sr_share(rows, task, group->tasks); y < sr_share(rows, task + 1, group->tasks); y++) {
    for (int32_t c = 0; c < tile->channels; c++) {
      float *line = tile->in + (size_t)c * plane + (size_t)y * (size_t)columns;
      if (tile->source_planes) {
        size_t row = (size_t)c * (size_t)tile->height + (size_t)(read->top + y);
        memcpy(line, tile->source_planes + row * (size_t)tile->width + read->left, (size_t)columns * sizeof *line);
        continue;
      }
      const uint8_t *pixel = tile->source + (size_t)(read->top + y - tile->source_top) * tile->source_stride;
      pixel += (size_t)read->left * (size_t)tile->format->bytes + (size_t)tile->format->colour[c];
      for (int32_t x = 0; x < columns; x++, pixel += tile->format->bytes) line[x] = tile->levels[*pixel];
    }
  }
  return 0;
}

/* A task: some of the rows that are kept, from planes to bytes or floats. */
static int sr_store_rows(int task, sr_group *group, void *data) {
  sr_tile *tile = data;
  const sr_rect *read = &tile->read, *keep = &tile->keep;
  int32_t s = tile->scale, rows = keep->bottom - keep->top, columns = (keep->right - keep->left) * s;
  size_t line_length = (size_t)(read->right - read->left) * (size_t)s;
  size_t plane = (size_t)(read->bottom - read->top) * (size_t)s * line_length;
  const sr_format *format = tile->format;
  int32_t wrong = 0;
  for (int32_t i = sr_share(rows, task, group->tasks); i < sr_share(rows, task + 1, group->tasks); i++) {
    int opaque = !tile->source_planes && format->alpha >= 0 ? sr_opaque(tile, keep->top + i) : 0;
    for (int32_t dy = 0; dy < s; dy++) {
      int32_t y = (keep->top + i) * s + dy;
      size_t at = (size_t)(y - read->top * s) * line_length + (size_t)(keep->left - read->left) * (size_t)s;
      for (int32_t c = 0; c < tile->channels; c++) {
        const float *line = tile->out + (size_t)c * plane + at;
        if (tile->sink_planes) {
          size_t row = (size_t)c * (size_t)tile->height * (size_t)s + (size_t)y;
          float *to = tile->sink_planes + row * (size_t)tile->width * (size_t)s + (size_t)keep->left * (size_t)s;
          memcpy(to, line, (size_t)columns * sizeof *line);
          continue;
        }
        uint8_t *pixel = tile->sink + (size_t)(y - tile->sink_top) * tile->sink_stride;
        pixel += (size_t)keep->left * (size_t)s * (size_t)format->bytes + (size_t)format->colour[c];
        for (int32_t x = 0; x < columns; x++, pixel += format->bytes) {
          float v = line[x];
          if (!(fabsf(v) < INFINITY)) wrong = 1;
          if (tile->channels == 1) v = (v - SR_LUMA_OFFSET) * SR_LUMA_BACK;
          *pixel = sr_to_byte(v);
        }
      }
      if (tile->source_planes || format->alpha < 0) continue;
      uint8_t *alpha = tile->sink + (size_t)(y - tile->sink_top) * tile->sink_stride;
      alpha += (size_t)keep->left * (size_t)s * (size_t)format->bytes + (size_t)format->alpha;
      if (opaque)
        for (int32_t x = 0; x < columns; x++) alpha[(size_t)x * (size_t)format->bytes] = 255;
      else
        sr_alpha_row(tile, y, keep->left * s, keep->right * s, alpha);
    }
  }
  if (wrong) __atomic_store_n(&tile->not_finite, 1, __ATOMIC_RELAXED);
  return 0;
}

#endif
