/* A network on an OpenCL device: everything is made and bound once, so that a run starts kernels and nothing else. */
#ifndef SR_CL_DEVICE_H
#define SR_CL_DEVICE_H

#include <pthread.h>

#include "sr_cl_build.h"

typedef struct {
  sr_cl cl;
  sr_cl_device device;
  cl_context context;
  cl_command_queue queue;
  cl_program program;
  cl_mem *memories;   /* as many as the program has; null where there is no device */
  cl_kernel *kernels; /* one for each launch, with its arguments */
  pthread_mutex_t lock; /* of queue and memories, and of ``why`` once it runs */
  int32_t works, has_lock, cache;
  sr_words why; /* it does not work */
} sr_gpu;

static void sr_gpu_stop(sr_gpu *gpu) {
  const sr_cl_program *p = &sr_the_cl_program;
  if (gpu->queue) gpu->cl.clFinish(gpu->queue);
  for (uint32_t i = 0; gpu->kernels && i < p->launch_count; i++)
    if (gpu->kernels[i]) gpu->cl.clReleaseKernel(gpu->kernels[i]);
  for (uint32_t i = 0; gpu->memories && i < p->memory_count; i++)
    if (gpu->memories[i]) gpu->cl.clReleaseMemObject(gpu->memories[i]);
  if (gpu->program) gpu->cl.clReleaseProgram(gpu->program);
  if (gpu->queue) gpu->cl.clReleaseCommandQueue(gpu->queue);
  if (gpu->context) gpu->cl.clReleaseContext(gpu->context);
  if (gpu->has_lock) pthread_mutex_destroy(&gpu->lock);
  free(gpu->kernels);
  free(gpu->memories);
  gpu->kernels = NULL;
  gpu->memories = NULL;
  gpu->program = NULL;
  gpu->queue = NULL;
  gpu->context = NULL;
  gpu->works = gpu->has_lock = 0;
}

static cl_mem sr_gpu_memory(const sr_gpu *gpu, uint32_t number, cl_int *code) {
  const sr_cl_memory *memory = &sr_the_cl_program.memories[number];
  if (memory->width) {
    cl_image_format format = {CL_RGBA, memory->bits == 16 ? CL_HALF_FLOAT : CL_FLOAT};
    cl_image_desc shape = {0};
    shape.image_type = CL_MEM_OBJECT_IMAGE2D_ARRAY;
    shape.image_width = memory->width;
    shape.image_height = memory->height;
    shape.image_array_size = memory->layers;
    return gpu->cl.clCreateImage(gpu->context, CL_MEM_READ_WRITE, &format, &shape, NULL, code);
  }
  cl_bitfield flags = CL_MEM_READ_WRITE;
  /* Constants are copied from the library, which stays as it is. */
  union {
    const uint8_t *given;
    void *taken;
  } from = {NULL};
  if (memory->kind == SR_CL_CONSTANT) {
    from.given = sr_the_cl_program.weights + memory->place;
    flags = CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR;
  } else if (number == SR_CL_INPUT || number == SR_CL_OUTPUT) {
    flags = CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR; /* a phone's CPU and GPU have it in common: mapping copies nothing */
  }
  return gpu->cl.clCreateBuffer(gpu->context, flags, (size_t)memory->bytes, from.taken, code);
}

/* Whether a kernel's work-groups are such as the device runs. */
static int sr_gpu_check_groups(sr_gpu *gpu, cl_kernel kernel, const sr_cl_launch *launch) {
  size_t items = (size_t)launch->items[0] * launch->items[1] * launch->items[2], most = 0;
  cl_ulong bytes = 0;
  uint64_t local = sr_cl_ask_long(&gpu->cl, gpu->device.id, CL_DEVICE_LOCAL_MEM_SIZE);
  if (gpu->cl.clGetKernelWorkGroupInfo(kernel, gpu->device.id, CL_KERNEL_WORK_GROUP_SIZE, sizeof most, &most, NULL)) most = 0;
  if (gpu->cl.clGetKernelWorkGroupInfo(kernel, gpu->device.id, CL_KERNEL_LOCAL_MEM_SIZE, sizeof bytes, &bytes, NULL)) bytes = 0;
  if ((!most || items <= most) && (!local || bytes <= local)) return 0;
  sr_say(&gpu->why, gpu->device.name);
  sr_say(&gpu->why, " can't run kernel ");
  sr_say(&gpu->why, launch->kernel);
  if (most && items > most) {
    sr_say(&gpu->why, ": it has work-groups of ");
    sr_say_number(&gpu->why, (int64_t)items);
    sr_say(&gpu->why, ", and the most are ");
    sr_say_number(&gpu->why, (int64_t)most);
  } else {
    sr_say(&gpu->why, ": it takes more local memory than there is");
  }
  return -1;
}

static int sr_gpu_make_kernel(sr_gpu *gpu, uint32_t number) {
  const sr_cl_launch *launch = &sr_the_cl_program.launches[number];
  cl_int code = 0;
  cl_kernel kernel = gpu->cl.clCreateKernel(gpu->program, launch->kernel, &code);
  if (code || !kernel) return sr_cl_fails(&gpu->why, "making a kernel", code);
  gpu->kernels[number] = kernel;
  for (uint32_t a = 0; a < launch->count; a++) {
    code = gpu->cl.clSetKernelArg(kernel, a, sizeof(cl_mem), &gpu->memories[launch->arguments[a]]);
    if (code) return sr_cl_fails(&gpu->why, "giving a kernel its memory", code);
  }
  return sr_gpu_check_groups(gpu, kernel, launch);
}

