/* What every benchmark program of a package does: read clocks and temperatures, tell time, and judge its samples. Included
 * by the generated file. It uses what Android's C library has since its first phones of 64 bits, and no variable of it. */
#ifndef SR_BENCH_H
#define SR_BENCH_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  SR_BENCH_ALIGNMENT = 64,
  /* The processors' clocks and the temperatures are asked for so many of them, at most. */
  SR_BENCH_CPUS = 16,
  SR_BENCH_ZONES = 64
};

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Memory for a workspace, or null where there is none, or `bytes` is 0. */
static void *allocate(size_t bytes) {
  void *memory = NULL;
  return bytes && !posix_memalign(&memory, SR_BENCH_ALIGNMENT, bytes) ? memory : NULL;
}

static int by_value(const void *a, const void *b) {
  double x, y;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  return (x > y) - (x < y);
}

/* The interval of the median that holds it with 95 %: ranks of the sorted samples, whatever their distribution. */
static double width_of_interval(const double *samples, size_t count, double *low, double *high) {
  double middle = (double)count / 2, reach = 0.98 * sqrt((double)count);
  size_t first = middle > reach ? (size_t)(middle - reach) : 0, last = (size_t)(middle + reach);
  *low = samples[first];
  *high = samples[last < count ? last : count - 1];
  return *high - *low;
}

/* The larger of two differences; what is no number stays. */
static double larger(double worst, double apart) { return isnan(worst) || apart <= worst ? worst : apart; }

/* Values from 0 to 1, the same each time. */
static void make_noise(float *values, size_t count) {
  uint32_t noise = 1;
  for (size_t i = 0; i < count; i++) {
    noise = noise * 1664525U + 1013904223U;
    values[i] = (float)(noise >> 8) / 16777216.0F;
  }
}

/* Prints "name": number-or-null for the whole number in a file. */
static void print_number(const char *name, const char *path) {
  FILE *file = fopen(path, "r");
  long value;
  if (file && fscanf(file, "%ld", &value) == 1)
    printf("\"%s\": %ld", name, value);
  else
    printf("\"%s\": null", name);
  if (file) fclose(file);
}

static void print_clocks(void) {
  char path[128], name[16];
  printf("\"clock_khz\": {");
  for (int i = 0, any = 0; i < SR_BENCH_CPUS; i++) {
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", i);
    if (access(path, R_OK)) continue;
    snprintf(name, sizeof name, "cpu%d", i);
    if (any++) printf(", ");
    print_number(name, path);
  }
  printf("}");
}

static void print_temperatures(void) {
  char path[128], kind[64], name[96];
  printf("\"millidegrees\": {");
  for (int i = 0, any = 0; i < SR_BENCH_ZONES; i++) {
    snprintf(path, sizeof path, "/sys/class/thermal/thermal_zone%d/type", i);
    FILE *file = fopen(path, "r");
    if (!file) continue;
    int found = fscanf(file, "%63[A-Za-z0-9_.-]", kind);
    fclose(file);
    snprintf(name, sizeof name, "%d %s", i, found == 1 ? kind : "unknown");
    snprintf(path, sizeof path, "/sys/class/thermal/thermal_zone%d/temp", i);
    if (any++) printf(", ");
    print_number(name, path);
  }
  printf("}");
}

/* The most memory that this process has had, in KB, or -1. */
static long peak_kb(void) {
  char line[256];
  long kb = -1;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "VmHWM: %ld", &kb) == 1) break;
  if (file) fclose(file);
  return kb;
}

#endif
