/* Calls a packaged network in the simulator, as tests say: NAME, NAMES and HEADER are its names.
 *
 *     hexagon planes IN OUT HEIGHT WIDTH BANDS         bands by threads, each with a workspace of its own
 *     hexagon u8 IN OUT HEIGHT WIDTH FORMAT IN_STRIDE OUT_STRIDE
 *     hexagon refuse                                   a line "what code" of each bad call; 1 if one wrote something
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include HEADER

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define N(name) JOIN(NAME, name)
#define C(name) JOIN(NAMES, name)

enum { GUARD = 0x5a, AROUND = 256, MOST = 16 };

static void stop(const char *what) {
  fprintf(stderr, "hexagon: %s\n", what);
  exit(3);
}

/* Memory with a guard on both sides; `skew` is its distance from a multiple of 128. */
static uint8_t *memory(size_t bytes, size_t skew) {
  uint8_t *made = aligned_alloc(128, (bytes + skew + 2 * AROUND + 127) / 128 * 128);
  if (!made) stop("no memory");
  memset(made, GUARD, bytes + skew + 2 * AROUND);
  return made + AROUND + skew;
}

/* Memory that ends where the process's does: who reads beyond it crashes. */
static uint8_t *at_the_end(size_t bytes) {
  const size_t page = 65536, whole = (bytes + page - 1) / page * page;
  uint8_t *made = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (made == MAP_FAILED || mprotect(made + whole, page, PROT_NONE)) stop("no memory");
  return made + whole - bytes;
}

static void untouched(const uint8_t *place, size_t bytes) {
  for (size_t i = 1; i <= AROUND; i++)
    if (place[bytes + i - 1] != GUARD || *(place - i) != GUARD) stop("it writes beyond its memory");
}

static void read_all(const char *path, uint8_t *to, size_t bytes) {
  FILE *file = fopen(path, "rb");
  if (!file || fread(to, 1, bytes, file) != bytes) stop("cannot read");
  fclose(file);
}

static void write_all(const char *path, const uint8_t *from, size_t bytes) {
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(from, 1, bytes, file) != bytes || fclose(file)) stop("cannot write");
}

typedef struct {
  const uint8_t *in;
  uint8_t *out, *workspace;
  size_t bytes;
  int32_t height, width, first, end;
  int status;
} band;

static void *make(void *of) {
  band *b = of;
  b->status = N(_run_planes)(b->in, b->out, b->height, b->width, b->first, b->end, b->workspace, b->bytes);
  return NULL;
}

static int planes(char **argv) {
  int32_t height = atoi(argv[4]), width = atoi(argv[5]), bands = atoi(argv[6]);
  size_t scale = C(_SCALE), size = (size_t)height * (size_t)width * C(_CHANNELS), made = size * scale * scale, bytes = 0;
  uint8_t *in = at_the_end(size), *out = memory(made, 3); /* planes may begin anywhere */
  static band all[MOST];
  pthread_t threads[MOST];
  if (bands > MOST || N(_workspace_bytes)(height, width, C(_PLANES), &bytes)) stop("no workspace");
  read_all(argv[2], in, size);
  for (int32_t i = 0; i < bands; i++) {
    band b = {in, out, memory(bytes, 0), bytes, height, width, height * i / bands, height * (i + 1) / bands, -1};
    all[i] = b;
    if (pthread_create(&threads[i], NULL, make, &all[i])) stop("no thread");
  }
  for (int32_t i = 0; i < bands; i++) {
    pthread_join(threads[i], NULL);
    if (all[i].status) stop(N(_text)(all[i].status));
    untouched(all[i].workspace, bytes);
  }
  untouched(out, made);
  write_all(argv[3], out, made);
  return 0;
}

static int u8(char **argv) {
  int32_t height = atoi(argv[4]), width = atoi(argv[5]), format = atoi(argv[6]);
  size_t from = (size_t)atoi(argv[7]), to = (size_t)atoi(argv[8]), bytes = 0;
  size_t size = from * (size_t)height, made = to * (size_t)height * C(_SCALE);
  uint8_t *in = at_the_end(size), *out = memory(made, 3);
  if (N(_workspace_bytes)(height, width, C(_PIXELS), &bytes)) stop("no workspace");
  uint8_t *workspace = memory(bytes, 0);
  read_all(argv[2], in, size);
  int status = N(_run_u8)(in, from, out, to, format, height, width, workspace, bytes);
  if (status) stop(N(_text)(status));
  untouched(workspace, bytes);
  untouched(out, made);
  write_all(argv[3], out, made);
  return 0;
}

