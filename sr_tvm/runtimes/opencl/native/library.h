// The system's OpenCL library, opened when it is first needed, and its errors in words.
#pragma once
#include <string>

#include "opencl_types.h"

namespace sr_tvm {
namespace opencl {

struct Library {
#define SR_TVM_DECLARE(Result, name, parameters) Result(*name) parameters = nullptr;
  SR_TVM_OPENCL_FUNCTIONS(SR_TVM_DECLARE)
#undef SR_TVM_DECLARE
  std::string path;     // what was opened
  std::string problem;  // why there is none; empty where there is one

  Library();
};

// The one library of this process. Its functions may be called only where `problem` is empty.
const Library& Api();

// "CL_OUT_OF_RESOURCES (-5)".
std::string ErrorName(cl_int code);

// Throws unless `code` is CL_SUCCESS. `doing` completes "OpenCL: ... fails: CL_...", and names kernel and device.
void Check(cl_int code, const std::string& doing);

}  // namespace opencl
}  // namespace sr_tvm
