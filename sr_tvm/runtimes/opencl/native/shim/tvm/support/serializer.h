// TVM's headers name this file, and its wheel does not ship it. Declarations are enough: nothing here is called.
#pragma once
#include <tvm/support/io.h>

namespace tvm {
namespace support {

template <typename T>
struct Serializer {
  static void Write(Stream* stream, const T& value);
  static bool Read(Stream* stream, T* value);
};

}  // namespace support
}  // namespace tvm
