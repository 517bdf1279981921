/* The functions of a network's header: checks, tiles, and the calls of its program. Included once, by the generated
 * file, which defines SR_NAME, SR_PREFIX, the codes and `program`. */
#ifndef SR_NETWORK_H
#define SR_NETWORK_H

#include "sr_backend.h"
#include "sr_pixels.h"
#include "sr_plan.h"
#include "sr_processor.h"
#ifdef SR_ON_DEVICE
#include "sr_gpu_run.h"
#else
#include "sr_gpu_none.h"
#endif

#define SR_API(name) SR_JOIN(SR_NAME, name)

enum {
  SR_MAX_SIDE = 1 << 20,
  SR_MAX_BUFFERS = 64,
  SR_GOOD_BYTES = 16 << 20 /* of tiles: more is hardly faster, and they begin to leave the caches */
};

struct SR_API(_network) {
  sr_pool pool;
  sr_gpu gpu;
  sr_bicubic bicubic;
  float levels[256];
};
typedef struct SR_API(_network) sr_network;

/* A run that is under way, and the memory that is its own for that time. */
typedef struct sr_active {
  struct sr_active *next;
  const uint8_t *begin, *end;
} sr_active;

static pthread_mutex_t sr_active_lock = PTHREAD_MUTEX_INITIALIZER;
static sr_active *sr_active_runs;

/* Calls the kernels for a picture, or a tile, in planes at ``in`` and ``out``; ``memory`` is for what lies between. */
static int sr_call_kernels(sr_run *run, int32_t height, int32_t width, const float *in, float *out, uint8_t *memory) {
  const sr_program *p = &sr_the_program;
  uint8_t *buffers[SR_MAX_BUFFERS + 1] = {memory};
  for (uint32_t i = 0; i < p->buffer_count; i++) buffers[i + 1] = buffers[i] + sr_bytes(&p->buffers[i], height, width);
  sr_arena arena = {buffers[p->buffer_count], sr_bytes(&p->once, height, width), 0};
  run->task_bytes = sr_bytes(&p->per_task, height, width);
  run->tasks = arena.base + arena.size;
  sr_context context = {run, &arena, 0};
  sr_context *outer = sr_current();
  if (pthread_setspecific(sr_key, &context)) return SR_ERROR_INTERNAL;
  int failed = 0;
  for (uint32_t i = 0; i < p->call_count && !failed; i++) {
    const sr_call *call = &p->calls[i];
    sr_dltensor tensors[SR_MAX_ARGUMENTS];
    int64_t shapes[SR_MAX_ARGUMENTS][SR_MAX_RANK];
    sr_any arguments[SR_MAX_ARGUMENTS], result = {0, 0, {0}};
    for (int32_t a = 0; a < call->count; a++) {
      const sr_value *value = &p->values[call->arguments[a]];
      for (int32_t d = 0; d < value->rank; d++) {
        int32_t name = value->shape[d].name;
        shapes[a][d] = value->shape[d].factor * (int64_t)(name == SR_HEIGHT ? height : name == SR_WIDTH ? width : 1);
      }
      /* Kernels do not write to what they only read: of a const pointer they get their own. */
      union {
        const void *given;
        void *taken;
      } data = {in};
      if (value->where == SR_OUTPUT) data.taken = out;
      if (value->where == SR_WEIGHTS) data.given = p->weights + value->place;
      if (value->where == SR_BUFFER) data.taken = buffers[value->place];
      sr_dltensor tensor = {data.taken, {1, 0}, value->rank, value->dtype, shapes[a], NULL, 0};
      tensors[a] = tensor;
      arguments[a].type = SR_ANY_TENSOR;
      arguments[a].padding = 0;
      arguments[a].value.pointer = &tensors[a];
    }
    failed = call->kernel(NULL, arguments, call->count, &result);
  }
  if (pthread_setspecific(sr_key, outer)) failed = 1;
  return failed ? SR_ERROR_INTERNAL : SR_OK;
}

