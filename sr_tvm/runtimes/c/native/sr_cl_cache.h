/* Compiled kernels in a folder of the caller's: a file for each network, device and driver. A file that is not whole, or
 * of another driver or network, is as none. */
#ifndef SR_CL_CACHE_H
#define SR_CL_CACHE_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sr_words.h"

enum { SR_CACHE_MOST = 64 << 20 /* bytes of a file */ };

typedef struct {
  char magic[8];
  uint64_t key_bytes, code_bytes, checksum; /* of the key and the code, which follow */
} sr_cache_head;

static const char sr_cache_magic[8] = {'S', 'R', 'C', 'L', 'B', 'I', 'N', '1'};

/* FNV-1a: what comes from a folder of the app's own is checked for damage, not for malice. */
static uint64_t sr_fnv(uint64_t hash, const void *data, size_t size) {
  const uint8_t *bytes = data;
  for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
  return hash;
}

static uint64_t sr_checksum(const sr_words *key, const void *code, size_t size) {
  return sr_fnv(sr_fnv(UINT64_C(0xcbf29ce484222325), key->text, key->used), code, size);
}

/* FOLDER/NAME-HASH.bin, and ``end`` behind it. */
static void sr_cache_path(sr_words *path, const char *folder, const char *name, const sr_words *key, const char *end) {
  uint64_t hash = sr_fnv(UINT64_C(0xcbf29ce484222325), key->text, key->used);
  sr_say_nothing(path);
  sr_say(path, folder);
  sr_say(path, "/");
  sr_say(path, name);
  sr_say(path, "-");
  for (int shift = 60; shift >= 0; shift -= 4) sr_say_bytes(path, &"0123456789abcdef"[hash >> shift & 15], 1);
  sr_say(path, ".bin");
  sr_say(path, end);
}

/* The code of a file, in memory for the caller to free; null if there is none that is right. */
static uint8_t *sr_cache_read(const char *folder, const char *name, const sr_words *key, size_t *size) {
  sr_words path;
  sr_cache_head head;
  char there[SR_WORDS];
  sr_cache_path(&path, folder, name, key, "");
  FILE *file = fopen(path.text, "rb");
  if (!file) return NULL;
  uint8_t *code = NULL;
  if (fread(&head, sizeof head, 1, file) == 1 && memcmp(head.magic, sr_cache_magic, sizeof head.magic) == 0 &&
      head.key_bytes == key->used && head.code_bytes > 0 && head.code_bytes <= SR_CACHE_MOST &&
      fread(there, 1, key->used, file) == key->used && memcmp(there, key->text, key->used) == 0)
    code = malloc((size_t)head.code_bytes);
  if (code && (fread(code, 1, (size_t)head.code_bytes, file) != head.code_bytes || fgetc(file) != EOF ||
               sr_checksum(key, code, (size_t)head.code_bytes) != head.checksum)) {
    free(code);
    code = NULL;
  }
  fclose(file);
  if (code) *size = (size_t)head.code_bytes;
  return code;
}

/* Writes a file whole or not, whoever else writes it; 0 if it is there then. */
static int sr_cache_write(const char *folder, const char *name, const sr_words *key, const uint8_t *code, size_t size) {
  sr_words path, partial, end = {0, {0}};
  sr_cache_head head = {{0}, key->used, size, sr_checksum(key, code, size)};
  memcpy(head.magic, sr_cache_magic, sizeof head.magic);
  sr_say(&end, ".");
  sr_say_number(&end, getpid());
  sr_say(&end, ".");
  sr_say_number(&end, (int64_t)(uintptr_t)&head); /* apart from other threads of the process */
  sr_cache_path(&path, folder, name, key, "");
  sr_cache_path(&partial, folder, name, key, end.text);
  if (size > SR_CACHE_MOST || partial.used >= SR_WORDS - 1) return -1;
  FILE *file = fopen(partial.text, "wb");
  if (!file) return -1;
  int written = fwrite(&head, sizeof head, 1, file) == 1 && fwrite(key->text, 1, key->used, file) == key->used &&
                fwrite(code, 1, size, file) == size;
  if (fclose(file) || !written || rename(partial.text, path.text)) {
    remove(partial.text);
    return -1;
  }
  return 0;
}

#endif
