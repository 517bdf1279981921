/* Text of a fixed size that grows by pieces, for reasons that a network tells. What does not fit is left out. */
#ifndef SR_WORDS_H
#define SR_WORDS_H

#include <stdint.h>
#include <string.h>

enum { SR_WORDS = 4096 };

typedef struct {
  size_t used;
  char text[SR_WORDS];
} sr_words;

/* Adds ``size`` bytes; control characters other than ends of lines become spaces. */
static void sr_say_bytes(sr_words *words, const char *text, size_t size) {
  for (size_t i = 0; i < size && text[i] && words->used < SR_WORDS - 1; i++) {
    unsigned char c = (unsigned char)text[i];
    words->text[words->used++] = (c < ' ' && c != '\n') || c == 127 ? ' ' : text[i];
  }
  words->text[words->used] = 0;
}

static void sr_say(sr_words *words, const char *text) { sr_say_bytes(words, text, strlen(text)); }

static void sr_say_number(sr_words *words, int64_t number) {
  char digits[24];
  size_t at = sizeof digits;
  uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  do digits[--at] = (char)('0' + left % 10);
  while (left /= 10);
  if (number < 0) digits[--at] = '-';
  sr_say_bytes(words, digits + at, sizeof digits - at);
}

static void sr_say_nothing(sr_words *words) { words->used = 0, words->text[0] = 0; }

#endif