/* One tile after another of the rows ``top`` to ``bottom``; ``tile`` has all but its place. */
static int sr_run_tiles(sr_run *run, const sr_plan *plan, sr_tile *tile, uint8_t *memory, int32_t top, int32_t bottom) {
  int32_t margin = sr_margin(), height = tile->height, width = tile->width;
  uint8_t *in = memory, *out = in + plan->in, *between = out + plan->out;
  union {
    uint8_t *bytes;
    float *floats;
  } planes_in = {in}, planes_out = {out};
  tile->in = planes_in.floats;
  tile->out = planes_out.floats;
  for (int32_t y = top; y < bottom; y += plan->rows) {
    for (int32_t x = 0; x < width; x += plan->columns) {
      sr_rect keep = {y, sr_least((int64_t)y + plan->rows, bottom), x, sr_least((int64_t)x + plan->columns, width)};
      sr_rect read = {sr_clamp(keep.top - margin, 0, height), sr_clamp(keep.bottom + margin, 0, height),
                      sr_clamp(keep.left - margin, 0, width), sr_clamp(keep.right + margin, 0, width)};
      tile->keep = keep;
      tile->read = read;
      /* Converting needs no memory, so its tasks may have any. */
      run->tasks = between;
      run->task_bytes = 0;
      if (sr_parallel(run, run->threads, sr_load_rows, tile)) return SR_ERROR_INTERNAL;
      int status = sr_call_kernels(run, read.bottom - read.top, read.right - read.left, tile->in, tile->out, between);
      if (status) return status;
      if (sr_parallel(run, run->threads, sr_store_rows, tile)) return SR_ERROR_INTERNAL;
      if (tile->not_finite) return SR_ERROR_NOT_FINITE;
    }
  }
  return SR_OK;
}

static int sr_check_size(int32_t height, int32_t width) {
  return height < 1 || width < 1 || height > SR_MAX_SIDE || width > SR_MAX_SIDE ? SR_ERROR_SIZE : SR_OK;
}

static int sr_overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
  uintptr_t p = (uintptr_t)a, q = (uintptr_t)b;
  return p < q ? q - p < a_bytes : p - q < b_bytes;
}

/* Whether input, output and workspace can be as large as that, and lie apart: a code. */
static int sr_check_memory(const void *in, size_t in_bytes, const void *out, size_t out_bytes, const void *workspace,
                           size_t bytes) {
  const size_t most = (size_t)PTRDIFF_MAX;
  if (in_bytes > most || out_bytes > most || bytes > most) return SR_ERROR_SIZE;
  int shared = sr_overlap(in, in_bytes, out, out_bytes) || sr_overlap(workspace, bytes, out, out_bytes) ||
               sr_overlap(workspace, bytes, in, in_bytes);
  return shared ? SR_ERROR_OVERLAP : SR_OK;
}

/* Takes a workspace for a run, if nobody else has it; ``active`` stays on the list until sr_end. */
static int sr_begin(sr_active *active, const void *workspace, size_t bytes) {
  if (!workspace) return SR_ERROR_NULL;
  if ((uintptr_t)workspace % SR_ALIGNMENT) return SR_ERROR_WORKSPACE_ALIGNMENT;
  if (bytes > (size_t)PTRDIFF_MAX || (uintptr_t)workspace > UINTPTR_MAX - bytes) return SR_ERROR_SIZE;
  active->begin = workspace;
  active->end = active->begin + bytes;
  int status = SR_OK;
  pthread_mutex_lock(&sr_active_lock);
  for (const sr_active *other = sr_active_runs; other; other = other->next)
    if ((uintptr_t)other->begin < (uintptr_t)active->end && (uintptr_t)active->begin < (uintptr_t)other->end)
      status = SR_ERROR_WORKSPACE_BUSY;
  if (!status) {
    active->next = sr_active_runs;
    sr_active_runs = active;
  }
  pthread_mutex_unlock(&sr_active_lock);
  return status;
}

static void sr_end(const sr_active *active) {
  pthread_mutex_lock(&sr_active_lock);
  sr_active **link = &sr_active_runs;
  while (*link != active) link = &(*link)->next;
  *link = active->next;
  pthread_mutex_unlock(&sr_active_lock);
}

