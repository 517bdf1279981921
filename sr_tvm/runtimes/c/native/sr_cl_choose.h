/* Which OpenCL device: GPUs before CPUs, of all drivers, the first that is new enough and has what the program needs. */
#ifndef SR_CL_CHOOSE_H
#define SR_CL_CHOOSE_H

#include "sr_cl_library.h"
#include "sr_cl_program.h"

enum { SR_CL_MOST = 16 /* platforms, and devices of each, that are looked at */, SR_CL_NAME = 256 };

typedef struct {
  cl_platform_id platform;
  cl_device_id id;
  char name[SR_CL_NAME], vendor[SR_CL_NAME], driver[SR_CL_NAME], version[SR_CL_NAME], platform_name[SR_CL_NAME],
      platform_version[SR_CL_NAME];
} sr_cl_device;

static void sr_cl_ask_text(const sr_cl *cl, cl_device_id id, cl_uint what, char *text) {
  if (cl->clGetDeviceInfo(id, what, SR_CL_NAME - 1, text, NULL)) text[0] = 0;
  text[SR_CL_NAME - 1] = 0;
}

static void sr_cl_ask_platform(const sr_cl *cl, cl_platform_id id, cl_uint what, char *text) {
  if (cl->clGetPlatformInfo(id, what, SR_CL_NAME - 1, text, NULL)) text[0] = 0;
  text[SR_CL_NAME - 1] = 0;
}

/* 0 where the driver can't say it: only limits that are known are checked. */
static uint64_t sr_cl_ask_size(const sr_cl *cl, cl_device_id id, cl_uint what) {
  size_t value = 0;
  return cl->clGetDeviceInfo(id, what, sizeof value, &value, NULL) ? 0 : value;
}

static uint64_t sr_cl_ask_long(const sr_cl *cl, cl_device_id id, cl_uint what) {
  cl_ulong value = 0;
  return cl->clGetDeviceInfo(id, what, sizeof value, &value, NULL) ? 0 : value;
}

static int sr_cl_has_half(const sr_cl *cl, cl_device_id id) {
  char text[8192] = "";
  size_t size = 0;
  if (cl->clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, sizeof text - 1, text, &size)) return 0;
  return strstr(text, "cl_khr_fp16") != NULL;
}

/* "OpenCL 3.0 PoCL..." is at least 1.2. */
static int sr_cl_new_enough(const char *version) {
  if (strncmp(version, "OpenCL ", 7) != 0 || version[7] < '1' || version[7] > '9' || version[8] != '.') return 0;
  return version[7] > '1' || (version[9] >= '2' && version[9] <= '9');
}

/* What keeps a program from a device, or null. */
static const char *sr_cl_lacks(const sr_cl *cl, const sr_cl_device *device, const sr_cl_program *program) {
  cl_device_id id = device->id;
  if (!sr_cl_new_enough(device->version)) return "OpenCL 1.2 is needed";
  if (program->half && !sr_cl_has_half(cl, id)) return "it has no float16 (cl_khr_fp16)";
  uint64_t most = sr_cl_ask_long(cl, id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
  cl_bool images = 0;
  if (cl->clGetDeviceInfo(id, CL_DEVICE_IMAGE_SUPPORT, sizeof images, &images, NULL)) images = 0;
  uint64_t width = sr_cl_ask_size(cl, id, CL_DEVICE_IMAGE2D_MAX_WIDTH);
  uint64_t height = sr_cl_ask_size(cl, id, CL_DEVICE_IMAGE2D_MAX_HEIGHT);
  uint64_t layers = sr_cl_ask_size(cl, id, CL_DEVICE_IMAGE_MAX_ARRAY_SIZE);
  for (uint32_t i = 0; i < program->memory_count; i++) {
    const sr_cl_memory *memory = &program->memories[i];
    if (!memory->width && most && memory->bytes > most) return "its buffers are too small for the kernels' pictures";
    if (memory->width && !images) return "it has no images";
    if (memory->width && ((width && memory->width > width) || (height && memory->height > height) ||
                          (layers && memory->layers > layers)))
      return "its images are too small for the kernels' pictures";
  }
  return NULL;
}

/* Whether a device will do; what it lacks is added to ``why``. */
static int sr_cl_suits(const sr_cl *cl, sr_cl_device *device, const sr_cl_program *program, const char *wanted,
                       sr_words *why) {
  sr_cl_ask_platform(cl, device->platform, CL_PLATFORM_NAME, device->platform_name);
  sr_cl_ask_platform(cl, device->platform, CL_PLATFORM_VERSION, device->platform_version);
  sr_cl_ask_text(cl, device->id, CL_DEVICE_NAME, device->name);
  sr_cl_ask_text(cl, device->id, CL_DEVICE_VENDOR, device->vendor);
  sr_cl_ask_text(cl, device->id, CL_DRIVER_VERSION, device->driver);
  sr_cl_ask_text(cl, device->id, CL_DEVICE_VERSION, device->version);
  if (wanted && !strstr(device->name, wanted) && !strstr(device->platform_name, wanted)) return 0;
  const char *lacks = sr_cl_lacks(cl, device, program);
  if (!lacks) return 1;
  sr_say(why, "; ");
  sr_say(why, device->name);
  sr_say(why, " (");
  sr_say(why, device->version);
  sr_say(why, "): ");
  sr_say(why, lacks);
  return 0;
}

/* The first of the devices whose platform or name holds ``wanted``, if it is not null; CPUs only where ``cpus``. */
static int sr_cl_choose(const sr_cl *cl, const sr_cl_program *program, const char *wanted, int cpus, sr_cl_device *device,
                        sr_words *why) {
  cl_platform_id platforms[SR_CL_MOST];
  cl_uint count = 0;
  cl_int code = cl->clGetPlatformIDs(SR_CL_MOST, platforms, &count);
  if (code == CL_PLATFORM_NOT_FOUND_KHR || (!code && !count)) {
    sr_say(why, "the OpenCL library finds no driver");
    return -1;
  }
  if (code) return sr_cl_fails(why, "listing the OpenCL drivers", code);
  sr_say(why, cpus ? "no OpenCL device will do" : "no GPU will do");
  for (int cpu = 0; cpu <= (cpus ? 1 : 0); cpu++) {
    for (cl_uint p = 0; p < count && p < SR_CL_MOST; p++) {
      cl_device_id ids[SR_CL_MOST];
      cl_uint found = 0;
      cl_bitfield type = cpu ? CL_DEVICE_TYPE_CPU : CL_DEVICE_TYPE_GPU;
      if (cl->clGetDeviceIDs(platforms[p], type, SR_CL_MOST, ids, &found)) continue;
      for (cl_uint d = 0; d < found && d < SR_CL_MOST; d++) {
        device->platform = platforms[p];
        device->id = ids[d];
        if (sr_cl_suits(cl, device, program, wanted, why)) {
          sr_say_nothing(why);
          return 0;
        }
      }
    }
  }
  device->name[0] = device->driver[0] = 0;
  if (wanted) {
    sr_say(why, "; one is wanted whose platform or name holds ");
    sr_say(why, wanted);
  }
  return -1;
}

#endif
