/* Kernels from their source, or from what the driver made of it before. */
#ifndef SR_CL_BUILD_H
#define SR_CL_BUILD_H

#include "sr_cl_cache.h"
#include "sr_cl_choose.h"
#include "sr_inflate.h"

/* What the driver's code depends on. Parts end with a line, which none of them holds. */
static void sr_cl_key(const sr_cl_program *program, const sr_cl_device *device, sr_words *key) {
  const char *parts[] = {program->digest, device->platform_name, device->platform_version, device->name,
                         device->vendor,  device->version,       device->driver,           sizeof(void *) == 8 ? "64" : "32"};
  sr_say_nothing(key);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    sr_say(key, parts[i]);
    sr_say(key, "\n");
  }
}

static cl_program sr_cl_from_binary(const sr_cl *cl, cl_context context, const sr_cl_device *device, const uint8_t *code,
                                    size_t size) {
  cl_int status = 0, error = 0;
  cl_program made = cl->clCreateProgramWithBinary(context, 1, &device->id, &size, &code, &status, &error);
  if (!error && !status && made && !cl->clBuildProgram(made, 1, &device->id, "", NULL, NULL)) return made;
  if (!error && made) cl->clReleaseProgram(made);
  return NULL;
}

static cl_program sr_cl_from_source(const sr_cl *cl, cl_context context, const sr_cl_device *device,
                                    const sr_cl_program *program, sr_words *why) {
  cl_int code = 0;
  uint8_t *text = malloc(program->text_bytes + 1);
  if (!text || sr_inflate(program->source, program->source_bytes, text, program->text_bytes)) {
    sr_say(why, text ? "the kernels' source is damaged" : "no memory left");
    free(text);
    return NULL;
  }
  text[program->text_bytes] = 0;
  const char *source = (const char *)text;
  cl_program made = cl->clCreateProgramWithSource(context, 1, &source, &program->text_bytes, &code);
  free(text);
  if (code || !made) {
    sr_cl_fails(why, "giving the driver the kernels", code);
    return NULL;
  }
  code = cl->clBuildProgram(made, 1, &device->id, "", NULL, NULL);
  if (!code) return made;
  sr_cl_fails(why, "compiling the kernels", code);
  size_t length = 0;
  if (!cl->clGetProgramBuildInfo(made, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &length) && length) {
    char *log = calloc(1, length + 1);
    if (log && !cl->clGetProgramBuildInfo(made, device->id, CL_PROGRAM_BUILD_LOG, length, log, NULL)) {
      sr_say(why, ":\n");
      sr_say(why, log);
    }
    free(log);
  }
  cl->clReleaseProgram(made);
  return NULL;
}

/* Keeps what the driver made; 0 if it is in the folder then. */
static int sr_cl_keep(const sr_cl *cl, cl_program made, const char *folder, const char *name, const sr_words *key) {
  size_t size = 0;
  if (cl->clGetProgramInfo(made, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) || !size) return -1;
  uint8_t *code = malloc(size);
  int failed = !code || cl->clGetProgramInfo(made, CL_PROGRAM_BINARIES, sizeof code, &code, NULL) ||
               sr_cache_write(folder, name, key, code, size);
  free(code);
  return failed ? -1 : 0;
}

/* The kernels, compiled: from the cache's folder if that is not null and has them. ``cache`` says what came of it. */
static cl_program sr_cl_make_program(const sr_cl *cl, cl_context context, const sr_cl_device *device,
                                     const sr_cl_program *program, const char *folder, const char *name, int32_t *cache,
                                     sr_words *why) {
  sr_words key;
  cl_program made = NULL;
  *cache = SR_NOT_CACHED;
  sr_cl_key(program, device, &key);
  if (folder) {
    size_t size = 0;
    uint8_t *code = sr_cache_read(folder, name, &key, &size);
    if (code) made = sr_cl_from_binary(cl, context, device, code, size);
    free(code);
    if (made) {
      *cache = SR_CACHE_READ;
      return made;
    }
  }
  made = sr_cl_from_source(cl, context, device, program, why);
  if (made && folder) *cache = sr_cl_keep(cl, made, folder, name, &key) ? SR_CACHE_FAILED : SR_CACHE_WRITTEN;
  return made;
}

#endif