static const sr_format *sr_format_of(int32_t format) {
  if (format < SR_RGB || format > SR_GREY) return NULL;
  return sr_formats[format].colours == sr_the_program.channels ? &sr_formats[format] : NULL;
}

/* The functions of the header */

int32_t SR_API(_version)(void) { return SR_VERSION; }

const char *SR_API(_text)(int status) {
  static const char *const texts[] = {SR_TEXTS};
  return status >= 0 && status < (int)(sizeof texts / sizeof *texts) ? texts[status] : "no such code";
}

int SR_API(_get_properties)(SR_API(_properties) *properties) {
  if (!properties) return SR_ERROR_NULL;
  SR_API(_properties) found = {SR_VERSION,  sr_the_program.scale, sr_the_program.halo, sr_the_program.channels,
                               SR_ALIGNMENT, SR_WEIGHT_BYTES,      SR_MODEL,            SR_TARGET};
  *properties = found;
  return SR_OK;
}

int SR_API(_workspace_bytes)(int32_t height, int32_t width, int32_t threads, int32_t use, size_t *bytes) {
  if (!bytes) return SR_ERROR_NULL;
  *bytes = 0;
  if (sr_check_size(height, width)) return SR_ERROR_SIZE;
  if (threads < 1 || threads > SR_MAX_THREADS) return SR_ERROR_THREADS;
  sr_picture picture = {height, width, threads, 0};
  size_t needed;
  switch (use) {
    case SR_WHOLE:
      needed = sr_kernel_bytes(height, width, threads);
      break;
    case SR_TILES:
    case SR_TILES_LEAST:
    case SR_ROWS:
    case SR_ROWS_LEAST:
      picture.pixel = use == SR_ROWS || use == SR_ROWS_LEAST ? 4 : 0;
      needed = sr_least_plan(&picture).total;
      if (use == SR_TILES || use == SR_ROWS) {
        size_t good = sr_add(SR_GOOD_BYTES, sr_times(sr_bytes(&sr_the_program.per_task, height, width), (size_t)threads));
        sr_plan plan = sr_best_plan(&picture, good > needed ? good : needed);
        if (plan.rows && plan.total > needed) needed = plan.total;
      }
      if (picture.pixel && sr_gpu_fits(height, width) && sr_gpu_plan(&picture).total > needed)
        needed = sr_gpu_plan(&picture).total;
      break;
    default:
      return SR_ERROR_USE;
  }
  /* Some bytes more than nothing, so that there is always something to allocate. */
  needed = needed ? needed : SR_ALIGNMENT;
  if (needed > (size_t)PTRDIFF_MAX) return SR_ERROR_SIZE;
  *bytes = needed;
  return SR_OK;
}

/* Makes all of a network but what runs on a device. */
static int sr_make_network(int32_t version, int32_t threads, sr_network **network) {
  if (!network) return SR_ERROR_NULL;
  *network = NULL;
  if (version != SR_VERSION) return SR_ERROR_VERSION;
  if (threads < 1 || threads > SR_MAX_THREADS) return SR_ERROR_THREADS;
  if (sr_lacks(sr_features)) return SR_ERROR_PROCESSOR;
  sr_network *made = calloc(1, sizeof *made);
  if (!made) return SR_ERROR_MEMORY;
  sr_make_bicubic(&made->bicubic, sr_the_program.scale);
  sr_make_levels(made->levels, sr_the_program.channels);
  if (sr_pool_start(&made->pool, threads)) {
    free(made);
    return SR_ERROR_MEMORY;
  }
  *network = made;
  return SR_OK;
}

#ifdef SR_ON_DEVICE
#include "sr_gpu_api.h"
#else
int SR_API(_create)(int32_t version, int32_t threads, sr_network **network) {
  return sr_make_network(version, threads, network);
}
#endif

void SR_API(_destroy)(sr_network *network) {
  if (!network) return;
  sr_gpu_stop(&network->gpu);
  sr_pool_stop(&network->pool);
  free(network);
}

