// What every stage is given by its caller: threads, logger, seed. Passed, never global.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace msa {

enum class LogLevel { debug, info, warning, error };

// Where messages go. The sink may be called from any thread, one call at a time is not promised.
class Logger {
 public:
  using Sink = std::function<void(LogLevel, std::string_view)>;
  Logger() = default;  // drops everything
  explicit Logger(Sink sink, LogLevel least = LogLevel::info)
      : sink_(std::move(sink)), least_(least) {}

  void log(LogLevel level, std::string_view message) const {
    if (sink_ && level >= least_) sink_(level, message);
  }
  void debug(std::string_view message) const { log(LogLevel::debug, message); }
  void info(std::string_view message) const { log(LogLevel::info, message); }
  void warning(std::string_view message) const { log(LogLevel::warning, message); }

 private:
  Sink sink_;
  LogLevel least_ = LogLevel::info;
};

// Built once at the start; outlives everything it is passed to.
struct Runtime {
  int threads = 0;  // 0: one per core this process may run on
  Logger log;
  uint64_t seed = 0;  // the only source of randomness
};

// The number of threads to use when `threads` was asked for: itself, or one per available core.
int resolve_threads(int threads);

}  // namespace msa
