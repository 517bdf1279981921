// The bytes of a module of kind "opencl", as TVM's code generator writes them: numbers of the machine, little-endian.
#pragma once
#include <tvm/ffi/error.h>

#include <cstring>
#include <string>

namespace sr_tvm {
namespace opencl {

class Reader {
 public:
  Reader(const char* data, size_t size) : at_(data), end_(data + size) {}

  template <typename Number>
  Number Take() {
    Number value;
    std::memcpy(&value, Bytes(sizeof(value)), sizeof(value));
    return value;
  }

  // How many elements follow, of at least one byte each.
  uint64_t Count() {
    auto count = Take<uint64_t>();
    if (count > static_cast<uint64_t>(end_ - at_)) Damaged();
    return count;
  }

  std::string Text() {
    uint64_t size = Count();
    return std::string(Bytes(size), size);
  }

  void End() const {
    if (at_ != end_) Damaged();
  }

 private:
  const char* Bytes(size_t size) {
    if (size > static_cast<size_t>(end_ - at_)) Damaged();
    const char* begin = at_;
    at_ += size;
    return begin;
  }

  [[noreturn]] void Damaged() const {
    TVM_FFI_THROW(ValueError) << "OpenCL: the module is damaged, or of another version of TVM; compile the model again";
    TVM_FFI_UNREACHABLE();
  }

  const char* at_;
  const char* end_;
};

class Writer {
 public:
  std::string bytes;

  template <typename Number>
  void Put(Number value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  void Text(const char* data, size_t size) {
    Put<uint64_t>(size);
    bytes.append(data, size);
  }
};

}  // namespace opencl
}  // namespace sr_tvm
