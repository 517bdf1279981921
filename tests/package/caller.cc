// Two packaged networks in one C++ program: neither's symbols meet the other's.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "one.h"
#include "two.h"

#define RUN(net, NET, result)                                                                                    \
  do {                                                                                                           \
    net##_network *network = nullptr;                                                                            \
    std::size_t bytes = 0;                                                                                       \
    if (net##_create(NET##_VERSION, 2, &network)) return 1;                                                      \
    if (net##_workspace_bytes(height, width, 2, NET##_TILES, &bytes)) return 1;                                  \
    std::size_t size = (bytes + NET##_ALIGNMENT - 1) / NET##_ALIGNMENT * NET##_ALIGNMENT;                        \
    std::unique_ptr<void, void (*)(void *)> memory(std::aligned_alloc(NET##_ALIGNMENT, size), std::free);        \
    if (net##_run_f32(network, x.data(), result.data(), 1, height, width, memory.get(), bytes)) return 1;        \
    net##_destroy(network);                                                                                      \
  } while (false)

int main() {
  const int height = 33, width = 47;
  std::vector<float> x(3 * height * width), first(x.size() * 4), second(x.size() * 4);
  for (std::size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(i % 101) / 101.0F;
  RUN(one, ONE, first);
  RUN(two, TWO, second);
  std::fwrite(first.data(), sizeof(float), first.size(), stdout);
  std::fwrite(second.data(), sizeof(float), second.size(), stdout);
  return 0;
}
