// The OpenCL devices of this machine, numbered: GPUs of all platforms first, then CPUs.
#pragma once
#include <tvm/ffi/extra/json.h>

#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "library.h"

namespace sr_tvm {
namespace opencl {

// What a device says of itself, and its command queue, which is in order. Context and queue are made when first used.
class Unit {
 public:
  int number = 0;
  cl_platform_id platform = nullptr;
  cl_device_id id = nullptr;
  std::string platform_name, name, vendor, version, driver, extensions;
  size_t max_work_group = 0, max_work_items[3] = {0, 0, 0};
  size_t image_width = 0, image_height = 0, image_layers = 0;
  cl_ulong local_bytes = 0, max_buffer_bytes = 0, global_bytes = 0, cache_bytes = 0;
  cl_uint compute_units = 0, clock_mhz = 0;
  bool images = false, float16 = false, gpu = false;

  Unit(int number, cl_platform_id platform, cl_device_id id, bool gpu);

  cl_context Context();

  // Put a command into the queue: `command(queue, event)` enqueues it, and where `event` is not null gives its event.
  // `doing()` says what it is, for an error.
  template <typename Command, typename Doing>
  void Enqueue(Command command, Doing doing) {
    std::lock_guard<std::mutex> lock(mutex_);
    cl_event event = nullptr;
    cl_int code = command(Queue(), profiling_ ? &event : nullptr);
    if (code != CL_SUCCESS) Check(code, doing() + " on " + Title());
    if (event) events_.push_back(event);
  }

  // Wait until all that was enqueued is done.
  void Finish();

  // From the first Begin to the last End the queue records what each command takes. Timers may overlap.
  size_t BeginProfiling();
  // Wait, and sum the nanoseconds of the commands that were enqueued since BeginProfiling gave `first`.
  int64_t Nanoseconds(size_t first);
  void EndProfiling();

  // "opencl:0 (NAME)".
  std::string Title() const;
  tvm::ffi::json::Object Json() const;

 private:
  cl_command_queue Queue();
  void Open();
  void ReplaceQueue(cl_bitfield properties);

  std::mutex mutex_;
  cl_context context_ = nullptr;
  cl_command_queue queue_ = nullptr;
  int profiling_ = 0;
  std::vector<cl_event> events_;
};

class Units {
 public:
  // The devices of this process, found on the first call.
  static Units& Get();
  // Whether this process was forked from one that had found them: then no call of the driver is safe.
  static bool Forked();

  std::string problem;               // why there are none, empty where there are some
  std::vector<std::string> ignored;  // devices that are too old, and why

  bool Has(int number) const { return number >= 0 && static_cast<size_t>(number) < units_.size(); }
  // Throws where there is no such device.
  Unit& At(int number);
  tvm::ffi::json::Object Json() const;

 private:
  Units();
  explicit Units(const std::string& problem);
  void Add(cl_platform_id platform, cl_bitfield type);

  std::deque<Unit> units_;
  std::string wanted_;
};

}  // namespace opencl
}  // namespace sr_tvm
