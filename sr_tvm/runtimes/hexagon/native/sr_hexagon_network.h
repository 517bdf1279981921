/* The functions of a Hexagon network's header: checks, and the calls of its program. Included once, by the generated
 * file, which defines SR_NAME, SR_PREFIX, the codes and the numbers of the network. Nothing here allocates, waits or
 * knows of threads; of a C library it uses memcpy and memset. */
#ifndef SR_HEXAGON_NETWORK_H
#define SR_HEXAGON_NETWORK_H

#include <string.h>

#define SR_SCALE_OF(tile) SR_SCALE
#include "sr_alpha.h"
#include "sr_program.h"

#define SR_JOIN2(a, b) a##b
#define SR_JOIN(a, b) SR_JOIN2(a, b)
#define SR_API(name) SR_JOIN(SR_NAME, name)
#define SR_OWN(name) SR_JOIN(SR_PREFIX, name)
#define SR_HIDDEN __attribute__((visibility("hidden")))

enum {
  SR_VECTOR = 128,
  SR_TILES = 4, /* vectors of 32 pixels that line buffers grow by */
  SR_LANES = 32,
  SR_MAX_SIDE = 1 << 20
};

/* What the network calls. It says before each row of a stage which one it is: a program that counts defines its own. */
int SR_OWN(sr_hexagon_mark)(int stage) SR_HIDDEN;
void SR_OWN(TVMFFIErrorSetRaisedFromCStrParts)(const char *, const char **, int32_t) SR_HIDDEN;
void SR_OWN(TVMFFIErrorSetRaisedFromCStr)(const char *, const char *) SR_HIDDEN;
int SR_OWN(__tvm_ffi_sr_network)(void *, const sr_any *, int32_t, sr_any *) SR_HIDDEN;
extern const uint8_t SR_OWN(weights)[] SR_HIDDEN, SR_OWN(biases)[] SR_HIDDEN;

__attribute__((weak)) int SR_OWN(sr_hexagon_mark)(int stage) {
  (void)stage;
  return 0;
}

/* The network says what it does not like of its arguments; its status, which is not 0, is enough for us. */
void SR_OWN(TVMFFIErrorSetRaisedFromCStrParts)(const char *kind, const char **parts, int32_t count) {
  (void)kind, (void)parts, (void)count;
}
void SR_OWN(TVMFFIErrorSetRaisedFromCStr)(const char *kind, const char *message) { (void)kind, (void)message; }

static uint64_t sr_vectors(uint64_t bytes) { return (bytes + SR_VECTOR - 1) / SR_VECTOR * SR_VECTOR; }

/* What the line buffers take for a width, as the network lays them out. A vector more: it may be read, not written. */
static uint64_t sr_lines_bytes(int32_t width) {
  uint64_t turns = ((uint64_t)width + SR_LANES * SR_TILES - 1) / (SR_LANES * SR_TILES), tiles = turns * SR_TILES;
  uint64_t vectors = SR_MEMORY_ROWS * (tiles + 2) + SR_MEMORY_TABLES + (tiles + SR_LANES - 1) / SR_LANES +
                     SR_MEMORY_LINES * turns + SR_MEMORY_SLACK;
  return (vectors + 1) * SR_VECTOR;
}

static uint64_t sr_picture_bytes(int32_t height, int32_t width) {
  return (uint64_t)height * (uint64_t)width * SR_CHANNELS;
}

static uint64_t sr_result_bytes(int32_t height, int32_t width) {
  return sr_picture_bytes(height, width) * SR_SCALE * SR_SCALE;
}

static uint64_t sr_pixels_bytes(int32_t height, int32_t width) {
  return sr_lines_bytes(width) + sr_vectors(sr_picture_bytes(height, width)) + sr_vectors(sr_result_bytes(height, width));
}

/* The network counts bytes in 32 bits. */
static int sr_check_size(int32_t height, int32_t width) {
  if (height < 1 || width < 1 || height > SR_MAX_SIDE || width > SR_MAX_SIDE) return SR_ERROR_SIZE;
  return sr_result_bytes(height, width) > INT32_MAX || sr_lines_bytes(width) > INT32_MAX ? SR_ERROR_SIZE : SR_OK;
}

static int sr_overlap(const void *a, uint64_t a_bytes, const void *b, uint64_t b_bytes) {
  uintptr_t p = (uintptr_t)a, q = (uintptr_t)b;
  return p < q ? q - p < a_bytes : p - q < b_bytes;
}

