// Runs a compiled network on one picture and counts packets, instructions and HVX instructions of each of its stages.
// usage: program WEIGHTS BIASES PICTURE RESULT HEIGHT WIDTH RESULT_BYTES WORKSPACE_BYTES STAGES RUNS BANDS THREADS
// The rows are made in BANDS, each with a workspace of WORKSPACE_BYTES; with THREADS 1 in as many threads, and nothing
// is counted. A workspace is where line buffers live: sr_hexagon_vtcm says where that is.
// Prints a line "stage N packets P instructions I hvx V" for each stage (-1: all between them) of the last run, and one
// "total ...". The counters are those of qemu-hexagon; a DSP's own are elsewhere, and are milliseconds' better friends.
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dlpack/dlpack.h>
#include <tvm/ffi/c_api.h>

#include "sr_counts.h"

#define VECTOR 128
#define MOST_STAGES 1024
#define MOST_BANDS 64

int __tvm_ffi_sr_network(void *self, TVMFFIAny *arguments, int32_t count, TVMFFIAny *result);

static struct { uint64_t packets, instructions, hvx; } spent[MOST_STAGES + 1];
static int current = -1, counting = 1;
static Counts since;

// Tightly coupled memory for a band's line buffers, or NULL for plain memory. On a DSP a definition of it elsewhere asks
// the system (HAP_request_VTCM); this one, which a simulator has, knows of none.
__attribute__((weak)) void *sr_hexagon_vtcm(size_t bytes) {
  (void)bytes;
  return NULL;
}

// Called by the network before each row of a stage, and with -1 after it.
int sr_hexagon_mark(int stage) {
  if (!counting) return 0;
  Counts c = now();
  spent[current + 1].packets += c.packets - since.packets;  // 32-bit counters wrap: their differences do not
  spent[current + 1].instructions += c.instructions - since.instructions;
  spent[current + 1].hvx += c.hvx - since.hvx;
  current = stage;
  since = now();
  return 0;
}

static void die(const char *what, const char *which) {
  fprintf(stderr, "sr_run: %s %s\n", what, which);
  exit(3);
}

// A crash tells the stage in which it was, and is one all the same. snprintf is no function for handlers: there is
// nothing left to spoil.
static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
static void crashed(int number) {
  char line[64];
  int length = snprintf(line, sizeof line, "sr_run: in stage %d\n", current);
  fwrite(line, 1, (size_t)length, stderr);
  signal(number, SIG_DFL);
  raise(number);
}

// What TVM's code calls when an argument is not as it must be.
void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message) {
  fprintf(stderr, "sr_run: %s: %s\n", kind, message);
}
void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count) {
  fprintf(stderr, "sr_run: %s: ", kind);
  for (int i = 0; i < count; i++) fputs(parts[i], stderr);
  fputc('\n', stderr);
}

// Whole vectors are read at the end of what is not a multiple of one.
static void *memory(size_t bytes) {
  void *made = NULL;
  if (posix_memalign(&made, VECTOR, bytes + VECTOR)) die("no memory for", "a buffer");
  return made;
}

static void *read_file(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) die("cannot open", path);
  fseek(file, 0, SEEK_END);
  *bytes = (size_t)ftell(file);
  rewind(file);
  void *data = memory(*bytes);
  if (fread(data, 1, *bytes, file) != *bytes) die("cannot read", path);
  fclose(file);
  return data;
}

// What one call of the network gets: its tensors, and the rows that it makes.
typedef struct {
  DLTensor tensors[5];
  int64_t sizes[5];
  TVMFFIAny arguments[9];
  uint8_t *workspace;
} Band;

