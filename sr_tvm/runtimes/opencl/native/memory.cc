#include "memory.h"

#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/error.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace sr_tvm {
namespace opencl {

using tvm::ffi::Optional;
using tvm::ffi::String;

namespace {

size_t BytesOf(int ndim, const int64_t* shape, DLDataType element) {
  size_t count = 1;
  for (int i = 0; i < ndim; ++i) count *= static_cast<size_t>(shape[i]);
  return tvm::ffi::GetDataSize(count, element);
}

std::string Megabytes(size_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MB"; }

const size_t kOrigin[3] = {0, 0, 0};

constexpr const char* kSmaller = "compile it for a smaller picture, and give it large ones in tiles";

// An image is copied as a whole.
void CheckWhole(const Memory& memory, size_t offset, size_t bytes) {
  if (!memory.image || (offset == 0 && bytes == memory.bytes)) return;
  TVM_FFI_THROW(RuntimeError) << "OpenCL: an image of " << memory.bytes << " bytes is copied as a whole; " << bytes
                              << " bytes at " << offset << " were asked for";
}

void Read(const Memory& from, size_t offset, size_t bytes, void* to) {
  CheckWhole(from, offset, bytes);
  from.unit->Enqueue(
      [&](cl_command_queue queue, cl_event* event) {
        if (!from.image) {
          return Api().clEnqueueReadBuffer(queue, from.object, CL_TRUE, offset, bytes, to, 0, nullptr, event);
        }
        return Api().clEnqueueReadImage(queue, from.object, CL_TRUE, kOrigin, from.region, 0, 0, to, 0, nullptr, event);
      },
      [&] { return "copying " + std::to_string(bytes) + " bytes to the host"; });
}

void Write(const void* from, const Memory& to, size_t offset, size_t bytes) {
  CheckWhole(to, offset, bytes);
  to.unit->Enqueue(
      [&](cl_command_queue queue, cl_event* event) {
        if (!to.image) {
          return Api().clEnqueueWriteBuffer(queue, to.object, CL_TRUE, offset, bytes, from, 0, nullptr, event);
        }
        return Api().clEnqueueWriteImage(queue, to.object, CL_TRUE, kOrigin, to.region, 0, 0, from, 0, nullptr, event);
      },
      [&] { return "copying " + std::to_string(bytes) + " bytes from the host"; });
}

void Move(const Memory& from, size_t from_offset, const Memory& to, size_t to_offset, size_t bytes) {
  if (from.unit != to.unit) {  // each device has a context of its own
    std::vector<char> host(bytes);
    Read(from, from_offset, bytes, host.data());
    Write(host.data(), to, to_offset, bytes);
    return;
  }
  CheckWhole(from, from_offset, bytes);
  CheckWhole(to, to_offset, bytes);
  from.unit->Enqueue(
      [&](cl_command_queue queue, cl_event* event) {
        const Library& api = Api();
        if (from.image && to.image) {
          return api.clEnqueueCopyImage(queue, from.object, to.object, kOrigin, kOrigin, to.region, 0, nullptr, event);
        }
        if (to.image) {
          return api.clEnqueueCopyBufferToImage(queue, from.object, to.object, from_offset, kOrigin, to.region, 0,
                                                nullptr, event);
        }
        if (from.image) {
          return api.clEnqueueCopyImageToBuffer(queue, from.object, to.object, kOrigin, from.region, to_offset, 0,
                                                nullptr, event);
        }
        return api.clEnqueueCopyBuffer(queue, from.object, to.object, from_offset, to_offset, bytes, 0, nullptr, event);
      },
      [&] { return "copying " + std::to_string(bytes) + " bytes"; });
}

}  // namespace

// TVM's rule: of the axes before the last, which is the four channels, those from `separator` on form the width, the
// one before it the height, and the rest the layers.
void RegionOf(int ndim, const int64_t* shape, const std::string& scope, size_t region[3]) {
  int separator = ndim - 2;
  if (scope == "global.texture-weight") {
    separator = 1;
  } else if (scope == "global.texture-nhwc") {
    separator = 2;
  } else if (scope != "global.texture") {
    TVM_FFI_THROW(ValueError) << "OpenCL: unknown memory scope '" << scope
                              << "'; known are global.texture, global.texture-weight, global.texture-nhwc";
  }
  if (separator < 1 || separator >= ndim || shape[ndim - 1] != 4) {
    std::string text;
    for (int i = 0; i < ndim; ++i) text += (i ? "x" : "") + std::to_string(shape[i]);
    TVM_FFI_THROW(ValueError) << "OpenCL: a tensor of shape " << text << " is no texture of scope " << scope
                              << "; its last axis must be the 4 channels of a pixel, and enough axes come before it";
  }
  region[0] = region[1] = region[2] = 1;
  for (int i = 0; i < ndim - 1; ++i) {
    region[i < separator - 1 ? 2 : i < separator ? 1 : 0] *= static_cast<size_t>(shape[i]);
  }
}

bool IsTexture(const Optional<String>& scope) {
  return scope.has_value() && std::string(scope.value()).find("texture") != std::string::npos;
}

Device* Device::Get() {
  static Device* device = new Device();  // TVM may use it until the process ends
  return device;
}

int& Device::Current() {
  static thread_local int current = 0;
  return current;
}

void Device::GetAttr(tvm::Device device, tvm::runtime::DeviceAttrKind kind, tvm::ffi::Any* answer) {
  using namespace tvm::runtime;
  if (kind == kExist) {
    *answer = static_cast<int64_t>(Units::Get().Has(device.device_id));
    return;
  }
  const Unit& unit = Units::Get().At(device.device_id);
  auto number = [&](cl_ulong value) { *answer = static_cast<int64_t>(value); };
  switch (kind) {
    case kMaxThreadsPerBlock:
      return number(unit.max_work_group);
    case kWarpSize:
      return number(1);  // OpenCL 1.2 has no word for it, and TVM's own runtime says 1
    case kMaxSharedMemoryPerBlock:
      return number(unit.local_bytes);
    case kComputeVersion: {
      std::string version = unit.version.substr(std::min(unit.version.size(), sizeof("OpenCL ") - 1));
      *answer = String(version.substr(0, version.find(' ')));
      return;
    }
    case kDeviceName:
      *answer = String(unit.name);
      return;
    case kMaxClockRate:
      return number(static_cast<cl_ulong>(unit.clock_mhz) * 1000);  // kHz
    case kMultiProcessorCount:
      return number(unit.compute_units);
    case kMaxThreadDimensions:
      *answer = String("[" + std::to_string(unit.max_work_items[0]) + ", " + std::to_string(unit.max_work_items[1]) +
                       ", " + std::to_string(unit.max_work_items[2]) + "]");
      return;
    case kApiVersion:
      return number(120);
    case kDriverVersion:
      *answer = String(unit.driver);
      return;
    case kL2CacheSizeBytes:
      return number(unit.cache_bytes);
    case kTotalGlobalMemory:
      return number(unit.global_bytes);
    default:
      return;
  }
}

size_t Device::GetDataSize(const DLTensor& tensor, Optional<String>) {
  return BytesOf(tensor.ndim, tensor.shape, tensor.dtype);
}

void* Device::AllocDataSpace(tvm::Device device, size_t bytes, size_t, DLDataType) { return NewBuffer(device, bytes); }

void* Device::AllocDataSpace(tvm::Device device, int ndim, const int64_t* shape, DLDataType element,
                             Optional<String> scope) {
  if (!IsTexture(scope)) return NewBuffer(device, BytesOf(ndim, shape, element));
  size_t region[3];
  RegionOf(ndim, shape, scope.value(), region);
  return NewImage(device, region, element);
}

void Device::FreeDataSpace(tvm::Device, void* data) {
  auto* memory = static_cast<Memory*>(data);
  // Called where tensors end, so it may not throw. Commands that still use the memory are waited for by the driver.
  if (!Units::Forked()) Api().clReleaseMemObject(memory->object);
  delete memory;
}

Memory* Device::NewBuffer(tvm::Device device, size_t bytes) {
  Unit& unit = Units::Get().At(device.device_id);
  if (unit.max_buffer_bytes && bytes > unit.max_buffer_bytes) {
    TVM_FFI_THROW(RuntimeError) << "OpenCL: a buffer of " << Megabytes(bytes) << " is wanted; " << unit.Title()
                                << " allocates at most " << Megabytes(unit.max_buffer_bytes) << " at once; " << kSmaller;
  }
  auto memory = std::make_unique<Memory>();
  memory->unit = &unit;
  memory->bytes = std::max<size_t>(bytes, 1);  // OpenCL knows no empty buffer
  cl_int code = CL_SUCCESS;
  memory->object = Api().clCreateBuffer(unit.Context(), CL_MEM_READ_WRITE, memory->bytes, nullptr, &code);
  if (code != CL_SUCCESS) Check(code, "allocating " + Megabytes(bytes) + " on " + unit.Title());
  return memory.release();
}

Memory* Device::NewImage(tvm::Device device, const size_t region[3], DLDataType element) {
  Unit& unit = Units::Get().At(device.device_id);
  std::string what = "an image of " + std::to_string(region[0]) + "x" + std::to_string(region[1]) + " pixels and " +
                     std::to_string(region[2]) + " layers";
  if (!unit.images) TVM_FFI_THROW(RuntimeError) << "OpenCL: " << unit.Title() << " has no images; use buffers";
  if (region[0] > unit.image_width || region[1] > unit.image_height || region[2] > unit.image_layers) {
    TVM_FFI_THROW(RuntimeError) << "OpenCL: " << what << " is wanted; " << unit.Title() << " has at most "
                                << unit.image_width << "x" << unit.image_height << " and " << unit.image_layers
                                << " layers; " << kSmaller;
  }
  if (element.code != kDLFloat || (element.bits != 16 && element.bits != 32)) {
    TVM_FFI_THROW(ValueError) << "OpenCL: textures hold float16 or float32, not " << tvm::ffi::DLDataTypeToString(element);
  }
  auto memory = std::make_unique<Memory>();
  memory->unit = &unit;
  memory->image = true;
  memory->element = DLDataType{element.code, element.bits, 1};
  std::copy(region, region + 3, memory->region);
  memory->bytes = region[0] * region[1] * region[2] * 4 * (element.bits / 8);
  const cl_image_format format = {CL_RGBA, element.bits == 16 ? CL_HALF_FLOAT : CL_FLOAT};
  cl_image_desc shape = {};
  shape.image_type = CL_MEM_OBJECT_IMAGE2D_ARRAY;
  shape.image_width = region[0];
  shape.image_height = region[1];
  shape.image_array_size = region[2];
  cl_int code = CL_SUCCESS;
  memory->object = Api().clCreateImage(unit.Context(), CL_MEM_READ_WRITE, &format, &shape, nullptr, &code);
  if (code != CL_SUCCESS) Check(code, "making " + what + " on " + unit.Title());
  return memory.release();
}

void Device::CopyDataFromTo(DLTensor* from, DLTensor* to, TVMStreamHandle) {
  size_t bytes = tvm::ffi::GetDataSize(*from);
  if (bytes != tvm::ffi::GetDataSize(*to)) {
    TVM_FFI_THROW(ValueError) << "OpenCL: a tensor of " << bytes << " bytes can't be copied to one of "
                              << tvm::ffi::GetDataSize(*to);
  }
  if (!tvm::ffi::IsContiguous(*from) || !tvm::ffi::IsContiguous(*to)) {
    TVM_FFI_THROW(ValueError) << "OpenCL: only contiguous tensors can be copied";
  }
  if (bytes == 0) return;
  bool from_here = from->device.device_type == kDLOpenCL, to_here = to->device.device_type == kDLOpenCL;
  auto at = [](DLTensor* tensor) { return static_cast<char*>(tensor->data) + tensor->byte_offset; };
  if (from_here && to_here) {
    Move(*static_cast<Memory*>(from->data), from->byte_offset, *static_cast<Memory*>(to->data), to->byte_offset, bytes);
  } else if (from_here && to->device.device_type == kDLCPU) {
    Read(*static_cast<Memory*>(from->data), from->byte_offset, bytes, at(to));
  } else if (to_here && from->device.device_type == kDLCPU) {
    Write(at(from), *static_cast<Memory*>(to->data), to->byte_offset, bytes);
  } else {
    TVM_FFI_THROW(RuntimeError) << "OpenCL: copies go between OpenCL devices and the CPU only";
  }
}

void Device::StreamSync(tvm::Device device, TVMStreamHandle) { Units::Get().At(device.device_id).Finish(); }

}  // namespace opencl
}  // namespace sr_tvm