int SR_API(_run_f32)(sr_network *network, const float *input, float *output, int32_t images, int32_t height,
                     int32_t width, void *workspace, size_t bytes) {
  if (!network || !input || !output || !workspace) return SR_ERROR_NULL;
  if (images < 1 || sr_check_size(height, width)) return SR_ERROR_SIZE;
  if ((uintptr_t)input % sizeof(float) || (uintptr_t)output % sizeof(float)) return SR_ERROR_ALIGNMENT;
  const sr_program *p = &sr_the_program;
  size_t pixels = sr_times(sr_times((size_t)height, (size_t)width), (size_t)p->channels);
  size_t in_bytes = sr_times(sr_times(pixels, (size_t)images), sizeof(float));
  size_t out_bytes = sr_times(in_bytes, (size_t)p->scale * (size_t)p->scale);
  int status = sr_check_memory(input, in_bytes, output, out_bytes, workspace, bytes);
  if (status) return status;
  sr_picture picture = {height, width, network->pool.threads, 0};
  sr_run run = {&network->pool, network->pool.threads, NULL, 0};
  sr_plan plan = {0, 0, 0, 0, 0, 0, 0};
  int whole = sr_kernel_bytes(height, width, run.threads) <= bytes;
  if (!whole) {
    plan = sr_best_plan(&picture, bytes);
    if (!plan.rows) return SR_ERROR_WORKSPACE_SIZE;
  }
  sr_active active;
  status = sr_begin(&active, workspace, bytes);
  if (status) return status;
  for (int32_t i = 0; i < images && !status; i++) {
    const float *in = input + (size_t)i * pixels;
    float *out = output + (size_t)i * pixels * (size_t)p->scale * (size_t)p->scale;
    sr_tile tile = {0};
    tile.height = height;
    tile.width = width;
    tile.scale = p->scale;
    tile.channels = p->channels;
    tile.format = &sr_formats[0];
    tile.source_planes = in;
    tile.sink_planes = out;
    run.tasks = workspace;
    if (sr_gpu_takes(&network->gpu, height, width))
      status = sr_gpu_run(&network->gpu, &run, &tile);
    else if (whole)
      status = sr_call_kernels(&run, height, width, in, out, workspace);
    else
      status = sr_run_tiles(&run, &plan, &tile, workspace, 0, height);
  }
  sr_end(&active);
  return status;
}

/* What all pictures of bytes have in common. */
static sr_tile sr_byte_tile(const sr_network *network, const sr_format *format, int32_t height, int32_t width) {
  sr_tile tile = {0};
  tile.height = height;
  tile.width = width;
  tile.scale = sr_the_program.scale;
  tile.channels = sr_the_program.channels;
  tile.format = format;
  tile.levels = network->levels;
  tile.bicubic = &network->bicubic;
  return tile;
}

int SR_API(_run_u8)(sr_network *network, const uint8_t *input, size_t input_stride, uint8_t *output,
                    size_t output_stride, int32_t format, int32_t height, int32_t width, void *workspace,
                    size_t bytes) {
  if (!network || !input || !output || !workspace) return SR_ERROR_NULL;
  if (sr_check_size(height, width)) return SR_ERROR_SIZE;
  const sr_format *layout = sr_format_of(format);
  if (!layout) return SR_ERROR_FORMAT;
  size_t scale = (size_t)sr_the_program.scale, line = (size_t)width * (size_t)layout->bytes;
  if (input_stride < line || output_stride < line * scale) return SR_ERROR_STRIDE;
  size_t in_bytes = sr_add(sr_times(input_stride, (size_t)height - 1), line);
  size_t out_bytes = sr_add(sr_times(output_stride, (size_t)height * scale - 1), line * scale);
  int status = sr_check_memory(input, in_bytes, output, out_bytes, workspace, bytes);
  if (status) return status;
  sr_picture picture = {height, width, network->pool.threads, 0};
  sr_plan plan = sr_best_plan(&picture, bytes);
  if (!plan.rows) return SR_ERROR_WORKSPACE_SIZE;
  sr_active active;
  status = sr_begin(&active, workspace, bytes);
  if (status) return status;
  sr_run run = {&network->pool, network->pool.threads, workspace, 0};
  sr_tile tile = sr_byte_tile(network, layout, height, width);
  tile.source = input;
  tile.source_stride = input_stride;
  tile.sink = output;
  tile.sink_stride = output_stride;
  if (sr_gpu_takes(&network->gpu, height, width))
    status = sr_gpu_run(&network->gpu, &run, &tile);
  else
    status = sr_run_tiles(&run, &plan, &tile, workspace, 0, height);
  sr_end(&active);
  return status;
}

