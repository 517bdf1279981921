/* Orders of bytes in pixels, a tile of a picture, and alpha, which is enlarged bicubically. Needs no threads. */
#ifndef SR_ALPHA_H
#define SR_ALPHA_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

enum { SR_RGB = 1, SR_BGR = 2, SR_RGBA = 3, SR_BGRA = 4, SR_GREY = 5, SR_ALPHA_REACH = 2, SR_MAX_SCALE = 8 };

/* Bytes of a pixel; which of them is red, green, blue (grey: one), and alpha or -1. */
typedef struct {
  int32_t bytes, colours, colour[3], alpha;
} sr_format;

static const sr_format sr_formats[] = {
    {0, 0, {0, 0, 0}, -1}, {3, 3, {0, 1, 2}, -1}, {3, 3, {2, 1, 0}, -1},
    {4, 3, {0, 1, 2}, 3},  {4, 3, {2, 1, 0}, 3},  {1, 1, {0, 0, 0}, -1},
};

/* Half-open, in pixels of the input. */
typedef struct {
  int32_t top, bottom, left, right;
} sr_rect;

typedef struct {
  int32_t first[SR_MAX_SCALE];
  float weights[SR_MAX_SCALE][4];
} sr_bicubic;

/* One tile: what the network reads, the part that is kept, and where its rows come from and go to. */
typedef struct {
  sr_rect read, keep;
  int32_t height, width, scale, channels;
  float *in, *out; /* planes of the tile */
  const sr_format *format;
  const float *levels; /* of a byte, as the network takes it */
  const sr_bicubic *bicubic;
  const uint8_t *source;
  uint8_t *sink;
  size_t source_stride, sink_stride;
  int32_t source_top, sink_top; /* the rows of the picture that these begin at, the sink's in output pixels */
  const float *source_planes;   /* instead of bytes */
  float *sink_planes;
  int32_t not_finite;
} sr_tile;

/* Four taps for each phase of a bicubic enlargement (a = -0.5), as `upscale` has them for alpha. */
static void sr_make_bicubic(sr_bicubic *made, int32_t scale) {
  for (int32_t phase = 0; phase < scale; phase++) {
    double centre = (phase + 0.5) / scale - 0.5, weights[4], sum = 0;
    int32_t first = made->first[phase] = (int32_t)(centre + 1) - 2; /* the floor, less 1, for it is above -1 */
    for (int32_t k = 0; k < 4; k++) {
      double d = fabs(first + k - centre), d2 = d * d, d3 = d2 * d;
      weights[k] = d <= 1 ? 1.5 * d3 - 2.5 * d2 + 1 : -0.5 * d3 + 2.5 * d2 - 4 * d + 2;
      sum += weights[k];
    }
    for (int32_t k = 0; k < 4; k++) made->weights[phase][k] = (float)(weights[k] / sum);
  }
}

static int32_t sr_clamp(int32_t x, int32_t low, int32_t high) { return x < low ? low : x > high ? high : x; }

static uint8_t sr_to_byte(float x) {
  float clipped = x > 0.0F ? (x < 1.0F ? x : 1.0F) : 0.0F;
  return (uint8_t)(int32_t)(clipped * 255.0F + 0.5F);
}

/* Where the scale is one that the compiler knows, division by it is none. */
#ifndef SR_SCALE_OF
#define SR_SCALE_OF(tile) ((tile)->scale)
#endif

static float sr_alpha_at(const sr_tile *tile, int32_t y, int32_t x) {
  const uint8_t *row = tile->source + (size_t)(sr_clamp(y, 0, tile->height - 1) - tile->source_top) * tile->source_stride;
  size_t at = (size_t)sr_clamp(x, 0, tile->width - 1) * (size_t)tile->format->bytes;
  return (float)row[at + (size_t)tile->format->alpha] / 255.0F;
}

/* One row of alpha, ``y`` and ``left`` to ``right`` in output pixels: columns within a row of taps, then along it. */
static void sr_alpha_row(const sr_tile *tile, int32_t y, int32_t left, int32_t right, uint8_t *alpha) {
  const sr_bicubic *taps = tile->bicubic;
  int32_t scale = SR_SCALE_OF(tile), row = y / scale;
  const float *down = taps->weights[y % scale];
  int32_t top = row + taps->first[y % scale];
  for (int32_t x = left; x < right; x++, alpha += tile->format->bytes) {
    int32_t begin = x / scale + taps->first[x % scale];
    const float *along = taps->weights[x % scale];
    float sum = 0;
    for (int32_t k = 0; k < 4; k++) {
      float column = 0;
      for (int32_t j = 0; j < 4; j++) column += sr_alpha_at(tile, top + j, begin + k) * down[j];
      sum += column * along[k];
    }
    *alpha = sr_to_byte(sum);
  }
}

/* Whether all alpha that a row of output looks at is 255; then so is its own. */
static int sr_opaque(const sr_tile *tile, int32_t row) {
  int32_t left = sr_clamp(tile->keep.left - SR_ALPHA_REACH, 0, tile->width - 1);
  int32_t right = sr_clamp(tile->keep.right + SR_ALPHA_REACH, 1, tile->width);
  for (int32_t dy = -SR_ALPHA_REACH; dy <= SR_ALPHA_REACH; dy++) {
    int32_t y = sr_clamp(row + dy, 0, tile->height - 1) - tile->source_top;
    const uint8_t *alpha = tile->source + (size_t)y * tile->source_stride + tile->format->alpha;
    uint8_t least = 255;
    for (int32_t x = left; x < right; x++) least &= alpha[(size_t)x * (size_t)tile->format->bytes];
    if (least != 255) return 0;
  }
  return 1;
}

#endif
