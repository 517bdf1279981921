/* Runs a network on an OpenCL device, from several threads, and on the CPU; prints "fine" where all agree, or what does
 * not. Compiled with NAME and HEADER, as driver.c is. The argument is an OpenCL library, the second how it must end. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include HEADER

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define F(name) JOIN(NAME, JOIN(_, name))
#define C(name) JOIN(NAMES, JOIN(_, name))

enum { THREADS = 3, CHANNELS = C(CHANNELS), SCALED = CHANNELS * C(SCALE) * C(SCALE) };

static F(network) * network, *cpu;

static int run(F(network) * on, int32_t height, int32_t width, const float *in, float *out) {
  size_t bytes = 0;
  int status = F(workspace_bytes)(height, width, 2, C(TILES), &bytes);
  void *workspace = status ? NULL : aligned_alloc(C(ALIGNMENT), (bytes + 63) / 64 * 64);
  if (workspace) status = F(run_f32)(on, in, out, 1, height, width, workspace, bytes);
  free(workspace);
  return status;
}

static void *compare(void *data) {
  int32_t number = *(int32_t *)data, height = 24 + 17 * number, width = 40 + 25 * number;
  size_t pixels = (size_t)height * (size_t)width, values = pixels * SCALED;
  float *in = malloc(pixels * CHANNELS * sizeof *in), *out = malloc(values * sizeof *out), *wanted = malloc(values * sizeof *out);
  for (size_t i = 0; i < pixels * CHANNELS; i++) in[i] = (float)(i * 7919 % 256) / 255.0F;
  int status = run(network, height, width, in, out);
  if (status == C(ERROR_DEVICE)) status = run(network, height, width, in, out);
  if (!status) status = run(cpu, height, width, in, wanted);
  float worst = 0, peak = 0;
  for (size_t i = 0; !status && i < values; i++) {
    worst = fmaxf(worst, fabsf(out[i] - wanted[i]));
    peak = fmaxf(peak, fabsf(wanted[i]));
  }
  free(in);
  free(out);
  free(wanted);
  *(int32_t *)data = status ? status : worst <= 1e-5F * peak ? 0 : -1;
  return NULL;
}

int main(int argc, char **argv) {
  char text[1000];
  F(options) options = {C(OPENCL), argc > 3 ? argv[3] : NULL, argc > 1 ? argv[1] : NULL, NULL, text, sizeof text};
  int status = F(create_on)(C(VERSION), 2, &options, &network);
  if (status) return printf("%s: %s\n", F(text)(status), text), 1;
  options.device = C(CPU);
  if (F(create_on)(C(VERSION), 2, &options, &cpu)) return puts("no CPU"), 1;
  pthread_t threads[THREADS];
  int32_t data[THREADS], wrong = 0;
  for (int32_t i = 0; i < THREADS; i++) data[i] = i;
  for (int32_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, compare, &data[i]);
  for (int32_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int32_t i = 0; i < THREADS; i++)
    if (data[i]) wrong = printf("thread %d gives %d\n", i, data[i]);
  F(device) device;
  if (F(get_device)(network, 100, 100, &device)) return 1;
  if (device.device != (argc > 2 && !strcmp(argv[2], "lost") ? C(CPU) : C(OPENCL))) wrong = puts("the wrong device");
  F(destroy)(cpu);
  F(destroy)(network);
  return wrong ? 1 : puts("fine") < 0;
}
