/* Build OpenCL C files with whatever driver OpenCL finds. Under Mesa's drm-shim the driver's debug output is the result.
   usage: probe FILE.cl...     Lines that begin with "#! " are ours; each FILE is a program of its own. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef void *Handle;
typedef int32_t Int;
typedef uint32_t UInt;
typedef uint64_t ULong;
#define FUNCTION(result, name, ...) static result (*name)(__VA_ARGS__)
FUNCTION(Int, clGetPlatformIDs, UInt, Handle *, UInt *);
FUNCTION(Int, clGetDeviceIDs, Handle, ULong, UInt, Handle *, UInt *);
FUNCTION(Int, clGetDeviceInfo, Handle, UInt, size_t, void *, size_t *);
FUNCTION(Handle, clCreateContext, void *, UInt, Handle *, void *, void *, Int *);
FUNCTION(Handle, clCreateProgramWithSource, Handle, UInt, const char **, const size_t *, Int *);
FUNCTION(Int, clBuildProgram, Handle, UInt, Handle *, const char *, void *, void *);
FUNCTION(Int, clGetProgramBuildInfo, Handle, Handle, UInt, size_t, void *, size_t *);
FUNCTION(Int, clCreateKernelsInProgram, Handle, UInt, Handle *, UInt *);
FUNCTION(Int, clGetKernelInfo, Handle, UInt, size_t, void *, size_t *);
FUNCTION(Int, clGetKernelWorkGroupInfo, Handle, Handle, UInt, size_t, void *, size_t *);
#define FIND(name)                                     \
  if (!(*(void **)&name = dlsym(library, #name))) {    \
    printf("#! no function %s in libOpenCL\n", #name); \
    return 3;                                          \
  }

static char *read_file(const char *name, size_t *size) {
  FILE *file = fopen(name, "rb");
  if (!file || fseek(file, 0, SEEK_END)) return 0;
  *size = (size_t)ftell(file);
  rewind(file);
  char *text = malloc(*size + 1);
  if (text && fread(text, 1, *size, file) != *size) text = 0;
  fclose(file);
  return text;
}

int main(int count, char **names) {
  setvbuf(stdout, 0, _IONBF, 0); /* Mesa writes to stderr, which is the same file: the order matters. */
  void *library = dlopen("libOpenCL.so.1", RTLD_NOW);
  if (!library) {
    printf("#! no OpenCL: %s\n", dlerror());
    return 3;
  }
  FIND(clGetPlatformIDs) FIND(clGetDeviceIDs) FIND(clGetDeviceInfo) FIND(clCreateContext) FIND(clCreateProgramWithSource)
  FIND(clBuildProgram) FIND(clGetProgramBuildInfo) FIND(clCreateKernelsInProgram) FIND(clGetKernelInfo)
  FIND(clGetKernelWorkGroupInfo)
  Handle platform = 0, device = 0;
  Int error = 0;
  char text[4096] = "";
  if (clGetPlatformIDs(1, &platform, 0) || clGetDeviceIDs(platform, 0xFFFFFFFF, 1, &device, 0) || !device) {
    printf("#! no device: the driver does not know this GPU\n");
    return 2;
  }
  clGetDeviceInfo(device, 0x102B, sizeof text, text, 0); /* CL_DEVICE_NAME */
  printf("#! device %s\n", text);
  clGetDeviceInfo(device, 0x102D, sizeof text, text, 0); /* CL_DRIVER_VERSION */
  printf("#! driver %s\n", text);
  Handle context = clCreateContext(0, 1, &device, 0, 0, &error);
  for (int i = 1; !error && i < count; i++) {
    size_t size = 0;
    const char *source = read_file(names[i], &size);
    printf("#! program %d\n", i - 1);
    if (!source) {
      printf("#! failed: %s cannot be read\n", names[i]);
      continue;
    }
    Handle program = clCreateProgramWithSource(context, 1, &source, &size, &error);
    if (error) break;
    if (clBuildProgram(program, 1, &device, "", 0, 0)) {
      static char log[1 << 18];
      log[0] = 0; /* else it would be the program's before, for a log that does not fit is not written at all */
      if (clGetProgramBuildInfo(program, device, 0x1183, sizeof log - 1, log, 0)) /* CL_PROGRAM_BUILD_LOG */
        snprintf(log, sizeof log, "there is no log, or it is of more than %zu bytes", sizeof log - 1);
      printf("#! failed: the log follows\n%s\n", log);
      continue;
    }
    Handle kernels[512];
    UInt found = 0;
    if (clCreateKernelsInProgram(program, 512, kernels, &found)) {
      printf("#! failed: a kernel of it is refused, or there are more than 512\n");
      continue;
    }
    for (UInt k = 0; k < found; k++) {
      size_t group = 0, multiple = 0;
      ULong local = 0, private_bytes = 0;
      clGetKernelInfo(kernels[k], 0x1190, sizeof text, text, 0);
      clGetKernelWorkGroupInfo(kernels[k], device, 0x11B0, sizeof group, &group, 0);
      clGetKernelWorkGroupInfo(kernels[k], device, 0x11B3, sizeof multiple, &multiple, 0);
      clGetKernelWorkGroupInfo(kernels[k], device, 0x11B2, sizeof local, &local, 0);
      clGetKernelWorkGroupInfo(kernels[k], device, 0x11B4, sizeof private_bytes, &private_bytes, 0);
      printf("#! kernel %s %zu %zu %lu %lu\n", text, group, multiple, (unsigned long)local, (unsigned long)private_bytes);
    }
    printf("#! done %d\n", i - 1);
  }
  if (error) printf("#! OpenCL error %d\n", error);
  _Exit(error ? 1 : 0); /* Mesa's threads need not be waited for. */
}
