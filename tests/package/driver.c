/* Runs a packaged network in every way there is, from several threads; ends with 0 if all results agree.
 * NAME, NAMES: the network's name in small and in capital letters; HEADER: its header. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include HEADER

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define F(name) JOIN(NAME, JOIN(_, name))
#define C(name) JOIN(NAMES, JOIN(_, name))
#define CHECK(what)                                         \
  do {                                                      \
    if (!(what)) {                                          \
      fprintf(stderr, "line %d: %s\n", __LINE__, #what);    \
      exit(1);                                              \
    }                                                       \
  } while (0)

enum { S = C(SCALE), CHANNELS = C(CHANNELS), RUNS = 3, CALLERS = 3 };

static void *workspace(int32_t height, int32_t width, int32_t threads, int32_t use, size_t *bytes) {
  CHECK(F(workspace_bytes)(height, width, threads, use, bytes) == C(OK));
  void *made = aligned_alloc(C(ALIGNMENT), (*bytes + C(ALIGNMENT) - 1) / C(ALIGNMENT) * C(ALIGNMENT));
  CHECK(made);
  return made;
}

struct rows {
  const uint8_t *in;
  uint8_t *out;
  size_t line;
};

static int give(void *user, int32_t first, int32_t count, uint8_t *rows, size_t stride) {
  const struct rows *r = user;
  for (int32_t y = 0; y < count; y++) memcpy(rows + (size_t)y * stride, r->in + (size_t)(first + y) * r->line, r->line);
  return 0;
}

static int take(void *user, int32_t first, int32_t count, const uint8_t *rows, size_t stride) {
  const struct rows *r = user;
  size_t line = r->line * S;
  for (int32_t y = 0; y < count; y++) memcpy(r->out + (size_t)(first + y) * line, rows + (size_t)y * stride, line);
  return 0;
}

/* All ways for one size, with exactly as much memory as they may use. */
static void all_ways(F(network) * network, int32_t threads, int32_t height, int32_t width) {
  const int32_t format = CHANNELS == 3 ? C(RGBA) : C(GREY);
  const size_t depth = CHANNELS == 3 ? 4 : 1, pixels = (size_t)height * (size_t)width, more = (size_t)S * S;
  float *x = malloc(pixels * CHANNELS * sizeof *x);
  float *y[3] = {NULL, NULL, NULL};
  uint8_t *in = malloc(pixels * depth), *out[4] = {NULL, NULL, NULL, NULL};
  CHECK(x && in);
  for (size_t i = 0; i < pixels * CHANNELS; i++) x[i] = (float)(i * 7919 % 1009) / 1009.0F;
  for (size_t i = 0; i < pixels * depth; i++) in[i] = (uint8_t)(i * 7919 % 251);
  for (int i = 0; i < 3; i++) {
    static const int uses[] = {C(WHOLE), C(TILES), C(TILES_LEAST)};
    size_t bytes;
    void *memory = workspace(height, width, threads, uses[i], &bytes);
    CHECK(y[i] = malloc(pixels * CHANNELS * more * sizeof **y));
    CHECK(F(run_f32)(network, x, y[i], 1, height, width, memory, bytes) == C(OK));
    CHECK(!memcmp(y[0], y[i], pixels * CHANNELS * more * sizeof **y));
    free(memory);
  }
  for (int i = 0; i < 4; i++) {
    static const int uses[] = {C(TILES), C(TILES_LEAST), C(ROWS), C(ROWS_LEAST)};
    size_t bytes, line = (size_t)width * depth;
    void *memory = workspace(height, width, threads, uses[i], &bytes);
    CHECK(out[i] = malloc(pixels * depth * more));
    struct rows rows = {in, out[i], line};
    if (i < 2)
      CHECK(F(run_u8)(network, in, line, out[i], line * S, format, height, width, memory, bytes) == C(OK));
    else
      CHECK(F(run_rows)(network, give, take, &rows, format, height, width, memory, bytes) == C(OK));
    CHECK(!memcmp(out[0], out[i], pixels * depth * more));
    free(memory);
  }
  CHECK(F(run_f32)(network, x, y[0], 1, height, width, NULL, 0) == C(ERROR_NULL));
  for (int i = 0; i < 3; i++) free(y[i]);
  for (int i = 0; i < 4; i++) free(out[i]);
  free(x);
  free(in);
}

struct caller {
  F(network) * network;
  int32_t threads, number;
};

static void *call(void *data) {
  const struct caller *caller = data;
  for (int32_t i = 0; i < RUNS; i++) {
    all_ways(caller->network, caller->threads, 1 + 13 * i + caller->number, 1 + 37 * i + caller->number);
    if (i == RUNS - 1) all_ways(caller->network, caller->threads, 40, 150);
  }
  return NULL;
}

int main(void) {
  for (int32_t threads = 1; threads <= 3; threads++) {
    struct caller callers[CALLERS];
    pthread_t running[CALLERS];
    F(network) * network;
    CHECK(F(create)(C(VERSION), threads, &network) == C(OK));
    for (int32_t i = 0; i < CALLERS; i++) {
      callers[i] = (struct caller){network, threads, i};
      CHECK(!pthread_create(&running[i], NULL, call, &callers[i]));
    }
    for (int32_t i = 0; i < CALLERS; i++) CHECK(!pthread_join(running[i], NULL));
    F(destroy)(network);
  }
  puts("fine");
  return 0;
}
