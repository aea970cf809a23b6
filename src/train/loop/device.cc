#include "train/loop/device.h"

#include <fmt/format.h>
#include <omp.h>

#include "base/runtime.h"

namespace msa::train {

Result<torch::Device> parse_device(const std::string& name) {
  const auto unknown = [&] {
    return Error{Code::invalid_argument,
                 fmt::format("device '{}': is not known; use cpu, cuda or cuda:N", name)};
  };
  try {
    const torch::Device device(name);
    if (device.is_cpu()) return device;
    if (!device.is_cuda()) return unknown();
    if (!torch::cuda::is_available())
      return Error{Code::unsupported,
                   fmt::format("device '{}': this libtorch finds no GPU; use --device cpu", name)};
    if (device.has_index() && static_cast<size_t>(device.index()) >= torch::cuda::device_count())
      return Error{Code::not_found, fmt::format("device '{}': there are {} GPUs; choose one of "
                                                "them",
                                                name, torch::cuda::device_count())};
    return device;
  } catch (const c10::Error&) {
    return unknown();
  }
}

void set_threads(int threads) {
  const int count = resolve_threads(threads);
  at::set_num_threads(count);
  omp_set_num_threads(count);
}

}  // namespace msa::train
