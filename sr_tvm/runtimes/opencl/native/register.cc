// What TVM looks up by name, registered when the library is loaded: the device, its allocator, its timer, its modules.
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>
#include <tvm/runtime/timer.h>

#include <string>

#include "memory.h"
#include "module.h"

namespace sr_tvm {
namespace opencl {
namespace {

using tvm::ffi::Any;
using tvm::ffi::PackedArgs;

// Sums what the device's own clock says of each kernel and copy between Start and Stop; gaps between them don't count.
class Timer final : public tvm::runtime::TimerNode {
 public:
  explicit Timer(tvm::Device device) : unit_(Units::Get().At(device.device_id)) {}
  ~Timer() {
    if (running_) unit_.EndProfiling();
  }

  void Start() final {
    first_ = unit_.BeginProfiling();
    running_ = true;
  }

  void Stop() final {
    nanoseconds_ = unit_.Nanoseconds(first_);
    running_ = false;
    unit_.EndProfiling();
  }

  int64_t SyncAndGetElapsedNanos() final { return nanoseconds_; }

  TVM_FFI_DECLARE_OBJECT_INFO_FINAL("sr_tvm.opencl.Timer", Timer, tvm::runtime::TimerNode);

 private:
  Unit& unit_;
  size_t first_ = 0;
  bool running_ = false;
  int64_t nanoseconds_ = 0;
};

tvm::Device DeviceOf(const Any& type, const Any& number) {
  return {static_cast<DLDeviceType>(type.cast<int>()), number.cast<int>()};
}

// Textures inside of a function, by TVM's calls for them: type, number, scope ..., then width, height and layers, and
// the bits of a pixel.
void* NewTexture(PackedArgs args) {
  const auto* shape = static_cast<const int64_t*>(args[6].cast<void*>());
  const size_t region[3] = {static_cast<size_t>(shape[0]), static_cast<size_t>(shape[1]),
                            static_cast<size_t>(shape[2])};
  auto bits = static_cast<uint8_t>(args[7].cast<int64_t>() / 4);
  return Device::Get()->NewImage(DeviceOf(args[0], args[1]), region, DLDataType{kDLFloat, bits, 1});
}

TVM_FFI_STATIC_INIT_BLOCK() {
  // A TVM that was built with OpenCL, or this library loaded before: what is there stays.
  if (tvm::ffi::Function::GetGlobal("device_api.opencl")) return;
  tvm::ffi::reflection::GlobalDef()
      .def_packed("device_api.opencl",
                  [](PackedArgs, Any* answer) {
                    *answer = static_cast<void*>(static_cast<tvm::runtime::DeviceAPI*>(Device::Get()));
                  })
      .def_packed("device_api.opencl.alloc_nd", [](PackedArgs args, Any* answer) { *answer = NewTexture(args); })
      .def_packed("device_api.opencl.free_nd",
                  [](PackedArgs args, Any* answer) {
                    Device::Get()->FreeDataSpace(DeviceOf(args[0], args[1]), args[3].cast<void*>());
                    *answer = static_cast<int64_t>(0);
                  })
      .def_packed("DeviceAllocator.opencl",
                  [](PackedArgs args, Any* answer) {
                    auto type = static_cast<tvm::runtime::memory::AllocatorType>(args[1].cast<int>());
                    *answer = static_cast<void*>(NewAllocator(type));
                  })
      .def("runtime.timer.opencl",
           [](tvm::Device device) { return tvm::runtime::Timer(tvm::ffi::make_object<Timer>(device)); })
      .def("ffi.Module.load_from_bytes.opencl", LoadModule)
      .def("ffi.Module.create.opencl",
           [](tvm::ffi::Bytes code, tvm::ffi::String format, FunctionInfos infos,
              tvm::ffi::Map<tvm::ffi::String, tvm::ffi::String>) {
             return NewModule(std::move(code), std::move(format), std::move(infos));
           })
      // Ours: the library and its devices as JSON, or why there are none.
      .def("sr_tvm.opencl.devices", [] { return tvm::ffi::json::Stringify(Units::Get().Json()); });
}

}  // namespace
}  // namespace opencl
}  // namespace sr_tvm
