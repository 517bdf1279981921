/* The part of OpenCL 1.2's C interface that is used here: neither its headers nor a library are needed to build.
 * Names, layouts and numbers are those of the specification. */
#ifndef SR_CL_TYPES_H
#define SR_CL_TYPES_H

#include <stddef.h>
#include <stdint.h>

typedef int32_t cl_int;
typedef uint32_t cl_uint, cl_bool;
typedef uint64_t cl_ulong, cl_bitfield;
typedef struct _cl_platform_id *cl_platform_id;
typedef struct _cl_device_id *cl_device_id;
typedef struct _cl_context *cl_context;
typedef struct _cl_command_queue *cl_command_queue;
typedef struct _cl_mem *cl_mem;
typedef struct _cl_program *cl_program;
typedef struct _cl_kernel *cl_kernel;
typedef struct _cl_event *cl_event;
typedef void (*sr_cl_context_notify)(const char *, const void *, size_t, void *);
typedef void (*sr_cl_program_notify)(cl_program, void *);

typedef struct {
  cl_uint image_channel_order, image_channel_data_type;
} cl_image_format;

typedef struct {
  cl_uint image_type;
  size_t image_width, image_height, image_depth, image_array_size, image_row_pitch, image_slice_pitch;
  cl_uint num_mip_levels, num_samples;
  cl_mem mem_object;
} cl_image_desc;

enum { CL_SUCCESS = 0, CL_FALSE = 0, CL_TRUE = 1, CL_PLATFORM_NOT_FOUND_KHR = -1001 };
enum { CL_DEVICE_TYPE_CPU = 1 << 1, CL_DEVICE_TYPE_GPU = 1 << 2 };
enum { CL_MEM_READ_WRITE = 1 << 0, CL_MEM_READ_ONLY = 1 << 2, CL_MEM_ALLOC_HOST_PTR = 1 << 4, CL_MEM_COPY_HOST_PTR = 1 << 5 };
enum { CL_MAP_READ = 1 << 0, CL_MAP_WRITE_INVALIDATE_REGION = 1 << 2, CL_CONTEXT_PLATFORM = 0x1084 };
enum {
  CL_PLATFORM_VERSION = 0x0901,
  CL_PLATFORM_NAME = 0x0902,
  CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
  CL_DEVICE_IMAGE2D_MAX_WIDTH = 0x1011,
  CL_DEVICE_IMAGE2D_MAX_HEIGHT = 0x1012,
  CL_DEVICE_IMAGE_SUPPORT = 0x1016,
  CL_DEVICE_LOCAL_MEM_SIZE = 0x1023,
  CL_DEVICE_NAME = 0x102B,
  CL_DEVICE_VENDOR = 0x102C,
  CL_DRIVER_VERSION = 0x102D,
  CL_DEVICE_VERSION = 0x102F,
  CL_DEVICE_EXTENSIONS = 0x1030,
  CL_DEVICE_IMAGE_MAX_ARRAY_SIZE = 0x1041,
  CL_RGBA = 0x10B5,
  CL_HALF_FLOAT = 0x10DD,
  CL_FLOAT = 0x10DE,
  CL_MEM_OBJECT_IMAGE2D_ARRAY = 0x10F3,
  CL_PROGRAM_BINARY_SIZES = 0x1165,
  CL_PROGRAM_BINARIES = 0x1166,
  CL_PROGRAM_BUILD_LOG = 0x1183,
  CL_KERNEL_WORK_GROUP_SIZE = 0x11B0,
  CL_KERNEL_LOCAL_MEM_SIZE = 0x11B2
};

/* X(result, function, parameters) */
#define SR_CL_FUNCTIONS(X)                                                                                             \
  X(cl_int, clGetPlatformIDs, (cl_uint, cl_platform_id *, cl_uint *))                                                  \
  X(cl_int, clGetPlatformInfo, (cl_platform_id, cl_uint, size_t, void *, size_t *))                                    \
  X(cl_int, clGetDeviceIDs, (cl_platform_id, cl_bitfield, cl_uint, cl_device_id *, cl_uint *))                         \
  X(cl_int, clGetDeviceInfo, (cl_device_id, cl_uint, size_t, void *, size_t *))                                        \
  X(cl_context, clCreateContext,                                                                                       \
    (const intptr_t *, cl_uint, const cl_device_id *, sr_cl_context_notify, void *, cl_int *))                         \
  X(cl_int, clReleaseContext, (cl_context))                                                                            \
  X(cl_command_queue, clCreateCommandQueue, (cl_context, cl_device_id, cl_bitfield, cl_int *))                         \
  X(cl_int, clReleaseCommandQueue, (cl_command_queue))                                                                 \
  X(cl_int, clFinish, (cl_command_queue))                                                                              \
  X(cl_mem, clCreateBuffer, (cl_context, cl_bitfield, size_t, void *, cl_int *))                                       \
  X(cl_mem, clCreateImage,                                                                                             \
    (cl_context, cl_bitfield, const cl_image_format *, const cl_image_desc *, void *, cl_int *))                       \
  X(cl_int, clReleaseMemObject, (cl_mem))                                                                              \
  X(void *, clEnqueueMapBuffer,                                                                                        \
    (cl_command_queue, cl_mem, cl_bool, cl_bitfield, size_t, size_t, cl_uint, const cl_event *, cl_event *, cl_int *)) \
  X(cl_int, clEnqueueUnmapMemObject, (cl_command_queue, cl_mem, void *, cl_uint, const cl_event *, cl_event *))        \
  X(cl_program, clCreateProgramWithSource, (cl_context, cl_uint, const char **, const size_t *, cl_int *))             \
  X(cl_program, clCreateProgramWithBinary,                                                                             \
    (cl_context, cl_uint, const cl_device_id *, const size_t *, const unsigned char **, cl_int *, cl_int *))           \
  X(cl_int, clBuildProgram,                                                                                            \
    (cl_program, cl_uint, const cl_device_id *, const char *, sr_cl_program_notify, void *))                           \
  X(cl_int, clGetProgramInfo, (cl_program, cl_uint, size_t, void *, size_t *))                                         \
  X(cl_int, clGetProgramBuildInfo, (cl_program, cl_device_id, cl_uint, size_t, void *, size_t *))                      \
  X(cl_int, clReleaseProgram, (cl_program))                                                                            \
  X(cl_kernel, clCreateKernel, (cl_program, const char *, cl_int *))                                                   \
  X(cl_int, clGetKernelWorkGroupInfo, (cl_kernel, cl_device_id, cl_uint, size_t, void *, size_t *))                    \
  X(cl_int, clSetKernelArg, (cl_kernel, cl_uint, size_t, const void *))                                                \
  X(cl_int, clReleaseKernel, (cl_kernel))                                                                              \
  X(cl_int, clEnqueueNDRangeKernel,                                                                                    \
    (cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint, const cl_event *,  \
     cl_event *))

#endif
