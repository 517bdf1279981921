/* Deflate (RFC 1951), undone: source texts are a tenth as large in the library. It is slow and small; damaged data gives
 * a failure, never a write outside of the room. */
#ifndef SR_INFLATE_H
#define SR_INFLATE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SR_CODE_BITS = 15, SR_LITERALS = 288, SR_DISTANCES = 32 };

typedef struct {
  const uint8_t *in;
  uint8_t *out;
  size_t size, at, room, made;
  uint32_t bits, count; /* that were read and not yet taken */
  int failed;
} sr_inflater;

/* A canonical Huffman code: how many codes there are of a length, and the symbols by their codes. */
typedef struct {
  uint16_t count[SR_CODE_BITS + 1], symbol[SR_LITERALS];
} sr_huffman;

static uint32_t sr_take(sr_inflater *s, uint32_t wanted) {
  while (s->count < wanted) {
    if (s->at == s->size) {
      s->failed = 1;
      return 0;
    }
    s->bits |= (uint32_t)s->in[s->at++] << s->count;
    s->count += 8;
  }
  uint32_t value = s->bits & ((1U << wanted) - 1);
  s->bits >>= wanted;
  s->count -= wanted;
  return value;
}

static void sr_make_code(sr_huffman *code, const uint8_t *lengths, uint32_t symbols) {
  uint16_t next[SR_CODE_BITS + 2] = {0};
  memset(code, 0, sizeof *code);
  for (uint32_t i = 0; i < symbols; i++) code->count[lengths[i]]++;
  code->count[0] = 0;
  for (uint32_t i = 0; i <= SR_CODE_BITS; i++) next[i + 1] = (uint16_t)(next[i] + code->count[i]);
  for (uint32_t i = 0; i < symbols; i++)
    if (lengths[i]) code->symbol[next[lengths[i]]++] = (uint16_t)i;
}

static uint32_t sr_next_symbol(sr_inflater *s, const sr_huffman *code) {
  uint32_t value = 0, first = 0, index = 0;
  for (uint32_t length = 1; length <= SR_CODE_BITS && !s->failed; length++) {
    value |= sr_take(s, 1);
    if (value < first + code->count[length]) return code->symbol[index + value - first];
    index += code->count[length];
    first = (first + code->count[length]) << 1;
    value <<= 1;
  }
  s->failed = 1;
  return 0;
}

static void sr_put(sr_inflater *s, uint8_t byte) {
  if (s->made < s->room)
    s->out[s->made++] = byte;
  else
    s->failed = 1;
}

/* Bytes, and copies of what came before, up to the end of the block. */
static void sr_inflate_codes(sr_inflater *s, const sr_huffman *literals, const sr_huffman *distances) {
  while (!s->failed) {
    uint32_t symbol = sr_next_symbol(s, literals), length = 258;
    if (symbol == 256) return;
    if (symbol < 256) {
      sr_put(s, (uint8_t)symbol);
      continue;
    }
    symbol -= 257;
    if (symbol < 8) {
      length = symbol + 3;
    } else if (symbol < 28) {
      uint32_t extra = symbol / 4 - 1;
      length = ((4 + symbol % 4) << extra) + 3 + sr_take(s, extra);
    } else if (symbol > 28) {
      s->failed = 1;
    }
    uint32_t distance = sr_next_symbol(s, distances);
    if (distance > 3) {
      uint32_t extra = distance / 2 - 1;
      if (extra > 13) s->failed = 1;
      distance = s->failed ? 0 : ((2 + distance % 2) << extra) + sr_take(s, extra);
    }
    if (++distance > s->made) s->failed = 1;
    for (uint32_t i = 0; i < length && !s->failed; i++) sr_put(s, s->out[s->made - distance]);
  }
}

static void sr_inflate_fixed(sr_inflater *s) {
  uint8_t lengths[SR_LITERALS], fives[SR_DISTANCES];
  sr_huffman literals, distances;
  for (uint32_t i = 0; i < SR_LITERALS; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  memset(fives, 5, sizeof fives);
  sr_make_code(&literals, lengths, SR_LITERALS);
  sr_make_code(&distances, fives, SR_DISTANCES);
  sr_inflate_codes(s, &literals, &distances);
}

static void sr_inflate_dynamic(sr_inflater *s) {
  static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  uint8_t lengths[SR_LITERALS + SR_DISTANCES] = {0};
  sr_huffman literals, distances;
  uint32_t first = sr_take(s, 5) + 257, second = sr_take(s, 5) + 1, used = sr_take(s, 4) + 4;
  for (uint32_t i = 0; i < used; i++) lengths[order[i]] = (uint8_t)sr_take(s, 3);
  sr_make_code(&literals, lengths, 19);
  memset(lengths, 0, sizeof lengths);
  if (first > SR_LITERALS) s->failed = 1;
  for (uint32_t i = 0; i < first + second && !s->failed;) {
    uint32_t symbol = sr_next_symbol(s, &literals), times = 1;
    uint8_t length = (uint8_t)symbol;
    if (symbol > 15) {
      if (symbol == 16 && i == 0) s->failed = 1;
      length = symbol == 16 && i ? lengths[i - 1] : 0;
      times = symbol == 16 ? 3 + sr_take(s, 2) : symbol == 17 ? 3 + sr_take(s, 3) : 11 + sr_take(s, 7);
    }
    if (i + times > first + second) s->failed = 1;
    for (; times && !s->failed; times--) lengths[i++] = length;
  }
  if (s->failed) return;
  sr_make_code(&literals, lengths, first);
  sr_make_code(&distances, lengths + first, second);
  sr_inflate_codes(s, &literals, &distances);
}

static void sr_inflate_stored(sr_inflater *s) {
  s->bits = s->count = 0;
  uint32_t size = sr_take(s, 8);
  size |= sr_take(s, 8) << 8;
  uint32_t check = sr_take(s, 8);
  check |= sr_take(s, 8) << 8;
  if (size != (~check & 0xFFFF)) s->failed = 1;
  for (uint32_t i = 0; i < size && !s->failed; i++) sr_put(s, (uint8_t)sr_take(s, 8));
}

/* Makes exactly ``room`` bytes of ``size``; 0 if that is what they are. */
static int sr_inflate(const uint8_t *in, size_t size, uint8_t *out, size_t room) {
  sr_inflater s = {in, out, size, 0, room, 0, 0, 0, 0};
  uint32_t last = 0;
  while (!last && !s.failed) {
    last = sr_take(&s, 1);
    switch (sr_take(&s, 2)) {
      case 0:
        sr_inflate_stored(&s);
        break;
      case 1:
        sr_inflate_fixed(&s);
        break;
      case 2:
        sr_inflate_dynamic(&s);
        break;
      default:
        s.failed = 1;
    }
  }
  return s.failed || s.made != room ? -1 : 0;
}

#endif