/* Whether the memory that is named ends within the address space, the workspace is one, and they lie apart: a code. */
static int sr_check_memory(const void *in, uint64_t in_bytes, const void *out, uint64_t out_bytes, const void *workspace,
                           size_t bytes, uint64_t needed) {
  if (in_bytes > UINTPTR_MAX - (uintptr_t)in || out_bytes > UINTPTR_MAX - (uintptr_t)out) return SR_ERROR_SIZE;
  if ((uintptr_t)workspace % SR_VECTOR) return SR_ERROR_WORKSPACE_ALIGNMENT;
  if (bytes < needed) return SR_ERROR_WORKSPACE_SIZE;
  if (needed > UINTPTR_MAX - (uintptr_t)workspace) return SR_ERROR_SIZE;
  int shared = sr_overlap(in, in_bytes, out, out_bytes) || sr_overlap(workspace, needed, out, out_bytes) ||
               sr_overlap(workspace, needed, in, in_bytes);
  return shared ? SR_ERROR_OVERLAP : SR_OK;
}

/* The tensors of a call: flat, of so many elements. */
typedef struct {
  sr_dltensor tensors[5];
  int64_t sizes[5];
  sr_any arguments[9];
} sr_call_of_network;

static void sr_give(sr_call_of_network *call, int i, const void *data, uint64_t bytes, sr_dtype dtype) {
  /* The network does not write to what it only reads: of a const pointer it gets its own. */
  union {
    const void *given;
    void *taken;
  } pointer = {data};
  call->sizes[i] = (int64_t)(bytes / (dtype.bits / 8));
  sr_dltensor tensor = {pointer.taken, {1, 0}, 1, dtype, &call->sizes[i], NULL, 0};
  call->tensors[i] = tensor;
  call->arguments[i].type = SR_ANY_TENSOR;
  call->arguments[i].padding = 0;
  call->arguments[i].value.integer = 0;
  call->arguments[i].value.pointer = &call->tensors[i];
}

/* Makes the rows ``first`` to ``end`` of the picture, that is their multiples of the result. */
static int sr_run_rows(const uint8_t *in, uint8_t *out, int32_t height, int32_t width, int32_t first, int32_t end,
                       void *lines) {
  static const sr_dtype bytes = {1, 8, 1}, words = {0, 32, 1}, pairs = {0, 64, 1};
  const int32_t numbers[] = {height, width, first, end};
  sr_call_of_network call;
  sr_any result = {0, 0, {0}};
  sr_give(&call, 0, in, sr_picture_bytes(height, width), bytes);
  sr_give(&call, 1, SR_OWN(weights), SR_WEIGHTS_BYTES, pairs);
  sr_give(&call, 2, SR_OWN(biases), SR_BIASES_BYTES, words);
  sr_give(&call, 3, out, sr_result_bytes(height, width), bytes);
  sr_give(&call, 4, lines, sr_lines_bytes(width) - SR_VECTOR, words);
  for (int i = 0; i < 4; i++) {
    call.arguments[5 + i].type = SR_ANY_INT;
    call.arguments[5 + i].padding = 0;
    call.arguments[5 + i].value.integer = numbers[i];
  }
  return SR_OWN(__tvm_ffi_sr_network)(NULL, call.arguments, 9, &result) ? SR_ERROR_INTERNAL : SR_OK;
}

/* Networks of one channel take luma, 16 to 235; grey is of the full range. Both divide to nearest, and never meet half. */
static uint8_t sr_to_network(uint8_t byte) {
  return SR_CHANNELS == 1 ? (uint8_t)((byte * 219u + 127u) / 255u + 16u) : byte;
}

static uint8_t sr_from_network(uint8_t byte) {
  if (SR_CHANNELS != 1) return byte;
  if (byte <= 16) return 0;
  return byte >= 235 ? 255 : (uint8_t)(((byte - 16u) * 255u + 109u) / 219u);
}

static void sr_to_planes(const sr_tile *tile, uint8_t *planes) {
  size_t width = (size_t)tile->width, pixel = (size_t)tile->format->bytes;
  for (size_t c = 0; c < SR_CHANNELS; c++)
    for (size_t y = 0; y < (size_t)tile->height; y++, planes += width) {
      const uint8_t *from = tile->source + y * tile->source_stride + tile->format->colour[c];
      for (size_t x = 0; x < width; x++) planes[x] = sr_to_network(from[x * pixel]);
    }
}

static void sr_from_planes(const sr_tile *tile, const uint8_t *planes) {
  size_t width = (size_t)tile->width * SR_SCALE, pixel = (size_t)tile->format->bytes;
  for (size_t c = 0; c < SR_CHANNELS; c++)
    for (size_t y = 0; y < (size_t)tile->height * SR_SCALE; y++, planes += width) {
      uint8_t *to = tile->sink + y * tile->sink_stride + tile->format->colour[c];
      for (size_t x = 0; x < width; x++) to[x * pixel] = sr_from_network(planes[x]);
    }
}

