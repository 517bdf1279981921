#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/error.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "memory.h"

namespace sr_tvm {
namespace opencl {
namespace {

using tvm::ffi::Shape;
using tvm::runtime::memory::AllocatorType;
using tvm::runtime::memory::Buffer;

constexpr size_t kPage = 4096;

// TVM's virtual machine takes all its memory of one of these, and its tensors are views of that.
class Allocator final : public tvm::runtime::memory::Allocator {
 public:
  explicit Allocator(AllocatorType type) : tvm::runtime::memory::Allocator(type) {}
  ~Allocator() override { Allocator::Clear(); }

  Buffer Alloc(tvm::Device device, size_t bytes, size_t, DLDataType) final {
    size_t size = (std::max<size_t>(bytes, 1) + kPage - 1) / kPage * kPage;
    Unit* unit = &Units::Get().At(device.device_id);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      std::vector<Memory*>& kept = kept_[{unit, size}];
      if (!kept.empty()) {
        Memory* memory = kept.back();
        kept.pop_back();
        return Wrap(device, memory);
      }
    }
    Memory* memory = Retry([&] { return Device::Get()->NewBuffer(device, size); });
    used_ += size;
    return Wrap(device, memory);
  }

  Buffer Alloc(tvm::Device device, Shape shape, DLDataType element, const std::string& scope) final {
    if (!IsTexture(tvm::ffi::String(scope))) {
      return Alloc(device, tvm::ffi::GetDataSize(shape.Product(), element), 0, element);
    }
    size_t region[3];
    RegionOf(static_cast<int>(shape.size()), shape.data(), scope, region);
    Memory* memory = Retry([&] { return Device::Get()->NewImage(device, region, element); });
    used_ += memory->bytes;
    return Wrap(device, memory);
  }

  void* CreateView(const Buffer& buffer, Shape shape, DLDataType element, const std::string& scope) final {
    auto* storage = static_cast<Memory*>(buffer.data);
    Memory* view = nullptr;
    if (IsTexture(tvm::ffi::String(scope))) {
      size_t region[3];
      RegionOf(static_cast<int>(shape.size()), shape.data(), scope, region);
      if (storage->image && std::equal(region, region + 3, storage->region) &&
          element.bits == storage->element.bits) {
        return storage;
      }
      view = Retry([&] { return Device::Get()->NewImage(buffer.device, region, element); });
    } else {
      if (!storage->image) return storage;
      size_t bytes = tvm::ffi::GetDataSize(shape.Product(), element);
      view = Retry([&] { return Device::Get()->NewBuffer(buffer.device, bytes); });
    }
    view->view = true;
    return view;
  }

  void FreeView(tvm::Device device, void* data) final {
    if (static_cast<Memory*>(data)->view) Device::Get()->FreeDataSpace(device, data);
  }

  void Free(const Buffer& buffer) final {
    auto* memory = static_cast<Memory*>(buffer.data);
    if (memory->image || type() == AllocatorType::kNaive) {
      used_ -= memory->bytes;
      Device::Get()->FreeDataSpace(buffer.device, memory);
      return;
    }
    std::lock_guard<std::mutex> lock(mutex_);
    kept_[{memory->unit, memory->bytes}].push_back(memory);
  }

  void Clear() final {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto& entry : kept_) {
      for (Memory* memory : entry.second) {
        used_ -= memory->bytes;
        Device::Get()->FreeDataSpace({kDLOpenCL, memory->unit->number}, memory);
      }
    }
    kept_.clear();
  }

  size_t UsedMemory() const final { return used_; }

 protected:
  bool AllowMemoryScope(const std::string& scope) const final {
    return scope.empty() || scope == "global" || IsTexture(tvm::ffi::String(scope));
  }

 private:
  Buffer Wrap(tvm::Device device, Memory* memory) {
    Buffer buffer;
    buffer.data = memory;
    buffer.size = memory->bytes;
    buffer.device = device;
    buffer.alloc_type = type();
    return buffer;
  }

  // Without what is kept there may be enough memory.
  template <typename Make>
  Memory* Retry(Make make) {
    try {
      return make();
    } catch (const tvm::ffi::Error&) {
      Clear();
      return make();
    }
  }

  std::mutex mutex_;
  std::map<std::pair<Unit*, size_t>, std::vector<Memory*>> kept_;
  std::atomic<size_t> used_{0};
};

}  // namespace

tvm::runtime::memory::Allocator* NewAllocator(AllocatorType type) { return new Allocator(type); }

}  // namespace opencl
}  // namespace sr_tvm
