// Ctrl-C and SIGTERM as a stop request.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <thread>

namespace msa::cli {

// While one of these lives, the first SIGINT or SIGTERM requests a stop and calls `on_first` (from
// a thread of its own); a second one ends the process as if nothing had been installed. One at a
// time. Outside, the signals have their usual effect, so that work that cannot stop half-way is
// not in the way of Ctrl-C.
class StopOnSignal {
 public:
  explicit StopOnSignal(std::function<void()> on_first = {});
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  bool requested() const { return source_.stop_requested(); }
  int signal() const;  // the one that came first; 0: none

 private:
  struct Handlers;
  std::stop_source source_;
  std::unique_ptr<Handlers> handlers_;
  std::thread watcher_;
};

// A write to a pipe that nobody reads, or beyond the limit on a file's size, is an error of that
// write, not the end of the process.
void ignore_write_signals();

// Opens /dev/null as each of descriptors 0 to 2 that is closed, so that no file the program opens
// becomes its standard output.
void ensure_standard_descriptors();

}  // namespace msa::cli
