// The whole library as one translation unit: TVM's headers are most of the build, and are read once.
#include "allocator.cc"
#include "device.cc"
#include "library.cc"
#include "memory.cc"
#include "module.cc"
#include "register.cc"
