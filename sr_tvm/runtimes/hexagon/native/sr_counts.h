/* The counters of qemu-hexagon: packets, instructions and HVX instructions, of 32 bits, which wrap. */
#ifndef SR_COUNTS_H
#define SR_COUNTS_H

#include <stdint.h>

typedef struct { uint32_t packets, instructions, hvx; } Counts;
/* Reads of the counters c20, c21 and c22, which assemblers for user code do not know by name, into r0. */
#define READ(word, to) __asm__ volatile(".word " #word "\n %0 = r0" : "=r"(to)::"r0", "memory")
static Counts now(void) {
  Counts c;
  READ(0x6a14c000, c.packets);
  READ(0x6a15c000, c.instructions);
  READ(0x6a16c000, c.hvx);
  return c;
}

#endif
