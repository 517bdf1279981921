/* The OpenCL library of this machine: opened when a network wants it, and linked by nobody. */
#ifndef SR_CL_LIBRARY_H
#define SR_CL_LIBRARY_H

#include <dlfcn.h>

#include "sr_cl_types.h"
#include "sr_words.h"

typedef struct {
#define SR_CL_FIELD(Result, name, parameters) Result(*name) parameters;
  SR_CL_FUNCTIONS(SR_CL_FIELD)
#undef SR_CL_FIELD
} sr_cl;

/* Loaders of the desktop first, then where Android's vendors put their drivers. */
static const char *const sr_cl_candidates[] = {
    "libOpenCL.so.1",
    "libOpenCL.so",
    "/vendor/lib64/libOpenCL.so",
    "/system/vendor/lib64/libOpenCL.so",
    "/system/lib64/libOpenCL.so",
    "/vendor/lib64/egl/libGLES_mali.so",
    "/system/vendor/lib64/egl/libGLES_mali.so",
    "libOpenCL-pixel.so",
    "libOpenCL-car.so",
};

/* Opens ``named``, or where it is null the first of the candidates; 0 if all functions are there. The library is never
 * closed, for drivers do not survive that. */
static int sr_cl_open(sr_cl *cl, const char *named, sr_words *why) {
  const size_t count = sizeof sr_cl_candidates / sizeof *sr_cl_candidates;
  void *handle = named ? dlopen(named, RTLD_NOW | RTLD_LOCAL) : NULL;
  const char *path = named;
  for (size_t i = 0; !named && !handle && i < count; i++) {
    path = sr_cl_candidates[i];
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  if (!handle) {
    sr_say(why, named ? "the OpenCL library can't be opened: " : "no OpenCL library is installed; looked for ");
    if (named) sr_say(why, named);
    for (size_t i = 0; !named && i < count; i++) {
      if (i) sr_say(why, ", ");
      sr_say(why, sr_cl_candidates[i]);
    }
    return -1;
  }
  const char *missing = NULL;
  /* POSIX has it that a function's address fits into a pointer; C does not know how to write that. */
#define SR_CL_FIND(Result, name, parameters)                    \
  do {                                                          \
    void *found = dlsym(handle, #name);                         \
    if (!found && !missing) missing = #name;                                \
    memcpy(&cl->name, &found, sizeof found);                    \
  } while (0);
  SR_CL_FUNCTIONS(SR_CL_FIND)
#undef SR_CL_FIND
  if (!missing) return 0;
  sr_say(why, path);
  sr_say(why, " has no ");
  sr_say(why, missing);
  sr_say(why, "; OpenCL 1.2 is needed");
  return -1;
}

/* Says what failed and why; always gives -1. */
static int sr_cl_fails(sr_words *why, const char *doing, cl_int code) {
  static const struct {
    cl_int code;
    const char *name;
  } names[] = {
      {-1, "CL_DEVICE_NOT_FOUND"},        {-2, "CL_DEVICE_NOT_AVAILABLE"},
      {-3, "CL_COMPILER_NOT_AVAILABLE"},  {-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
      {-5, "CL_OUT_OF_RESOURCES"},        {-6, "CL_OUT_OF_HOST_MEMORY"},
      {-10, "CL_IMAGE_FORMAT_NOT_SUPPORTED"}, {-11, "CL_BUILD_PROGRAM_FAILURE"},
      {-12, "CL_MAP_FAILURE"},            {-30, "CL_INVALID_VALUE"},
      {-34, "CL_INVALID_CONTEXT"},        {-36, "CL_INVALID_COMMAND_QUEUE"},
      {-38, "CL_INVALID_MEM_OBJECT"},     {-42, "CL_INVALID_BINARY"},
      {-46, "CL_INVALID_KERNEL_NAME"},    {-48, "CL_INVALID_KERNEL"},
      {-51, "CL_INVALID_ARG_SIZE"},       {-52, "CL_INVALID_KERNEL_ARGS"},
      {-54, "CL_INVALID_WORK_GROUP_SIZE"}, {-61, "CL_INVALID_BUFFER_SIZE"},
      {-1001, "CL_PLATFORM_NOT_FOUND_KHR"},
  };
  sr_say(why, doing);
  sr_say(why, " fails: ");
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].code == code) sr_say(why, names[i].name);
  sr_say(why, " (");
  sr_say_number(why, code);
  sr_say(why, ")");
  return -1;
}

#endif
