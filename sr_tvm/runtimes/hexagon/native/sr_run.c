// Runs a compiled network on one picture and counts packets, instructions and HVX instructions of each of its stages.
// usage: program WEIGHTS BIASES PICTURE RESULT HEIGHT WIDTH RESULT_BYTES WORKSPACE_BYTES STAGES RUNS
// Prints a line "stage N packets P instructions I hvx V" for each stage (-1: all between them) of the last run, and one
// "total ...". The counters are those of qemu-hexagon; a DSP's own are elsewhere, and are milliseconds' better friends.
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dlpack/dlpack.h>
#include <tvm/ffi/c_api.h>

#define VECTOR 128
#define MOST_STAGES 1024

int __tvm_ffi_sr_network(void *self, TVMFFIAny *arguments, int32_t count, TVMFFIAny *result);

typedef struct { uint32_t packets, instructions, hvx; } Counts;
// Reads of the counters c20, c21 and c22, which assemblers for user code do not know by name, into r0.
#define READ(word, to) __asm__ volatile(".word " #word "\n %0 = r0" : "=r"(to)::"r0", "memory")
static Counts now(void) {
  Counts c;
  READ(0x6a14c000, c.packets);
  READ(0x6a15c000, c.instructions);
  READ(0x6a16c000, c.hvx);
  return c;
}

static struct { uint64_t packets, instructions, hvx; } spent[MOST_STAGES + 1];
static int current = -1;
static Counts since;

// Called by the network before each row of a stage, and with -1 after it.
int sr_hexagon_mark(int stage) {
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

static DLTensor tensors[5];
static int64_t sizes[5];

static TVMFFIAny tensor(int i, void *data, size_t bytes, uint8_t code, uint8_t bits) {
  sizes[i] = (int64_t)(bytes / (bits / 8));
  DLTensor made = {data, {kDLCPU, 0}, 1, {code, bits, 1}, &sizes[i], NULL, 0};
  tensors[i] = made;
  TVMFFIAny any;
  memset(&any, 0, sizeof any);
  any.type_index = kTVMFFIDLTensorPtr;
  any.v_ptr = &tensors[i];
  return any;
}

static TVMFFIAny integer(const char *text) {
  TVMFFIAny any;
  memset(&any, 0, sizeof any);
  any.type_index = kTVMFFIInt;
  any.v_int64 = atoll(text);
  return any;
}

int main(int argc, char **argv) {
  if (argc != 11) die("wants 10 arguments, not those of", argv[0]);
  size_t weights, biases, picture, result = (size_t)atoll(argv[7]), workspace = (size_t)atoll(argv[8]);
  for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) signal(deadly[i], crashed);
  int stages = atoi(argv[9]), runs = atoi(argv[10]);
  if (stages > MOST_STAGES) die("too many stages:", argv[9]);
  void *w = read_file(argv[1], &weights), *b = read_file(argv[2], &biases), *x = read_file(argv[3], &picture);
  uint8_t *y = memory(result), *s = memory(workspace);
  memset(y, 0x5a, result + VECTOR);     // what nobody writes, or writes beyond, shows
  memset(s, 0xa5, workspace + VECTOR);
  for (int run = 0; run < runs; run++) {
    memset(spent, 0, sizeof spent);
    TVMFFIAny arguments[7] = {tensor(0, x, picture, kDLUInt, 8), tensor(1, w, weights, kDLInt, 64),
                              tensor(2, b, biases, kDLInt, 32),  tensor(3, y, result, kDLUInt, 8),
                              tensor(4, s, workspace, kDLInt, 32), integer(argv[5]), integer(argv[6])};
    TVMFFIAny nothing;
    memset(&nothing, 0, sizeof nothing);
    current = -1;
    since = now();
    if (__tvm_ffi_sr_network(NULL, arguments, 7, &nothing)) die("the network refuses", "its arguments");
    sr_hexagon_mark(-1);
  }
  for (int i = 0; i < VECTOR; i++)
    if (y[result + i] != 0x5a || s[workspace + i] != 0xa5) die("the network writes beyond", "its memory");
  FILE *file = fopen(argv[4], "wb");
  if (file == NULL || fwrite(y, 1, result, file) != result || fclose(file)) die("cannot write", argv[4]);
  for (int i = 0; i <= stages; i++)
    printf("stage %d packets %llu instructions %llu hvx %llu\n", i - 1, (unsigned long long)spent[i].packets,
           (unsigned long long)spent[i].instructions, (unsigned long long)spent[i].hvx);
  return 0;
}
