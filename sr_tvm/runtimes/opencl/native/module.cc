#include "module.h"

#include <tvm/ffi/cast.h>
#include <tvm/ffi/dtype.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

#include "memory.h"
#include "serial.h"

namespace sr_tvm {
namespace opencl {
namespace {

using tvm::ffi::Any;
using tvm::ffi::Bytes;
using tvm::ffi::Optional;
using tvm::ffi::PackedArgs;
using tvm::ffi::String;
using tvm::runtime::FunctionInfo;
using tvm::runtime::LaunchParamConfig;
using tvm::runtime::ThreadWorkLoad;

constexpr const char* kFunction = "// Function: ";  // TVM's line before each kernel
constexpr const char* kOptions = "// Options: ";    // ours, inside of a kernel's text: options for the driver's compiler

// What is known of a kernel without a device.
struct Kernel {
  std::string name, source, options;
  std::vector<DLDataType> arguments;
  size_t parameters = 0;  // that the caller gives: arguments, then launch parameters
  LaunchParamConfig launch;
};

// A kernel compiled for one device. Its arguments are set one caller at a time.
struct Compiled {
  cl_program program = nullptr;
  cl_kernel kernel = nullptr;
  size_t max_work_group = 0;
  cl_ulong local_bytes = 0;
};

std::string Line(const std::string& text, const char* mark) {
  size_t begin = text.find(mark);
  if (begin == std::string::npos) return "";
  begin += std::strlen(mark);
  return text.substr(begin, text.find('\n', begin) - begin);
}

// Each kernel's own text; TVM writes them one after another.
std::map<std::string, std::string> Split(const std::string& code) {
  std::map<std::string, std::string> sources;
  for (size_t begin = code.find(kFunction); begin != std::string::npos;) {
    size_t next = code.find(kFunction, begin + 1);
    std::string text = code.substr(begin, next == std::string::npos ? next : next - begin);
    sources[Line(text, kFunction)] = text;
    begin = next;
  }
  return sources;
}

// The log of the driver's compiler: what is wrong in one line, then all of it, indented.
std::string LogText(const std::string& log) {
  std::istringstream lines(log);
  std::string line, first, error, all;
  while (std::getline(lines, line)) {
    line = line.substr(0, line.find('\0'));
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (first.empty()) first = line;
    if (error.empty() && line.find("error") != std::string::npos) error = line;
    all += "\n  " + line;
  }
  return first.empty() ? "" : ": " + (error.empty() ? first : error) + all;
}

std::string Times(const size_t* sizes, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += (i ? "x" : "") + std::to_string(sizes[i]);
  return text;
}

class Module final : public tvm::ffi::ModuleObj {
 public:
  Module(Bytes code, String format, FunctionInfos infos)
      : code_(std::move(code)), format_(std::move(format)), infos_(std::move(infos)) {
    if (format_ != "cl") {
      TVM_FFI_THROW(ValueError) << "OpenCL: modules hold OpenCL C ('cl'); this one holds '" << std::string(format_) << "'";
    }
    std::map<std::string, std::string> sources = Split(std::string(code_.data(), code_.size()));
    for (const auto& entry : infos_) {
      std::string name = entry.first;
      auto source = sources.find(name);
      if (source == sources.end()) {
        TVM_FFI_THROW(ValueError) << "OpenCL: the module has no source of its kernel " << name;
      }
      kernels_[name] = Describe(name, source->second, entry.second);
    }
  }

  ~Module() {
    if (Units::Forked()) return;
    for (auto& entry : compiled_) Release(entry.second);
  }

  const char* kind() const final { return "opencl"; }
  int GetPropertyMask() const final { return tvm::ffi::Module::kBinarySerializable | tvm::ffi::Module::kRunnable; }

  String InspectSource(const String& format) const final {
    return format.empty() || format == "cl" ? String(code_.data(), code_.size()) : String();
  }

  Bytes SaveToBytes() const final {
    Writer out;
    auto text = [&](const String& value) { out.Text(value.data(), value.size()); };
    text(format_);
    out.Put<uint64_t>(infos_.size());
    for (const auto& entry : infos_) {
      text(entry.first);
      text(entry.second->name);
      out.Put<uint64_t>(entry.second->arg_types.size());
      for (DLDataType type : entry.second->arg_types) {
        out.Put(type.code);
        out.Put(type.bits);
        out.Put(type.lanes);
      }
      out.Put<uint64_t>(entry.second->launch_param_tags.size());
      for (const String& tag : entry.second->launch_param_tags) text(tag);
      out.Put<uint64_t>(entry.second->arg_extra_tags.size());
      for (auto tag : entry.second->arg_extra_tags) out.Put(static_cast<int32_t>(tag));
    }
    out.Text(code_.data(), code_.size());
    return Bytes(std::move(out.bytes));
  }

  Optional<tvm::ffi::Function> GetFunction(const String& name) final {
    auto found = kernels_.find(name);
    if (found == kernels_.end()) return std::nullopt;
    const Kernel* kernel = &found->second;
    auto self = tvm::ffi::GetObjectPtr<tvm::ffi::Object>(this);  // keeps the kernel alive
    return tvm::ffi::Function::FromPacked([self, this, kernel](PackedArgs args, Any*) { Launch(*kernel, args); });
  }

