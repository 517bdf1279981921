// Device memory: buffers and images, copies, and TVM's device interface on top of them.
#pragma once
#include <tvm/runtime/device_api.h>
#include <tvm/runtime/memory/memory_manager.h>

#include <string>

#include "device.h"

namespace sr_tvm {
namespace opencl {

// What the data pointer of a tensor on an OpenCL device points at.
struct Memory {
  cl_mem object = nullptr;
  Unit* unit = nullptr;
  size_t bytes = 0;
  bool image = false;
  bool view = false;               // made for one tensor over a storage that has another form
  size_t region[3] = {0, 0, 0};    // of an image: width, height, layers, in pixels of four channels
  DLDataType element = {0, 0, 0};  // of an image: what a channel is
};

// Whether TVM's memory scope means an image: "global.texture", "global.texture-weight", "global.texture-nhwc".
bool IsTexture(const tvm::ffi::Optional<tvm::ffi::String>& scope);

// Width, height and layers of the image that a tensor of this shape and texture scope is.
void RegionOf(int ndim, const int64_t* shape, const std::string& scope, size_t region[3]);

class Device final : public tvm::runtime::DeviceAPI {
 public:
  static Device* Get();
  // The device that this thread was told to use by TVM's host code, 0 at first.
  static int& Current();

  void SetDevice(tvm::Device device) final { Current() = device.device_id; }
  void GetAttr(tvm::Device device, tvm::runtime::DeviceAttrKind kind, tvm::ffi::Any* answer) final;
  size_t GetDataSize(const DLTensor& tensor, tvm::ffi::Optional<tvm::ffi::String> scope) final;
  void* AllocDataSpace(tvm::Device device, size_t bytes, size_t alignment, DLDataType element) final;
  void* AllocDataSpace(tvm::Device device, int ndim, const int64_t* shape, DLDataType element,
                       tvm::ffi::Optional<tvm::ffi::String> scope) final;
  void FreeDataSpace(tvm::Device device, void* data) final;
  void CopyDataFromTo(DLTensor* from, DLTensor* to, TVMStreamHandle stream) final;
  void StreamSync(tvm::Device device, TVMStreamHandle stream) final;

  Memory* NewBuffer(tvm::Device device, size_t bytes);
  // An array of two-dimensional images, as TVM's code for textures wants it; `element` is float16 or float32.
  Memory* NewImage(tvm::Device device, const size_t region[3], DLDataType element);
};

// Buffers are kept when they are freed and given out again, images are not. Made by TVM, one for a device and kind.
tvm::runtime::memory::Allocator* NewAllocator(tvm::runtime::memory::AllocatorType type);

}  // namespace opencl
}  // namespace sr_tvm