/* Starts all kernels of a run, one after another. */
static int sr_gpu_launch(sr_gpu *gpu) {
  for (uint32_t i = 0; i < sr_the_cl_program.launch_count; i++) {
    const sr_cl_launch *launch = &sr_the_cl_program.launches[i];
    size_t global[3], local[3];
    for (int d = 0; d < 3; d++) {
      local[d] = launch->items[d];
      global[d] = (size_t)launch->groups[d] * local[d];
    }
    cl_int code = gpu->cl.clEnqueueNDRangeKernel(gpu->queue, gpu->kernels[i], 3, NULL, global, local, 0, NULL, NULL);
    if (code) return sr_cl_fails(&gpu->why, "starting a kernel", code);
  }
  return 0;
}

/* Maps the input to write all of it, or the output to read it, after what runs; null if that fails. */
static float *sr_gpu_map(sr_gpu *gpu, uint32_t number) {
  cl_int code = 0;
  cl_bitfield way = number == SR_CL_INPUT ? CL_MAP_WRITE_INVALIDATE_REGION : CL_MAP_READ;
  void *mapped = gpu->cl.clEnqueueMapBuffer(gpu->queue, gpu->memories[number], CL_TRUE, way, 0,
                                            (size_t)sr_the_cl_program.memories[number].bytes, 0, NULL, NULL, &code);
  if (!code && mapped) return mapped;
  sr_cl_fails(&gpu->why, number == SR_CL_INPUT ? "giving the device a picture" : "getting the picture that the kernels made",
              code);
  return NULL;
}

static int sr_gpu_unmap(sr_gpu *gpu, uint32_t number, float *mapped) {
  cl_int code = gpu->cl.clEnqueueUnmapMemObject(gpu->queue, gpu->memories[number], mapped, 0, NULL, NULL);
  return code ? sr_cl_fails(&gpu->why, "giving memory back to the device", code) : 0;
}

/* Runs once, for kernels that a driver compiles at their first start, and to see that they do. */
static int sr_gpu_try(sr_gpu *gpu) {
  float *mapped = sr_gpu_map(gpu, SR_CL_INPUT);
  if (!mapped) return -1;
  memset(mapped, 0, (size_t)sr_the_cl_program.memories[SR_CL_INPUT].bytes);
  if (sr_gpu_unmap(gpu, SR_CL_INPUT, mapped) || sr_gpu_launch(gpu)) return -1;
  cl_int code = gpu->cl.clFinish(gpu->queue);
  return code ? sr_cl_fails(&gpu->why, "running the kernels", code) : 0;
}

static int sr_gpu_make(sr_gpu *gpu, const char *name, const char *library, const char *wanted, const char *folder, int cpus) {
  const sr_cl_program *p = &sr_the_cl_program;
  cl_int code = 0;
  if (sr_cl_open(&gpu->cl, library, &gpu->why)) return -1;
  if (sr_cl_choose(&gpu->cl, p, wanted, cpus, &gpu->device, &gpu->why)) return -1;
  const intptr_t properties[] = {CL_CONTEXT_PLATFORM, (intptr_t)gpu->device.platform, 0};
  gpu->context = gpu->cl.clCreateContext(properties, 1, &gpu->device.id, NULL, NULL, &code);
  if (code) gpu->context = NULL;
  if (!gpu->context) return sr_cl_fails(&gpu->why, "opening the device", code);
  gpu->queue = gpu->cl.clCreateCommandQueue(gpu->context, gpu->device.id, 0, &code);
  if (code) gpu->queue = NULL;
  if (!gpu->queue) return sr_cl_fails(&gpu->why, "making a command queue", code);
  gpu->memories = calloc(p->memory_count, sizeof *gpu->memories);
  gpu->kernels = calloc(p->launch_count, sizeof *gpu->kernels);
  if (!gpu->memories || !gpu->kernels || pthread_mutex_init(&gpu->lock, NULL)) {
    sr_say(&gpu->why, "no memory left");
    return -1;
  }
  gpu->has_lock = 1;
  gpu->program = sr_cl_make_program(&gpu->cl, gpu->context, &gpu->device, p, folder, name, &gpu->cache, &gpu->why);
  if (!gpu->program) return -1;
  for (uint32_t i = 0; i < p->memory_count; i++) {
    gpu->memories[i] = sr_gpu_memory(gpu, i, &code);
    if (code) gpu->memories[i] = NULL;
    if (!gpu->memories[i]) return sr_cl_fails(&gpu->why, "allocating the device's memory", code);
  }
  for (uint32_t i = 0; i < p->launch_count; i++)
    if (sr_gpu_make_kernel(gpu, i)) return -1;
  return sr_gpu_try(gpu);
}

/* Opens a device and makes all of a network there. Where that fails ``works`` is 0, and ``why`` says why. */
static void sr_gpu_start(sr_gpu *gpu, const char *name, const char *library, const char *wanted, const char *folder, int cpus) {
  if (sr_gpu_make(gpu, name, library, wanted, folder, cpus))
    sr_gpu_stop(gpu);
  else
    gpu->works = 1;
}

#endif
