#include "engine/machine.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "base/runtime.h"

namespace msa {
namespace {

// The value of the first line "key : value" of /proc/cpuinfo; empty where there is none.
std::string cpuinfo(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

// The instruction sets that matter for matrix products.
std::string matrix_instructions() {
  std::istringstream flags(cpuinfo("flags"));
  std::string found;
  for (std::string flag; flags >> flag;)
    if (flag == "avx2" || flag == "avx512f" || flag == "avx512_bf16" || flag == "avx512_vnni" ||
        flag == "amx_bf16" || flag == "amx_int8")
      found += (found.empty() ? "" : " ") + flag;
  return found;
}

}  // namespace

std::string describe_machine() {
  std::string name = cpuinfo("model name");
  if (name.empty()) name = "unknown processor";
  if (const std::string family = cpuinfo("cpu family"); !family.empty())
    name += fmt::format(" (family {}, model {})", family, cpuinfo("model\t"));
  const double memory = static_cast<double>(::sysconf(_SC_PHYS_PAGES)) *
                        static_cast<double>(::sysconf(_SC_PAGE_SIZE));
  const std::string instructions = matrix_instructions();
  return fmt::format("{}, {} cores, {}{:.0f} GiB memory", name, resolve_threads(0),
                     instructions.empty() ? "" : instructions + ", ", memory / (1u << 30));
}

uint64_t peak_resident_bytes() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

}  // namespace msa