/* Alpha of the whole picture, as in the packages for CPUs. */
static void sr_enlarge_alpha(sr_tile *tile) {
  sr_bicubic bicubic;
  sr_make_bicubic(&bicubic, SR_SCALE);
  tile->bicubic = &bicubic;
  int32_t width = tile->width * SR_SCALE, pixel = tile->format->bytes, opaque = 0;
  for (int32_t row = 0; row < tile->height; row++) {
    opaque = sr_opaque(tile, row);
    for (int32_t y = row * SR_SCALE; y < (row + 1) * SR_SCALE; y++) {
      uint8_t *alpha = tile->sink + (size_t)y * tile->sink_stride + tile->format->alpha;
      if (opaque)
        for (int32_t x = 0; x < width; x++) alpha[x * pixel] = 255;
      else
        sr_alpha_row(tile, y, 0, width, alpha);
    }
  }
}

/* The functions of the header */

int32_t SR_API(_version)(void) { return SR_VERSION; }

const char *SR_API(_text)(int status) {
  static const char *const texts[] = {SR_TEXTS};
  return status >= 0 && status < (int)(sizeof texts / sizeof *texts) ? texts[status] : "no such code";
}

int SR_API(_get_properties)(SR_API(_properties) *properties) {
  if (!properties) return SR_ERROR_NULL;
  /* One by one: a structure at once would be copied by a function of the compiler's. */
  properties->version = SR_VERSION;
  properties->scale = SR_SCALE;
  properties->halo = SR_HALO;
  properties->channels = SR_CHANNELS;
  properties->alignment = SR_VECTOR;
  properties->weight_bytes = SR_WEIGHTS_BYTES + SR_BIASES_BYTES;
  properties->model = SR_MODEL;
  properties->target = SR_TARGET;
  return SR_OK;
}

int SR_API(_workspace_bytes)(int32_t height, int32_t width, int32_t use, size_t *bytes) {
  if (!bytes) return SR_ERROR_NULL;
  *bytes = 0;
  if (sr_check_size(height, width)) return SR_ERROR_SIZE;
  if (use != SR_PLANES && use != SR_PIXELS) return SR_ERROR_USE;
  uint64_t needed = use == SR_PLANES ? sr_lines_bytes(width) : sr_pixels_bytes(height, width);
  if (needed > (uint64_t)PTRDIFF_MAX) return SR_ERROR_SIZE;
  *bytes = (size_t)needed;
  return SR_OK;
}

int SR_API(_run_planes)(const uint8_t *input, uint8_t *output, int32_t height, int32_t width, int32_t first, int32_t end,
                        void *workspace, size_t bytes) {
  if (!input || !output || !workspace) return SR_ERROR_NULL;
  if (sr_check_size(height, width)) return SR_ERROR_SIZE;
  if (first < 0 || end > height || first >= end) return SR_ERROR_ROWS;
  int status = sr_check_memory(input, sr_picture_bytes(height, width), output, sr_result_bytes(height, width), workspace,
                               bytes, sr_lines_bytes(width));
  return status ? status : sr_run_rows(input, output, height, width, first, end, workspace);
}

int SR_API(_run_u8)(const uint8_t *input, size_t input_stride, uint8_t *output, size_t output_stride, int32_t format,
                    int32_t height, int32_t width, void *workspace, size_t bytes) {
  if (!input || !output || !workspace) return SR_ERROR_NULL;
  if (sr_check_size(height, width)) return SR_ERROR_SIZE;
  if (format < SR_RGB || format > SR_GREY || sr_formats[format].colours != SR_CHANNELS) return SR_ERROR_FORMAT;
  sr_tile tile = {0};
  tile.format = &sr_formats[format];
  size_t line = (size_t)width * (size_t)tile.format->bytes;
  if (input_stride < line || output_stride < line * SR_SCALE) return SR_ERROR_STRIDE;
  if (input_stride > PTRDIFF_MAX || output_stride > PTRDIFF_MAX) return SR_ERROR_SIZE;
  uint64_t in_bytes = (uint64_t)input_stride * ((uint64_t)height - 1) + line;
  uint64_t out_bytes = (uint64_t)output_stride * ((uint64_t)height * SR_SCALE - 1) + line * SR_SCALE;
  int status = sr_check_memory(input, in_bytes, output, out_bytes, workspace, bytes, sr_pixels_bytes(height, width));
  if (status) return status;
  uint8_t *lines = workspace, *picture = lines + sr_lines_bytes(width);
  uint8_t *result = picture + sr_vectors(sr_picture_bytes(height, width));
  tile.height = height;
  tile.width = width;
  tile.scale = SR_SCALE;
  tile.keep.bottom = height;
  tile.keep.right = width;
  tile.source = input;
  tile.source_stride = input_stride;
  tile.sink = output;
  tile.sink_stride = output_stride;
  sr_to_planes(&tile, picture);
  status = sr_run_rows(picture, result, height, width, 0, height, lines);
  if (status) return status;
  sr_from_planes(&tile, result);
  if (tile.format->alpha >= 0) sr_enlarge_alpha(&tile);
  return SR_OK;
}

#endif