static int refuse(void) {
  enum { H = 4, W = 6 };
  const size_t scale = C(_SCALE), pixel = C(_CHANNELS), size = H * W * pixel, made = size * scale * scale;
  const size_t line = W * pixel;
  const int32_t format = pixel == 3 ? C(_RGB) : C(_GREY);
  size_t lines = 0, all = 0, any = 1;
  if (N(_workspace_bytes)(H, W, C(_PLANES), &lines) || N(_workspace_bytes)(H, W, C(_PIXELS), &all)) stop("no workspace");
  uint8_t *in = memory(size, 0), *out = memory(made, 0), *ws = memory(all, 0);
#define SAY(what, call) printf("%s %d\n", what, call)
  SAY("size-null", N(_workspace_bytes)(H, W, C(_PLANES), NULL));
  SAY("size-height", N(_workspace_bytes)(0, W, C(_PLANES), &any));
  SAY("size-width", N(_workspace_bytes)(H, -1, C(_PIXELS), &any));
  SAY("size-large", N(_workspace_bytes)(1 << 20, 1 << 20, C(_PIXELS), &any));
  SAY("size-largest", N(_workspace_bytes)(INT32_MAX, INT32_MAX, C(_PLANES), &any));
  SAY("size-use", N(_workspace_bytes)(H, W, 0, &any));
  SAY("size-use-3", N(_workspace_bytes)(H, W, 3, &any));
  SAY("properties-null", N(_get_properties)(NULL));
  SAY("planes-in", N(_run_planes)(NULL, out, H, W, 0, H, ws, lines));
  SAY("planes-out", N(_run_planes)(in, NULL, H, W, 0, H, ws, lines));
  SAY("planes-workspace", N(_run_planes)(in, out, H, W, 0, H, NULL, lines));
  SAY("planes-height", N(_run_planes)(in, out, 0, W, 0, H, ws, lines));
  SAY("planes-width", N(_run_planes)(in, out, H, 0, 0, H, ws, lines));
  SAY("planes-large", N(_run_planes)(in, out, 1 << 20, 1 << 12, 0, H, ws, lines));
  SAY("planes-first", N(_run_planes)(in, out, H, W, -1, H, ws, lines));
  SAY("planes-end", N(_run_planes)(in, out, H, W, 0, H + 1, ws, lines));
  SAY("planes-order", N(_run_planes)(in, out, H, W, 3, 2, ws, lines));
  SAY("planes-no-rows", N(_run_planes)(in, out, H, W, 2, 2, ws, lines));
  SAY("planes-small", N(_run_planes)(in, out, H, W, 0, H, ws, lines - 1));
  SAY("planes-skew", N(_run_planes)(in, out, H, W, 0, H, ws + 64, all - 64));
  SAY("planes-overlap", N(_run_planes)(in, in, H, W, 0, H, ws, lines));
  SAY("planes-overlap-workspace", N(_run_planes)(in, ws + 128, H, W, 0, H, ws, lines));
  SAY("u8-in", N(_run_u8)(NULL, line, out, line * scale, format, H, W, ws, all));
  SAY("u8-out", N(_run_u8)(in, line, NULL, line * scale, format, H, W, ws, all));
  SAY("u8-workspace", N(_run_u8)(in, line, out, line * scale, format, H, W, NULL, all));
  SAY("u8-height", N(_run_u8)(in, line, out, line * scale, format, -5, W, ws, all));
  SAY("u8-width", N(_run_u8)(in, line, out, line * scale, format, H, 0, ws, all));
  SAY("u8-format", N(_run_u8)(in, line, out, line * scale, 0, H, W, ws, all));
  SAY("u8-format-6", N(_run_u8)(in, line, out, line * scale, 6, H, W, ws, all));
  SAY("u8-format-other", N(_run_u8)(in, line, out, line * scale, pixel == 3 ? C(_GREY) : C(_RGB), H, W, ws, all));
  SAY("u8-stride", N(_run_u8)(in, line - 1, out, line * scale, format, H, W, ws, all));
  SAY("u8-stride-out", N(_run_u8)(in, line, out, line * scale - 1, format, H, W, ws, all));
  SAY("u8-stride-large", N(_run_u8)(in, SIZE_MAX / 2, out, line * scale, format, H, W, ws, all));
  SAY("u8-small", N(_run_u8)(in, line, out, line * scale, format, H, W, ws, all - 1));
  SAY("u8-skew", N(_run_u8)(in, line, out, line * scale, format, H, W, ws + 1, all));
  SAY("u8-overlap", N(_run_u8)(in, line, in + 1, line * scale, format, H, W, ws, all));
  for (size_t i = 0; i < all; i++)
    if (ws[i] != GUARD) stop("a refused call wrote into the workspace");
  for (size_t i = 0; i < made; i++)
    if (out[i] != GUARD) stop("a refused call wrote a result");
  for (size_t i = 0; i < size; i++)
    if (in[i] != GUARD) stop("a refused call wrote into the picture");
  N(_properties) p;
  SAY("properties", N(_get_properties)(&p));
  printf("%d %d %d %d %d %lu %s %s %d %s\n", p.version, p.scale, p.halo, p.channels, p.alignment,
         (unsigned long)p.weight_bytes, p.model, p.target, N(_version)(), N(_text)(C(_STATUSES)));
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 7 && !strcmp(argv[1], "planes")) return planes(argv);
  if (argc == 9 && !strcmp(argv[1], "u8")) return u8(argv);
  if (argc == 2 && !strcmp(argv[1], "refuse")) return refuse();
  stop("usage");
}
