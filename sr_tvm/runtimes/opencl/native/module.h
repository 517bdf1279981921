// Modules of kind "opencl": kernels as OpenCL C, compiled by the driver when they are first called.
#pragma once
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/string.h>

#include "thread_storage_scope.h"  // TVM's own reading of launch parameters, of src/runtime in its wheel

namespace sr_tvm {
namespace opencl {

using FunctionInfos = tvm::ffi::Map<tvm::ffi::String, tvm::runtime::FunctionInfo>;

// Makes a module of OpenCL C. Throws where it is not what TVM's code generator writes.
tvm::ffi::Module NewModule(tvm::ffi::Bytes code, tvm::ffi::String format, FunctionInfos infos);

// Reads the bytes that TVM's code generator, and SaveToBytes, write. Throws where they are damaged.
tvm::ffi::Module LoadModule(tvm::ffi::Bytes bytes);

}  // namespace opencl
}  // namespace sr_tvm