static void give_tensor(Band *band, int i, void *data, size_t bytes, uint8_t code, uint8_t bits) {
  band->sizes[i] = (int64_t)(bytes / (bits / 8));
  DLTensor made = {data, {kDLCPU, 0}, 1, {code, bits, 1}, &band->sizes[i], NULL, 0};
  band->tensors[i] = made;
  memset(&band->arguments[i], 0, sizeof(TVMFFIAny));
  band->arguments[i].type_index = kTVMFFIDLTensorPtr;
  band->arguments[i].v_ptr = &band->tensors[i];
}

static void give_integer(Band *band, int i, int64_t value) {
  memset(&band->arguments[i], 0, sizeof(TVMFFIAny));
  band->arguments[i].type_index = kTVMFFIInt;
  band->arguments[i].v_int64 = value;
}

static void *make(void *of) {
  Band *band = of;
  TVMFFIAny nothing;
  memset(&nothing, 0, sizeof nothing);
  if (__tvm_ffi_sr_network(NULL, band->arguments, 9, &nothing)) die("the network refuses", "its arguments");
  return NULL;
}

static Band bands[MOST_BANDS];

int main(int argc, char **argv) {
  if (argc != 13) die("wants 12 arguments, not those of", argv[0]);
  size_t weights, biases, picture, result = (size_t)atoll(argv[7]), workspace = (size_t)atoll(argv[8]);
  for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) signal(deadly[i], crashed);
  int stages = atoi(argv[9]), runs = atoi(argv[10]), count = atoi(argv[11]), threads = atoi(argv[12]);
  int64_t height = atoll(argv[5]), width = atoll(argv[6]);
  if (stages > MOST_STAGES) die("too many stages:", argv[9]);
  if (count < 1 || count > MOST_BANDS || count > height) die("no such number of bands:", argv[11]);
  void *w = read_file(argv[1], &weights), *b = read_file(argv[2], &biases), *x = read_file(argv[3], &picture);
  uint8_t *y = memory(result);
  memset(y, 0x5a, result + VECTOR);     // what nobody writes, or writes beyond, shows
  for (int i = 0; i < count; i++) {
    Band *band = &bands[i];
    band->workspace = sr_hexagon_vtcm(workspace + VECTOR);
    if (band->workspace == NULL) band->workspace = memory(workspace);
    memset(band->workspace, 0xa5, workspace + VECTOR);
    give_tensor(band, 0, x, picture, kDLUInt, 8);
    give_tensor(band, 1, w, weights, kDLInt, 64);
    give_tensor(band, 2, b, biases, kDLInt, 32);
    give_tensor(band, 3, y, result, kDLUInt, 8);
    give_tensor(band, 4, band->workspace, workspace, kDLInt, 32);
    give_integer(band, 5, height);
    give_integer(band, 6, width);
    give_integer(band, 7, height * i / count);
    give_integer(band, 8, height * (i + 1) / count);
  }
  counting = !threads;
  for (int run = 0; run < runs; run++) {
    memset(spent, 0, sizeof spent);
    current = -1;
    since = now();
    pthread_t started[MOST_BANDS];
    for (int i = 0; i < count; i++) {
      if (!threads) make(&bands[i]);
      else if (pthread_create(&started[i], NULL, make, &bands[i])) die("cannot start", "a thread");
    }
    for (int i = 0; threads && i < count; i++) pthread_join(started[i], NULL);
    sr_hexagon_mark(-1);
  }
  for (int i = 0; i < VECTOR; i++) {
    int beyond = y[result + i] != 0x5a;
    for (int k = 0; k < count; k++) beyond |= bands[k].workspace[workspace + i] != 0xa5;
    if (beyond) die("the network writes beyond", "its memory");
  }
  FILE *file = fopen(argv[4], "wb");
  if (file == NULL || fwrite(y, 1, result, file) != result || fclose(file)) die("cannot write", argv[4]);
  for (int i = 0; i <= stages; i++)
    printf("stage %d packets %llu instructions %llu hvx %llu\n", i - 1, (unsigned long long)spent[i].packets,
           (unsigned long long)spent[i].instructions, (unsigned long long)spent[i].hvx);
  return 0;
}