 private:
  static Kernel Describe(const std::string& name, const std::string& source, const FunctionInfo& info) {
    Kernel kernel;
    kernel.name = name;
    kernel.source = source;
    kernel.options = Line(source, kOptions);
    for (DLDataType type : info->arg_types) {
      bool number = (type.code == kDLInt || type.code == kDLUInt) && type.bits >= 8 && type.bits <= 64;
      bool real = type.code == kDLFloat && (type.bits == 32 || type.bits == 64);
      if (type.lanes != 1 || !(number || real || type.code == kDLOpaqueHandle)) {
        TVM_FFI_THROW(ValueError) << "OpenCL: kernel " << name << " has an argument of type "
                                  << tvm::ffi::DLDataTypeToString(type)
                                  << "; buffers, integers, float32 and float64 can be passed";
      }
      kernel.arguments.push_back(type);
    }
    kernel.parameters = kernel.arguments.size() + info->launch_param_tags.size();
    kernel.launch.Init(kernel.arguments.size(), info->launch_param_tags);
    if (kernel.launch.use_cluster_launch() || kernel.launch.use_cooperative_launch() ||
        kernel.launch.use_programtic_dependent_launch()) {
      TVM_FFI_THROW(ValueError) << "OpenCL: kernel " << name << " wants a launch that only CUDA has";
    }
    return kernel;
  }

  static void Release(const Compiled& compiled) {
    if (compiled.kernel) Api().clReleaseKernel(compiled.kernel);
    if (compiled.program) Api().clReleaseProgram(compiled.program);
  }

  const Compiled& Compile(const Kernel& kernel, Unit& unit) {
    auto key = std::make_pair(kernel.name, unit.number);
    auto found = compiled_.find(key);
    if (found != compiled_.end()) return found->second;
    Compiled made;
    try {
      Build(kernel, unit, &made);
    } catch (...) {
      Release(made);
      throw;
    }
    return compiled_[key] = made;
  }

  static void Build(const Kernel& kernel, Unit& unit, Compiled* made) {
    const std::string where = "kernel " + kernel.name + " for " + unit.Title();
    const char* source = kernel.source.data();
    size_t size = kernel.source.size();
    cl_int code = CL_SUCCESS;
    made->program = Api().clCreateProgramWithSource(unit.Context(), 1, &source, &size, &code);
    Check(code, "giving the driver " + where);
    const char* more = std::getenv("SR_TVM_OPENCL_OPTIONS");
    std::string options = kernel.options + (more && *more ? std::string(" ") + more : "");
    code = Api().clBuildProgram(made->program, 1, &unit.id, options.c_str(), nullptr, nullptr);
    if (code != CL_SUCCESS) {
      size_t length = 0;
      std::string log;
      if (Api().clGetProgramBuildInfo(made->program, unit.id, CL_PROGRAM_BUILD_LOG, 0, nullptr, &length) == CL_SUCCESS) {
        log.resize(length);
        Api().clGetProgramBuildInfo(made->program, unit.id, CL_PROGRAM_BUILD_LOG, length, log.data(), nullptr);
      }
      TVM_FFI_THROW(RuntimeError) << "OpenCL: compiling " << where
                                  << (options.empty() ? "" : " with options '" + options + "'")
                                  << " fails: " << ErrorName(code) << LogText(log);
    }
    made->kernel = Api().clCreateKernel(made->program, kernel.name.c_str(), &code);
    Check(code, "making " + where);
    Api().clGetKernelWorkGroupInfo(made->kernel, unit.id, CL_KERNEL_WORK_GROUP_SIZE, sizeof(made->max_work_group),
                                   &made->max_work_group, nullptr);
    Api().clGetKernelWorkGroupInfo(made->kernel, unit.id, CL_KERNEL_LOCAL_MEM_SIZE, sizeof(made->local_bytes),
                                   &made->local_bytes, nullptr);
  }

  static void CheckFits(const Kernel& kernel, const Compiled& compiled, const Unit& unit, const ThreadWorkLoad& load) {
    size_t dimensions = kernel.launch.work_dim(), items = 1;
    for (size_t i = 0; i < dimensions; ++i) items *= load.block_dim(i);
    size_t most = unit.max_work_group;
    if (compiled.max_work_group) most = std::min(most, compiled.max_work_group);
    const std::string group = Times(load.work_size + 3, dimensions);
    if (items > most) {
      TVM_FFI_THROW(RuntimeError) << "OpenCL: kernel " << kernel.name << " wants work-groups of " << group << " = "
                                  << items << " work-items; " << unit.Title() << " runs at most " << most
                                  << " of this kernel; compile it with smaller ones";
    }
    for (size_t i = 0; i < dimensions; ++i) {
      if (unit.max_work_items[i] && load.block_dim(i) > unit.max_work_items[i]) {
        TVM_FFI_THROW(RuntimeError) << "OpenCL: kernel " << kernel.name << " wants work-groups of " << group << "; "
                                    << unit.Title() << " has at most " << Times(unit.max_work_items, 3);
      }
    }
    cl_ulong bytes = std::max<cl_ulong>(compiled.local_bytes, load.dyn_shmem_size);
    if (unit.local_bytes && bytes > unit.local_bytes) {
      TVM_FFI_THROW(RuntimeError) << "OpenCL: kernel " << kernel.name << " wants " << bytes
                                  << " bytes of local memory; " << unit.Title() << " has " << unit.local_bytes
                                  << "; compile it with smaller tiles";
    }
  }

