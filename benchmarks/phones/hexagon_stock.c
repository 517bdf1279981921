// Runs one convolution built by stock TVM in the simulator and prints the packets, instructions and HVX instructions.
// usage: program INPUT_BYTES WEIGHT_BYTES OUTPUT_BYTES followed by the shapes: 4 numbers each of input, weights, output
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dlpack/dlpack.h>
#include <tvm/ffi/c_api.h>

int __tvm_ffi_conv(void *self, TVMFFIAny *arguments, int32_t count, TVMFFIAny *result);

#define READ(word, to) __asm__ volatile(".word " #word "\n %0 = r0" : "=r"(to)::"r0", "memory")

static void *allocate(int kind, int id, uint64_t bytes, int code, int bits) {
  void *made = NULL;
  return posix_memalign(&made, 128, bytes + 128) ? NULL : made;
}
static int release(int kind, int id, void *memory) { free(memory); return 0; }
extern void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) __attribute__((weak));
extern int (*__TVMBackendFreeWorkspace)(int, int, void *) __attribute__((weak));
void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message) { fprintf(stderr, "%s\n", message); }
void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count) {
  for (int i = 0; i < count; i++) fputs(parts[i], stderr);
}

int main(int argc, char **argv) {
  if (argc != 16) return 2;
  if (&__TVMBackendAllocWorkspace) __TVMBackendAllocWorkspace = allocate;
  if (&__TVMBackendFreeWorkspace) __TVMBackendFreeWorkspace = release;
  static int64_t shape[3][4];
  static DLTensor tensors[3];
  TVMFFIAny arguments[3], nothing;
  const uint8_t code[3] = {kDLUInt, kDLInt, kDLInt}, bits[3] = {8, 8, 32};
  uint32_t seed = 1, before[3], after[3], sum = 0;
  for (int i = 0; i < 3; i++) {
    size_t bytes = (size_t)atoll(argv[1 + i]);
    uint8_t *data = allocate(0, 0, bytes, 0, 0);
    for (size_t k = 0; k < bytes; k++) data[k] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
    for (int k = 0; k < 4; k++) shape[i][k] = atoll(argv[4 + 4 * i + k]);
    DLTensor made = {data, {kDLCPU, 0}, 4, {code[i], bits[i], 1}, shape[i], NULL, 0};
    tensors[i] = made;
    memset(&arguments[i], 0, sizeof arguments[i]);
    arguments[i].type_index = kTVMFFIDLTensorPtr;
    arguments[i].v_ptr = &tensors[i];
  }
  memset(&nothing, 0, sizeof nothing);
  READ(0x6a14c000, before[0]); READ(0x6a15c000, before[1]); READ(0x6a16c000, before[2]);
  if (__tvm_ffi_conv(NULL, arguments, 3, &nothing)) return 3;
  READ(0x6a14c000, after[0]); READ(0x6a15c000, after[1]); READ(0x6a16c000, after[2]);
  // What the convolution must have made, at a few places, so that it is known to have run.
  const uint8_t *x = tensors[0].data;
  const int8_t *w = tensors[1].data;
  const int32_t *y = tensors[2].data;
  int ci = (int)shape[0][1], h = (int)shape[0][2], wd = (int)shape[0][3], co = (int)shape[1][0], n = (int)shape[1][2];
  for (int o = 0; o < co; o += 5)
    for (int at = 0; at < h * wd; at += 331) {
      int32_t total = 0;
      for (int c = 0; c < ci; c++)
        for (int dy = 0; dy < n; dy++)
          for (int dx = 0; dx < n; dx++) {
            int r = at / wd + dy - n / 2, q = at % wd + dx - n / 2;
            if (r >= 0 && r < h && q >= 0 && q < wd) total += x[(c * h + r) * wd + q] * w[((o * ci + c) * n + dy) * n + dx];
          }
      sum += total != y[o * h * wd + at];
    }
  if (sum) { fprintf(stderr, "%u values are wrong\n", sum); return 4; }
  printf("packets %u instructions %u hvx %u\n", after[0] - before[0], after[1] - before[1], after[2] - before[2]);
  return 0;
}