/* The rows of a band that are kept and read, on the device (``gpu``) or the CPU; 0 after the last. */
static int sr_band(const sr_plan *plan, const sr_gpu *gpu, int32_t height, int32_t number, sr_rect *keep, sr_rect *read) {
  if (gpu) return sr_gpu_band(height, number, keep, read);
  int64_t top = (int64_t)number * plan->rows;
  if (top >= height) return 0;
  keep->top = (int32_t)top;
  keep->bottom = sr_least(top + plan->rows, height);
  read->top = sr_clamp(keep->top - sr_margin(), 0, height);
  read->bottom = sr_clamp(keep->bottom + sr_margin(), 0, height);
  return 1;
}

/* Bands of rows: those of the last band that the next one looks at stay, so each row is asked for once. */
static int sr_run_bands(sr_run *run, const sr_plan *plan, sr_gpu *gpu, sr_tile *tile, uint8_t *memory,
                        SR_API(_read_rows) read, SR_API(_write_rows) write, void *user) {
  int32_t scale = tile->scale, have = 0;
  size_t line = (size_t)tile->width * (size_t)tile->format->bytes;
  uint8_t *rows_in = memory, *rows_out = rows_in + plan->rows_in, *rest = rows_out + plan->rows_out;
  sr_rect keep, look;
  tile->source = rows_in;
  tile->source_stride = line;
  tile->sink = rows_out;
  tile->sink_stride = line * (size_t)scale;
  for (int32_t number = 0; sr_band(plan, gpu, tile->height, number, &keep, &look); number++) {
    if (have > look.top && look.top > tile->source_top)
      memmove(rows_in, rows_in + (size_t)(look.top - tile->source_top) * line, (size_t)(have - look.top) * line);
    tile->source_top = look.top;
    if (look.bottom > have &&
        read(user, have, look.bottom - have, rows_in + (size_t)(have - look.top) * line, line))
      return SR_ERROR_CALLER;
    have = look.bottom;
    tile->sink_top = keep.top * scale;
    int status = gpu ? sr_gpu_run_band(gpu, run, tile, number) : sr_run_tiles(run, plan, tile, rest, keep.top, keep.bottom);
    if (status) return status;
    if (write(user, keep.top * scale, (keep.bottom - keep.top) * scale, rows_out, tile->sink_stride))
      return SR_ERROR_CALLER;
  }
  return SR_OK;
}

int SR_API(_run_rows)(sr_network *network, SR_API(_read_rows) read, SR_API(_write_rows) write, void *user,
                      int32_t format, int32_t height, int32_t width, void *workspace, size_t bytes) {
  if (!network || !read || !write || !workspace) return SR_ERROR_NULL;
  if (sr_check_size(height, width)) return SR_ERROR_SIZE;
  const sr_format *layout = sr_format_of(format);
  if (!layout) return SR_ERROR_FORMAT;
  sr_picture picture = {height, width, network->pool.threads, layout->bytes};
  sr_plan plan = sr_best_plan(&picture, bytes);
  if (!plan.rows || (sr_gpu_fits(height, width) && bytes < sr_gpu_plan(&picture).total)) return SR_ERROR_WORKSPACE_SIZE;
  sr_gpu *gpu = sr_gpu_takes(&network->gpu, height, width) ? &network->gpu : NULL;
  if (gpu) plan = sr_gpu_plan(&picture);
  sr_active active;
  int status = sr_begin(&active, workspace, bytes);
  if (status) return status;
  sr_run run = {&network->pool, network->pool.threads, workspace, 0};
  sr_tile tile = sr_byte_tile(network, layout, height, width);
  status = sr_run_bands(&run, &plan, gpu, &tile, workspace, read, write, user);
  sr_end(&active);
  return status;
}

#endif
