#include "device.h"

#include <tvm/ffi/error.h>
#include <tvm/ffi/string.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace sr_tvm {
namespace opencl {
namespace {

namespace json = tvm::ffi::json;

template <typename Value>
Value Ask(cl_device_id id, cl_uint what) {
  Value value{};
  // What a driver can't say is zero: only limits that are known are checked.
  if (Api().clGetDeviceInfo(id, what, sizeof(value), &value, nullptr) != CL_SUCCESS) return Value{};
  return value;
}

template <typename Call>
std::string Text(Call call) {
  size_t size = 0;
  if (call(0, nullptr, &size) != CL_SUCCESS || size == 0) return "";
  std::string text(size, '\0');
  if (call(size, text.data(), nullptr) != CL_SUCCESS) return "";
  return text.substr(0, text.find('\0'));
}

std::string AskText(cl_device_id id, cl_uint what) {
  return Text([&](size_t size, void* at, size_t* needed) { return Api().clGetDeviceInfo(id, what, size, at, needed); });
}

// "OpenCL 3.0 PoCL..." is {3, 0}; {0, 0} where it is no version.
std::pair<int, int> VersionOf(const std::string& text) {
  int major = 0, minor = 0;
  if (std::sscanf(text.c_str(), "OpenCL %d.%d", &major, &minor) != 2) return {0, 0};
  return {major, minor};
}

}  // namespace

Unit::Unit(int number, cl_platform_id platform, cl_device_id id, bool gpu)
    : number(number), platform(platform), id(id), gpu(gpu) {
  platform_name = Text([&](size_t size, void* at, size_t* needed) {
    return Api().clGetPlatformInfo(platform, CL_PLATFORM_NAME, size, at, needed);
  });
  name = AskText(id, CL_DEVICE_NAME);
  vendor = AskText(id, CL_DEVICE_VENDOR);
  version = AskText(id, CL_DEVICE_VERSION);
  driver = AskText(id, CL_DRIVER_VERSION);
  extensions = AskText(id, CL_DEVICE_EXTENSIONS);
  max_work_group = Ask<size_t>(id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
  local_bytes = Ask<cl_ulong>(id, CL_DEVICE_LOCAL_MEM_SIZE);
  max_buffer_bytes = Ask<cl_ulong>(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
  global_bytes = Ask<cl_ulong>(id, CL_DEVICE_GLOBAL_MEM_SIZE);
  cache_bytes = Ask<cl_ulong>(id, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE);
  compute_units = Ask<cl_uint>(id, CL_DEVICE_MAX_COMPUTE_UNITS);
  clock_mhz = Ask<cl_uint>(id, CL_DEVICE_MAX_CLOCK_FREQUENCY);
  float16 = extensions.find("cl_khr_fp16") != std::string::npos;
  images = Ask<cl_bool>(id, CL_DEVICE_IMAGE_SUPPORT) != 0;
  image_width = Ask<size_t>(id, CL_DEVICE_IMAGE2D_MAX_WIDTH);
  image_height = Ask<size_t>(id, CL_DEVICE_IMAGE2D_MAX_HEIGHT);
  image_layers = Ask<size_t>(id, CL_DEVICE_IMAGE_MAX_ARRAY_SIZE);
  size_t items[16] = {};  // as many as the device has dimensions: 3, and by the specification perhaps more
  if (Api().clGetDeviceInfo(id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof(items), items, nullptr) == CL_SUCCESS) {
    std::copy(items, items + 3, max_work_items);
  }
}

std::string Unit::Title() const { return "opencl:" + std::to_string(number) + " (" + name + ")"; }

void Unit::Open() {
  if (context_) return;
  cl_int code = CL_SUCCESS;
  const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, reinterpret_cast<cl_context_properties>(platform),
                                              0};
  cl_context made = Api().clCreateContext(properties, 1, &id, nullptr, nullptr, &code);
  Check(code, "opening " + Title());
  context_ = made;
}

cl_context Unit::Context() {
  std::lock_guard<std::mutex> lock(mutex_);
  Open();
  return context_;
}

cl_command_queue Unit::Queue() {
  Open();
  if (!queue_) ReplaceQueue(profiling_ ? static_cast<cl_bitfield>(CL_QUEUE_PROFILING_ENABLE) : 0);
  return queue_;
}

void Unit::ReplaceQueue(cl_bitfield properties) {
  if (queue_) {
    cl_int code = Api().clFinish(queue_);
    Check(code, "waiting for " + Title());
    Api().clReleaseCommandQueue(queue_);
    queue_ = nullptr;
  }
  cl_int code = CL_SUCCESS;
  cl_command_queue made = Api().clCreateCommandQueue(context_, id, properties, &code);
  Check(code, "making a command queue of " + Title());
  queue_ = made;
}

void Unit::Finish() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (queue_) Check(Api().clFinish(queue_), "waiting for what was started on " + Title());
}

size_t Unit::BeginProfiling() {
  std::lock_guard<std::mutex> lock(mutex_);
  Open();
  if (profiling_++ == 0) {
    try {
      ReplaceQueue(CL_QUEUE_PROFILING_ENABLE);
    } catch (...) {
      --profiling_;
      throw;
    }
  }
  return events_.size();
}

int64_t Unit::Nanoseconds(size_t first) {
  std::lock_guard<std::mutex> lock(mutex_);
  Check(Api().clFinish(Queue()), "waiting for what is timed on " + Title());
  int64_t sum = 0;
  for (size_t i = first; i < events_.size(); ++i) {
    cl_ulong begin = 0, end = 0;
    Check(Api().clGetEventProfilingInfo(events_[i], CL_PROFILING_COMMAND_START, sizeof(begin), &begin, nullptr),
          "reading a time of " + Title());
    Check(Api().clGetEventProfilingInfo(events_[i], CL_PROFILING_COMMAND_END, sizeof(end), &end, nullptr),
          "reading a time of " + Title());
    sum += static_cast<int64_t>(end - begin);
  }
  return sum;
}

void Unit::EndProfiling() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (--profiling_ > 0) return;
  for (cl_event event : events_) Api().clReleaseEvent(event);
  events_.clear();
  // A device that was lost is told of by the next command, not here, where a timer ends.
  if (queue_ && Api().clFinish(queue_) == CL_SUCCESS) {
    Api().clReleaseCommandQueue(queue_);
    queue_ = nullptr;
  }
}