  static void SetArguments(const Kernel& kernel, cl_kernel compiled, const Unit& unit, PackedArgs args) {
    const auto* raw = reinterpret_cast<const TVMFFIAny*>(args.data());
    for (size_t i = 0; i < kernel.arguments.size(); ++i) {
      DLDataType type = kernel.arguments[i];
      cl_int code = CL_SUCCESS;
      auto index = static_cast<cl_uint>(i);
      if (type.code == kDLOpaqueHandle) {
        cl_mem object = nullptr;
        if (const auto* memory = static_cast<const Memory*>(raw[i].v_ptr)) {
          object = memory->object;
          if (memory->unit != &unit) {
            TVM_FFI_THROW(RuntimeError) << "OpenCL: kernel " << kernel.name << " runs on " << unit.Title()
                                        << ", and its argument " << i << " is on " << memory->unit->Title();
          }
        }
        code = Api().clSetKernelArg(compiled, index, sizeof(object), &object);
      } else if (type.code == kDLFloat && type.bits == 32) {
        auto value = static_cast<float>(raw[i].v_float64);
        code = Api().clSetKernelArg(compiled, index, sizeof(value), &value);
      } else {  // float64, or an integer, of which the low bytes come first
        code = Api().clSetKernelArg(compiled, index, type.bits / 8, &raw[i].v_int64);
      }
      if (code != CL_SUCCESS) Check(code, "setting argument " + std::to_string(i) + " of kernel " + kernel.name);
    }
  }

  void Launch(const Kernel& kernel, PackedArgs args) {
    if (static_cast<size_t>(args.size()) != kernel.parameters) {
      TVM_FFI_THROW(ValueError) << "OpenCL: kernel " << kernel.name << " takes " << kernel.parameters
                                << " arguments and launch parameters; " << args.size() << " were given";
    }
    Unit& unit = Units::Get().At(Device::Current());
    ThreadWorkLoad load = kernel.launch.Extract(args);
    auto dimensions = static_cast<cl_uint>(kernel.launch.work_dim());
    std::lock_guard<std::mutex> lock(mutex_);
    const Compiled& compiled = Compile(kernel, unit);
    CheckFits(kernel, compiled, unit, load);
    SetArguments(kernel, compiled.kernel, unit, args);
    size_t global[3];
    for (size_t i = 0; i < 3; ++i) global[i] = load.grid_dim(i) * load.block_dim(i);
    unit.Enqueue(
        [&](cl_command_queue queue, cl_event* event) {
          return Api().clEnqueueNDRangeKernel(queue, compiled.kernel, dimensions, nullptr, global, load.work_size + 3, 0,
                                              nullptr, event);
        },
        [&] {
          return "starting kernel " + kernel.name + " in " + Times(global, dimensions) + " work-items, groups of " +
                 Times(load.work_size + 3, dimensions) + ",";
        });
  }

  Bytes code_;
  String format_;
  FunctionInfos infos_;
  std::map<std::string, Kernel> kernels_;
  std::mutex mutex_;  // of what follows
  std::map<std::pair<std::string, int>, Compiled> compiled_;
};

}  // namespace

tvm::ffi::Module NewModule(Bytes code, String format, FunctionInfos infos) {
  return tvm::ffi::Module(tvm::ffi::make_object<Module>(std::move(code), std::move(format), std::move(infos)));
}

tvm::ffi::Module LoadModule(Bytes bytes) {
  Reader in(bytes.data(), bytes.size());
  String format(in.Text());
  FunctionInfos infos;
  for (uint64_t count = in.Count(); count; --count) {
    String key(in.Text()), name(in.Text());
    tvm::ffi::Array<DLDataType> types;
    for (uint64_t left = in.Count(); left; --left) {
      DLDataType type;
      type.code = in.Take<uint8_t>();
      type.bits = in.Take<uint8_t>();
      type.lanes = in.Take<uint16_t>();
      types.push_back(type);
    }
    tvm::ffi::Array<String> tags;
    for (uint64_t left = in.Count(); left; --left) tags.push_back(String(in.Text()));
    tvm::ffi::Array<tvm::runtime::ArgExtraTags> extra;
    for (uint64_t left = in.Count(); left; --left) {
      extra.push_back(static_cast<tvm::runtime::ArgExtraTags>(in.Take<int32_t>()));
    }
    infos.Set(key, FunctionInfo(name, types, tags, extra));
  }
  Bytes code(in.Text());
  in.End();
  return NewModule(std::move(code), std::move(format), std::move(infos));
}

}  // namespace opencl
}  // namespace sr_tvm
