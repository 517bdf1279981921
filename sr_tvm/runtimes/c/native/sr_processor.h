/* Whether this processor, and its system, have what the kernels were compiled for: else they would end the process. */
#ifndef SR_PROCESSOR_H
#define SR_PROCESSOR_H

#include <stdint.h>

/* On x86-64 a bit that CPUID gives: its leaf and subleaf, the register from eax on, and the state that the system must
 * save (XCR0). On AArch64 the bit of HWCAP in ``bit``; the rest is 0. */
typedef struct {
  uint32_t leaf, subleaf, reg, bit;
  uint64_t state;
} sr_feature;

#if defined(__x86_64__)
#include <cpuid.h>

static uint64_t sr_saved_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

static int sr_has(const sr_feature *feature) {
  uint32_t r[4] = {0, 0, 0, 0};
  if (!__get_cpuid_count(feature->leaf, feature->subleaf, &r[0], &r[1], &r[2], &r[3])) return 0;
  if (!(r[feature->reg] >> feature->bit & 1)) return 0;
  if (!feature->state) return 1;
  if (!__get_cpuid(1, &r[0], &r[1], &r[2], &r[3]) || !(r[2] & 1U << 27)) return 0; /* OSXSAVE */
  return (sr_saved_state() & feature->state) == feature->state;
}

#elif defined(__aarch64__)
#include <sys/auxv.h>

static int sr_has(const sr_feature *feature) { return (int)(getauxval(AT_HWCAP) >> feature->bit & 1); }

#else
#error "the kernels are for x86-64 or AArch64"
#endif

/* The end of the list has state and leaf 0 and bit 0. */
static int sr_lacks(const sr_feature *features) {
  for (; features->leaf || features->bit; features++)
    if (!sr_has(features)) return 1;
  return 0;
}

#endif
