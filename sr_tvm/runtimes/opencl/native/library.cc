#include "library.h"

#include <dlfcn.h>
#include <tvm/ffi/error.h>

#include <cstdlib>
#include <vector>

namespace sr_tvm {
namespace opencl {
namespace {

// Loaders of the desktop first, then where Android's vendors put their drivers.
const std::vector<std::string> kCandidates = {
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

std::string LastError() {
  const char* said = dlerror();
  return said ? said : "no reason given";
}

}  // namespace

Library::Library() {
  const char* named = std::getenv("SR_TVM_OPENCL");
  std::vector<std::string> candidates = named && *named ? std::vector<std::string>{named} : kCandidates;
  void* handle = nullptr;
  Dl_info info;
  void* loaded = named && *named ? nullptr : dlsym(RTLD_DEFAULT, "clGetPlatformIDs");
  if (loaded && dladdr(loaded, &info) && info.dli_fname) {  // preloaded into the process, as Oclgrind does
    handle = dlopen(info.dli_fname, RTLD_NOW | RTLD_LOCAL);
    path = info.dli_fname;
  }
  for (const std::string& candidate : candidates) {
    if (handle) break;
    if ((handle = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL))) {
      path = candidate;
      break;
    }
    if (named && *named) problem = "SR_TVM_OPENCL names a library that can't be opened: " + LastError();
  }
  if (!handle) {
    if (problem.empty()) {
      problem = "no OpenCL library is installed; looked for";
      for (const std::string& candidate : candidates) problem += (&candidate == &candidates[0] ? " " : ", ") + candidate;
    }
    return;
  }
  problem.clear();
#define SR_TVM_RESOLVE(Result, name, parameters)                                            \
  name = reinterpret_cast<Result(*) parameters>(dlsym(handle, #name));                      \
  if (!name && problem.empty()) problem = path + " has no " #name "; OpenCL 1.2 is needed";
  SR_TVM_OPENCL_FUNCTIONS(SR_TVM_RESOLVE)
#undef SR_TVM_RESOLVE
}

const Library& Api() {
  static Library* library = new Library();  // never closed: drivers don't survive it
  return *library;
}

std::string ErrorName(cl_int code) {
  const char* name = "unknown error";
  switch (code) {
#define SR_TVM_NAME(name_, code_) \
  case code_:                     \
    name = #name_;                \
    break;
    SR_TVM_NAME(CL_DEVICE_NOT_FOUND, -1)
    SR_TVM_NAME(CL_DEVICE_NOT_AVAILABLE, -2)
    SR_TVM_NAME(CL_COMPILER_NOT_AVAILABLE, -3)
    SR_TVM_NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE, -4)
    SR_TVM_NAME(CL_OUT_OF_RESOURCES, -5)
    SR_TVM_NAME(CL_OUT_OF_HOST_MEMORY, -6)
    SR_TVM_NAME(CL_PROFILING_INFO_NOT_AVAILABLE, -7)
    SR_TVM_NAME(CL_MEM_COPY_OVERLAP, -8)
    SR_TVM_NAME(CL_IMAGE_FORMAT_MISMATCH, -9)
    SR_TVM_NAME(CL_IMAGE_FORMAT_NOT_SUPPORTED, -10)
    SR_TVM_NAME(CL_BUILD_PROGRAM_FAILURE, -11)
    SR_TVM_NAME(CL_MAP_FAILURE, -12)
    SR_TVM_NAME(CL_MISALIGNED_SUB_BUFFER_OFFSET, -13)
    SR_TVM_NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, -14)
    SR_TVM_NAME(CL_COMPILE_PROGRAM_FAILURE, -15)
    SR_TVM_NAME(CL_LINKER_NOT_AVAILABLE, -16)
    SR_TVM_NAME(CL_LINK_PROGRAM_FAILURE, -17)
    SR_TVM_NAME(CL_INVALID_VALUE, -30)
    SR_TVM_NAME(CL_INVALID_DEVICE_TYPE, -31)
    SR_TVM_NAME(CL_INVALID_PLATFORM, -32)
    SR_TVM_NAME(CL_INVALID_DEVICE, -33)
    SR_TVM_NAME(CL_INVALID_CONTEXT, -34)
    SR_TVM_NAME(CL_INVALID_QUEUE_PROPERTIES, -35)
    SR_TVM_NAME(CL_INVALID_COMMAND_QUEUE, -36)
    SR_TVM_NAME(CL_INVALID_HOST_PTR, -37)
    SR_TVM_NAME(CL_INVALID_MEM_OBJECT, -38)
    SR_TVM_NAME(CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, -39)
    SR_TVM_NAME(CL_INVALID_IMAGE_SIZE, -40)
    SR_TVM_NAME(CL_INVALID_SAMPLER, -41)
    SR_TVM_NAME(CL_INVALID_BINARY, -42)
    SR_TVM_NAME(CL_INVALID_BUILD_OPTIONS, -43)
    SR_TVM_NAME(CL_INVALID_PROGRAM, -44)
    SR_TVM_NAME(CL_INVALID_PROGRAM_EXECUTABLE, -45)
    SR_TVM_NAME(CL_INVALID_KERNEL_NAME, -46)
    SR_TVM_NAME(CL_INVALID_KERNEL_DEFINITION, -47)
    SR_TVM_NAME(CL_INVALID_KERNEL, -48)
    SR_TVM_NAME(CL_INVALID_ARG_INDEX, -49)
    SR_TVM_NAME(CL_INVALID_ARG_VALUE, -50)
    SR_TVM_NAME(CL_INVALID_ARG_SIZE, -51)
    SR_TVM_NAME(CL_INVALID_KERNEL_ARGS, -52)
    SR_TVM_NAME(CL_INVALID_WORK_DIMENSION, -53)
    SR_TVM_NAME(CL_INVALID_WORK_GROUP_SIZE, -54)
    SR_TVM_NAME(CL_INVALID_WORK_ITEM_SIZE, -55)
    SR_TVM_NAME(CL_INVALID_GLOBAL_OFFSET, -56)
    SR_TVM_NAME(CL_INVALID_EVENT_WAIT_LIST, -57)
    SR_TVM_NAME(CL_INVALID_EVENT, -58)
    SR_TVM_NAME(CL_INVALID_OPERATION, -59)
    SR_TVM_NAME(CL_INVALID_BUFFER_SIZE, -61)
    SR_TVM_NAME(CL_INVALID_GLOBAL_WORK_SIZE, -63)
    SR_TVM_NAME(CL_INVALID_PROPERTY, -64)
    SR_TVM_NAME(CL_INVALID_IMAGE_DESCRIPTOR, -65)
    SR_TVM_NAME(CL_INVALID_COMPILER_OPTIONS, -66)
    SR_TVM_NAME(CL_INVALID_LINKER_OPTIONS, -67)
    SR_TVM_NAME(CL_PLATFORM_NOT_FOUND_KHR, -1001)
#undef SR_TVM_NAME
  }
  return std::string(name) + " (" + std::to_string(code) + ")";
}

void Check(cl_int code, const std::string& doing) {
  if (code == CL_SUCCESS) return;
  std::string advice;
  switch (code) {
    case CL_DEVICE_NOT_AVAILABLE:
    case CL_OUT_OF_RESOURCES:
    case CL_INVALID_CONTEXT:
    case CL_INVALID_COMMAND_QUEUE:
      advice = "; the device was lost, or a kernel wanted more of it than there is: start a new process";
      break;
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_HOST_MEMORY:
      advice = "; there is no memory left: use smaller tensors";
      break;
    default:
      break;
  }
  TVM_FFI_THROW(RuntimeError) << "OpenCL: " << doing << " fails: " << ErrorName(code) << advice;
}

}  // namespace opencl
}  // namespace sr_tvm