json::Object Unit::Json() const {
  json::Object value;
  auto number_of = [](cl_ulong x) { return static_cast<int64_t>(x); };
  value.Set("number", static_cast<int64_t>(number));
  value.Set("platform", tvm::ffi::String(platform_name));
  value.Set("name", tvm::ffi::String(name));
  value.Set("vendor", tvm::ffi::String(vendor));
  value.Set("version", tvm::ffi::String(version));
  value.Set("driver", tvm::ffi::String(driver));
  value.Set("gpu", gpu);
  value.Set("compute_units", number_of(compute_units));
  value.Set("max_work_group", number_of(max_work_group));
  value.Set("local_bytes", number_of(local_bytes));
  value.Set("global_bytes", number_of(global_bytes));
  value.Set("max_buffer_bytes", number_of(max_buffer_bytes));
  value.Set("float16", float16);
  value.Set("images", images);
  value.Set("image_width", number_of(image_width));
  value.Set("image_height", number_of(image_height));
  return value;
}

bool Units::Forked() {
  static const pid_t opener = getpid();
  return getpid() != opener;
}

Units& Units::Get() {
  static Units* units = new Units();
  if (!Forked()) return *units;
  // A driver's threads and handles don't survive a fork: a call would hang or crash.
  static Units* forked = new Units("it was in use before this process was forked; start a process of its own");
  return *forked;
}

Units::Units(const std::string& problem) : problem(problem) {}

Units::Units() {
  Forked();
  problem = Api().problem;
  if (!problem.empty()) return;
  const char* wanted = std::getenv("SR_TVM_OPENCL_DEVICE");
  wanted_ = wanted ? wanted : "";
  cl_uint count = 0;
  cl_int code = Api().clGetPlatformIDs(0, nullptr, &count);
  if (code == CL_PLATFORM_NOT_FOUND_KHR || (code == CL_SUCCESS && count == 0)) {
    problem = Api().path + " finds no driver";
    return;
  }
  if (code != CL_SUCCESS) {
    problem = Api().path + " can't list its drivers: " + ErrorName(code);
    return;
  }
  std::vector<cl_platform_id> platforms(count);
  Api().clGetPlatformIDs(count, platforms.data(), nullptr);
  for (cl_bitfield type : {CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_CPU}) {
    for (cl_platform_id platform : platforms) Add(platform, type);
  }
  if (!units_.empty()) return;
  problem = "no device";
  if (!wanted_.empty()) problem += " whose platform and name contain SR_TVM_OPENCL_DEVICE, '" + wanted_ + "'";
  for (const std::string& line : ignored) problem += "; " + line;
}

void Units::Add(cl_platform_id platform, cl_bitfield type) {
  cl_uint count = 0;
  if (Api().clGetDeviceIDs(platform, type, 0, nullptr, &count) != CL_SUCCESS || count == 0) return;
  std::vector<cl_device_id> ids(count);
  if (Api().clGetDeviceIDs(platform, type, count, ids.data(), nullptr) != CL_SUCCESS) return;
  for (cl_device_id id : ids) {
    // An emulator may say that it is GPU and CPU at once.
    bool known = false;
    for (const Unit& unit : units_) known = known || unit.id == id;
    if (known) continue;
    units_.emplace_back(static_cast<int>(units_.size()), platform, id, type == CL_DEVICE_TYPE_GPU);
    const Unit& unit = units_.back();
    std::string title = unit.platform_name + " / " + unit.name;
    if (VersionOf(unit.version) < std::make_pair(1, 2)) {
      ignored.push_back(title + " has '" + unit.version + "': OpenCL 1.2 is needed; install a newer driver");
      units_.pop_back();
    } else if (title.find(wanted_) == std::string::npos) {
      units_.pop_back();
    }
  }
}

Unit& Units::At(int number) {
  if (!problem.empty()) TVM_FFI_THROW(RuntimeError) << "OpenCL: " << problem;
  if (!Has(number)) {
    TVM_FFI_THROW(RuntimeError) << "OpenCL: there is no device opencl:" << number << "; this machine has "
                                << units_.size() << ", numbered from 0";
  }
  return units_[number];
}

json::Object Units::Json() const {
  json::Object value;
  json::Array units, old;
  for (const Unit& unit : units_) units.push_back(unit.Json());
  for (const std::string& line : ignored) old.push_back(tvm::ffi::String(line));
  value.Set("library", tvm::ffi::String(Api().path));
  value.Set("problem", tvm::ffi::String(problem));
  value.Set("ignored", old);
  value.Set("devices", units);
  return value;
}

}  // namespace opencl
}  // namespace sr_tvm
